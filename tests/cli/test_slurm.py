# SPDX-License-Identifier: GPL-3.0-or-later
"""Slurm itself: a job array really submitted, one of its tasks killed and requeued, and all points there in the end.

A slurmctld and a slurmd of one node are started here and ended by their process ids; without them (Debian: slurm-wlm)
the test is skipped.
"""
import atexit
import os
import shutil
import socket
import subprocess
import sys
import time
import unittest
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness
from harness import read, run

CONFIGURATION = """ClusterName=finwidth
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
CredType=cred/none
SlurmctldPort={port}
SlurmdPort={node_port}
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/slurmd.pid
SlurmctldLogFile={place}/slurmctld.log
SlurmdLogFile={place}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
KillWait=5
MinJobAge=600
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=1
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
POINTS = 40  # ten of a task take longer than it takes to see its checkpoint and to kill it
INPUT = f"""data: {{train: 700, test: 20}}
theory: {{bandwidth: 0, average: false}}
scan: {{seed: 1:{POINTS}:{POINTS}}}
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Cluster:
    def __init__(self):
        self.place = harness.folder().resolve()
        host = socket.gethostname().split(".")[0]
        for name in ("state", "spool"):
            (self.place / name).mkdir()
        (self.place / "slurm.conf").write_text(CONFIGURATION.format(host=host, place=self.place, port=free_port(),
                                                                    node_port=free_port(), cpus=os.cpu_count()))
        # The children of slurmd must not see Debian's default settings of other tests
        self.environment = dict(os.environ, SLURM_CONF=str(self.place / "slurm.conf"))
        self.daemons = []
        atexit.register(self.stop)
        for name in ("slurmctld", "slurmd"):
            self.daemons.append(subprocess.Popen([shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin"), "-D"],
                                                 env=self.environment, stdout=subprocess.DEVNULL,
                                                 stderr=subprocess.DEVNULL))
        self.wait(lambda: "idle" in self.call("sinfo", "-h", "-o", "%t", check=False), 60, "the node is not idle")

    def stop(self):
        for daemon in reversed(self.daemons):
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        self.daemons = []

    def call(self, *words, cwd=None, check=True):
        done = subprocess.run(words, env=self.environment, cwd=cwd, capture_output=True, text=True, timeout=60)
        if check and done.returncode:
            raise AssertionError(f"{words}: {done.stderr}")
        return done.stdout

    def wait(self, condition, seconds, message):
        end = time.time() + seconds
        while not condition():
            if time.time() > end:
                raise AssertionError(f"{message}: {self.call('squeue', '-t', 'all', check=False)}\n"
                                     + (self.place / "slurmctld.log").read_text()[-4000:])
            time.sleep(0.05)

    def states(self, job):
        """State of each task that Slurm still knows, by its number."""
        lines = self.call("squeue", "-h", "-r", "-t", "all", "-j", job, "-o", "%K %T", check=False).split("\n")
        return dict(line.split() for line in lines if line)


@unittest.skipUnless(os.path.exists("/usr/sbin/slurmctld") and os.geteuid() == 0,
                     "no slurmctld (Debian: slurm-wlm), or not root")
class Slurm(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster()

    @classmethod
    def tearDownClass(cls):
        cls.cluster.stop()

    def setUp(self):
        self.place = harness.folder().resolve()
        (self.place / "in.yaml").write_text(INPUT)
        os.environ["FINWIDTH"] = self.cluster.environment["FINWIDTH"] = harness.PROGRAM
        self.cluster.environment["FINWIDTH_CHECKPOINT_SECONDS"] = "0"

    def submit(self, *words):
        done = run("jobscript", "in.yaml", "-scheduler", "slurm", "-job_name", "job", "-job_memory", "400M", *words,
                   cwd=self.place)
        self.assertEqual(done.code, 0, done.err)
        (self.place / "job.slurm.sh").write_text(done.out)
        return self.cluster.call("sbatch", "--parsable", "job.slurm.sh", cwd=self.place).strip()

    def logs(self):
        return "".join(path.read_text() for path in sorted(self.place.glob("job.*.log")))

    def wait_for_all(self, job, n):
        asked = float("-inf")

        def done():
            nonlocal asked
            states = list(self.cluster.states(job).values())
            if "PENDING" in states and time.monotonic() > asked + 10:
                # Slurm lets a requeued job wait for two minutes. In the second of its end it can't start again: its
                # credential, which counts in seconds, is still the revoked one.
                self.cluster.call("scontrol", "update", f"jobid={job}", "StartTime=now+3", check=False)
                asked = time.monotonic()
            return states == ["COMPLETED"] * n
        self.cluster.wait(done, 240, f"not all tasks completed: {self.logs()}")

    def ranks_of(self, output):
        """Process ids of the finwidth that writes this file, from its command line."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                words = (process / "cmdline").read_bytes().split(b"\0")
                if words[0].endswith(b"finwidth") and output.encode() in words and (process / "cwd").resolve() == self.place:
                    found.append(int(process.name))
            except OSError:
                pass
        return found

    def check_result(self, path):
        done = run("predict", "in.yaml", "-output", "whole.h5", ranks=2, cwd=self.place)
        self.assertEqual(done.code, 0, done.err)
        result, whole = read(self.place / path), read(self.place / "whole.h5")
        self.assertEqual(harness.attribute(self.place / path, "status"), "complete")
        for name in ("test_error", "order_parameter", "seed", "data_digest"):
            np.testing.assert_allclose(result[name], whole[name], rtol=1e-9, err_msg=name)

    def test_array_with_a_killed_task_has_all_points_in_the_end(self):
        job = self.submit("-mode", "array", "-job_tasks", 4, "-job_ranks", 1, "-job_time", "00:10:00")
        victim = "in.parts/00001.h5"
        self.cluster.wait(lambda: (self.place / (victim + ".chk")).exists(), 120, "task 1 wrote no checkpoint")
        for rank in self.ranks_of(victim):
            os.kill(rank, 9)
        self.cluster.wait(lambda: self.cluster.states(job).get("1") == "FAILED", 60, "the killed task did not fail")
        self.assertFalse((self.place / victim).exists())
        self.cluster.call("scontrol", "requeue", f"{job}_1")
        self.wait_for_all(job, 4)
        done = run("gather", "in.h5", "in.parts", cwd=self.place, ranks=2)
        self.assertEqual(done.code, 0, done.err)
        self.check_result("in.h5")

    def test_job_warned_of_its_end_stops_and_requeues_itself(self):
        job = self.submit("-mode", "single", "-job_ranks", 2, "-job_time", "00:10:00")
        self.cluster.wait(lambda: (self.place / "in.h5.chk").exists(), 120, "no checkpoint")
        self.cluster.call("scancel", "--batch", "--signal=USR2", job)  # what --signal=B:USR2@90 has Slurm do
        self.cluster.wait(lambda: "stopped early" in self.logs(), 60, "the job did not stop")
        self.assertFalse((self.place / "in.h5").exists())
        self.wait_for_all(job, 1)
        self.check_result("in.h5")


if __name__ == "__main__":
    harness.main()
