# SPDX-License-Identifier: GPL-3.0-or-later
"""KILL of a random rank at random times, then -resume: the same numbers as an uninterrupted run, every time.

FINWIDTH_KILLS is the number of rounds (3). Each round kills one rank, or mpirun itself, a few times, and goes on each time
on another number of ranks.
"""
import os
import random
import signal
import subprocess
import sys
import time
import unittest
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness
from harness import read

ROUNDS = int(os.environ.get("FINWIDTH_KILLS", "3"))
WORDS = ["sample", "-data_train", 30, "-data_test", 20, "-data_size", 8, "-network_width", 12, "-temperature", 0.1,
         "-sampler_samples", 3000, "-sampler_burnin", 300, "-save_weights"]
SEED = 20240607


def command(output, ranks, *more):
    return [harness.MPIEXEC, "-n", str(ranks), harness.PROGRAM, *map(str, WORDS), "-output", output, *more]


def ranks_of(launcher):
    """Process numbers of the ranks that a launcher has started."""
    children = subprocess.run(["ps", "-o", "pid=,comm=", "--ppid", str(launcher)], text=True, stdout=subprocess.PIPE)
    return [int(line.split()[0]) for line in children.stdout.splitlines() if "finwidth" in line]


def digest(path):
    return {name: value for name, value in read(path, "sample").items() if not name.endswith("z_score")}


def is_running(process):
    """Not ended, and no zombie that nobody waits for."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


class Kill(unittest.TestCase):
    def wait_for_the_end(self, ranks):
        """Of ranks whose launcher may be gone."""
        end = time.monotonic() + 300
        while any(map(is_running, ranks)):
            self.assertLess(time.monotonic(), end, "ranks go on without their launcher")
            time.sleep(0.05)

    def test_killed_runs_end_with_the_same_numbers(self):
        place, chance = harness.folder(), random.Random(SEED)
        began = time.time()
        whole = subprocess.run(command("whole.h5", 2), cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                               text=True)
        duration = time.time() - began
        self.assertIn(whole.returncode, (0, 4), whole.stderr)
        expected, n_killed = digest(place / "whole.h5"), 0
        environment = dict(os.environ, FINWIDTH_CHECKPOINT_SECONDS="0.3")
        for number in range(ROUNDS):
            output = f"{number}.h5"
            for attempt in range(4):
                run = subprocess.Popen(command(output, chance.choice([1, 2, 3]), "-resume"), cwd=place, env=environment,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                if attempt < 3:
                    try:
                        run.wait(chance.uniform(0.3, 0.6 * duration))
                    except subprocess.TimeoutExpired:
                        victims = ranks_of(run.pid) + [run.pid]
                        os.kill(chance.choice(victims), signal.SIGKILL)
                        n_killed += 1
                        self.wait_for_the_end(victims[:-1])
                run.wait(600)
            self.assertIn(run.returncode, (0, 4), output)
            found = digest(place / output)
            self.assertEqual(set(found), set(expected))
            for name in expected:
                np.testing.assert_array_equal(found[name], expected[name], err_msg=f"{name} of round {number}")
            self.assertFalse(list(place.glob(f"{output}.chk*")))
        print(f"{ROUNDS} rounds, {n_killed} kills")
        self.assertGreater(n_killed, 0)


if __name__ == "__main__":
    harness.main()
