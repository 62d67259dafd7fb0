#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Injects faults into finwidth and counts what survives.
usage: survival.py [state=FILE] [seconds=LIMIT] [CLASS=COUNT ...]   (all classes, few each, a minute at most)
       survival.py table STATE ...                                  (what several calls with a state file have counted)

    kills     KILL to a random rank, or mpirun, at a random time; every third time again; then -resume to the end
    signals   TERM, INT, USR2 to the ranks: exit 6; USR1: the run goes on
    faults    the K-th call of a system call fails (strace), for random K
    memory    an allocation fails that the program asks for, itself or through PETSc, on one rank; sometimes all after it
    library   an allocation of Open MPI, HDF5 or another library fails
    messages  a collective call of MPI returns an error on one rank of two
    disks     a file system (tmpfs, as root) with a random room left
    flips     one bit of a result or of a checkpoint flipped
    races     two runs on one output at once
    inputs    malformed inputs of every kind

A run passes where its exit code is a documented one, no result that is there is damaged or has other numbers than an
undisturbed run, no finished point is lost on the way, and a repeated run with -resume ends with exactly these numbers. The
table goes to stdout as Markdown; in brackets where the faults hit: how many left a checkpoint, how many a result. With
a state file a call goes on where the last one ended, at its limit of seconds or otherwise; the classes take turns. Calls
with other state files and other values of FINWIDTH_SURVIVAL_SEED can run side by side. A run that neither ends nor is ended
within LIMIT seconds has hung, which is a failure of its row; the stacks of its ranks go to stderr where gdb is there.
"""
import functools
import hashlib
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness

FEW = {"kills": 3, "signals": 1, "faults": 2, "memory": 1, "disks": 2, "races": 1, "flips": 6, "inputs": 8}
SMALL = ["-data_train", "60", "-data_test", "20"]
SCAN = [*SMALL, "-data_train", "150", "-theory_bandwidth", "0", "-theory_average", "false", "-scan_seed", "1:24:24"]
# Each takes less than half a second of one processor, and most of it in the work proper
WORKLOADS = {
    "predict": ["predict", *SCAN],
    "sample": ["sample", *SMALL, "-data_train", "20", "-network_width", "10", "-sampler_chains", "2",
               "-sampler_samples", "300", "-sampler_burnin", "100"],
    "mixture": ["mixture", "-mixture_samples", "10000"],
    "gather": ["gather", "out.h5"],
    "patches": ["predict", "-data_train", "20", "-data_test", "5", "-network_type", "cnn", "-theory_average", "true",
                "-theory_draws", "16", "-scan_temperature", "0.1:1:10"],
    "shared": ["predict", *SMALL, "-data_train", "300", "-scan_temperature", "0.01:1:60", "-scan_seed", "1:3:3"],
    "farm": ["predict", *SCAN, "-scan_farm", "true"],
    "ansatz": ["ansatz", "-data_source", "teacher", "-teacher_kind", "low-rank", "-teacher_inputs", "8", "-data_train", "50",
               "-ansatz_optimiser", "gd", "-ansatz_steps", "12000", "-ansatz_seeds", "9", "-ansatz_step", "0.001"],
    "optimal": ["optimal", "-optimal_experiment", "gamp", "-network_activation", "tanh", "-optimal_channel", "probit",
                "-optimal_dimension", "60", "-optimal_instances", "10", "-optimal_test", "5000", "-scan_optimal_alpha", "3:6:4"],
}
ALONE = ("faults", "disks", "races", "flips")  # classes that run on one rank: a farm needs more
SEED = os.environ.get("FINWIDTH_SURVIVAL_SEED", "1")
RANDOM = random.Random(SEED)
HEADER = 96  # bytes of a checkpoint before its records
FAILING = os.environ.get("FINWIDTH_FAILING", "")  # the library that tests/survival/failing.c makes
LIMIT = 120  # seconds of a run of less than one
TURN = 5  # injections into one workload before it is the next one's turn


def digest(path):
    """Of all numbers of a result."""
    hash_ = hashlib.sha256()
    with h5py.File(path) as file:
        def add(name, item):
            if isinstance(item, h5py.Dataset) and "seconds" not in name:
                value = np.asarray(item[()])
                hash_.update(name.encode() + (b"\0".join(value.ravel()) if value.dtype == object else value.tobytes()))
        file.visititems(add)
    return hash_.hexdigest()


class Failure(Exception):
    pass


def check(condition, message):
    if not condition:
        raise Failure(message)


def packed_points(path):
    """Numbers of the points in a checkpoint of a scan, or in the one before where a kill fell between two renamings."""
    points, at = set(), HEADER
    for candidate in (path, path.with_name(path.name + ".previous")):
        try:
            data = candidate.read_bytes()
            break
        except FileNotFoundError:
            data = b""
    while at < len(data):
        point, size = struct.unpack_from("qq", data, at)
        points.add(point)
        at += 16 + size
    return points


def points_done(place):
    """All finished points that are kept: those of whole groups, and those of the groups that were being computed."""
    groups = {path.name.removesuffix(".previous") for path in place.glob("out.h5.chk.group.*") if path.suffix != ".tmp"}
    return set().union(*(packed_points(place / name) for name in ("out.h5.chk", *groups)))


class Folder:
    def __init__(self):
        self.place = Path(tempfile.mkdtemp(prefix="finwidth-survival-"))
        self.hit = None

    def clean(self):
        self.clean_but()

    def clean_but(self, *kept):
        for path in self.place.iterdir():
            if path.name not in ("whole.h5", "good.h5", "good.checkpoint", *kept) and path.is_file():
                path.unlink()

    def remove(self):
        shutil.rmtree(self.place, ignore_errors=True)


class Bench(Folder):
    """A folder with a workload, and the numbers of its undisturbed run."""

    def __init__(self, name, ranks=2):
        super().__init__()
        self.ranks, self.name, self.words = ranks, name, [*WORKLOADS[name], "-figure", "none"]
        self.again = ["-resume", "true"]
        if name == "gather":  # begins anew
            self.again = ["-overwrite", "true"]
            self.words.insert(2, str(self.make_parts()))
        else:
            self.words += ["-output", "out.h5"]
        begin = time.time()
        done = self.run()
        check(done.returncode in (0, 4), f"{name} does not run: {done.stderr}")
        self.code, self.seconds = done.returncode, time.time() - begin
        (self.place / "out.h5").rename(self.place / "whole.h5")
        self.reference = digest(self.place / "whole.h5")

    def make_parts(self):
        parts = self.place / "parts"
        parts.mkdir()
        subprocess.run([os.environ["FINWIDTH_MAKE_POINTS"], "-output", parts, "-scan_temperature", "0.1:1:15",
                        "-scan_network_width", "1:15:15"], check=True, capture_output=True)
        return parts

    def command(self, *words, ranks=None):
        ranks = ranks or self.ranks
        launch = [harness.MPIEXEC, "-n", str(ranks)] if ranks > 1 else []
        return [*launch, harness.PROGRAM, *self.words, *words]

    def environment(self):
        alone = {**harness.ALONE, "OMPI_MCA_orte_tmpdir_base": str(self.place)} if self.ranks == 1 else {}
        return {**os.environ, **alone, "FINWIDTH_CHECKPOINT_SECONDS": "0", "OMPI_MCA_odls_base_sigkill_timeout": "0"}

    def run(self, *words, ranks=None):
        """To its end; again where mpirun alone hung, which hides how the ranks ended."""
        for _ in range(3):
            process = self.start(*words, ranks=ranks)
            err = self.wait(process)
            if err is not None:
                return subprocess.CompletedProcess(process.args, process.returncode, None, err)
        raise Failure("mpirun hung three times")

    def start(self, *words, ranks=None):
        return subprocess.Popen(self.command(*words, ranks=ranks), cwd=self.place, env=self.environment(),
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def trace(self, words):
        """A run under strace: the lines of its trace; the run itself is `done`."""
        traced = ["strace", "-qq", "-y", "-o", str(self.place / "trace"), "-e", f"trace={','.join(CALLS)}", *words]
        self.done = subprocess.run([*traced, *self.command(ranks=1)], cwd=self.place, env=self.environment(),
                                   capture_output=True, text=True, timeout=LIMIT)
        return (self.place / "trace").read_text(errors="replace").splitlines()

    def fail(self, kind, ranks, rank, **more):
        """A run in which allocations fail."""
        preload = {"LD_PRELOAD": FAILING, "FINWIDTH_FAIL_OF": kind, "FINWIDTH_FAIL_RANK": str(rank), **more}
        launch = [harness.MPIEXEC, "-n", str(ranks)] if ranks > 1 else []
        alone = harness.ALONE if ranks == 1 else {}
        command = [*launch, "env", *(f"{name}={value}" for name, value in preload.items()), *self.command(ranks=1)]
        for _ in range(3 if kind == "own" else 1):
            process = subprocess.Popen(command, cwd=self.place, env={**self.environment(), **alone},
                                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            err = self.wait(process)
            if err is not None or kind != "own":  # mpirun's own way to end
                return subprocess.CompletedProcess(process.args, process.returncode, None, err)
        raise Failure("mpirun hung three times")

    def wait(self, process):
        """For its end: what it said on stderr. None where mpirun of Open MPI 4.1 has locked itself up in
        PMIx_server_finalize(), its ranks gone, as it now and then does."""
        for seconds in (15, LIMIT - 15):
            try:
                return process.communicate(timeout=seconds)[1]
            except subprocess.TimeoutExpired:
                ranks = self.processes(process)[1:]
            if not ranks:
                break
        for pid in ranks:
            print_stack(pid)
        for pid in (process.pid, *ranks):
            kill_quietly(pid)
        process.communicate()
        check(not ranks, f"hung: {len(ranks)} ranks had not ended after {LIMIT} s")
        return None

    def note(self):
        """What there was when the fault hit."""
        if not self.hit:
            self.hit = "result" if (self.place / "out.h5").exists() else \
                       "checkpoint" if [*self.place.glob("out.h5.chk*")] else "neither"

    def processes(self, launcher):
        """The ranks of this bench; with the launcher of `launcher` too."""
        found = [launcher.pid]
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if (process / "comm").read_text() == "finwidth\n" and (process / "cwd").resolve() == self.place:
                    found.append(int(process.name))
            except OSError:
                pass
        return found

    def check_result(self):
        """What is there must be whole and right."""
        if (self.place / "out.h5").exists():
            done = subprocess.run([harness.PROGRAM, "verify", "out.h5"], cwd=self.place, capture_output=True, text=True)
            check(done.returncode == 0, f"a damaged result: {done.stderr}")
            check(digest(self.place / "out.h5") == self.reference, "a result with other numbers")

    def finish(self):
        """Run to the end, undisturbed, and compare."""
        done = self.run(*self.again)
        check(done.returncode == self.code, f"-resume ends with {done.returncode}: {done.stderr}")
        check((self.place / "out.h5").exists(), "no result in the end")
        self.check_result()
        left = [path.name for path in self.place.iterdir() if path.name.endswith((".lock", ".chk"))]
        check(not left, f"left behind: {left}")
        left = [path.name for path in Path("/dev/shm").glob("sem.OMPIO_out.h5*")]
        check(not left, f"semaphores left behind, for which other runs would wait: {left}")


def wait_for_ranks(bench, process):
    end = time.time() + 60
    while len(bench.processes(process)) < 1 + bench.ranks and process.poll() is None and time.time() < end:
        time.sleep(0.01)


def wait_for_handlers(bench, process):
    """Until every rank has its own: before that, while its libraries are loaded, a signal ends it as signals do."""
    wait_for_ranks(bench, process)
    end = time.time() + 60
    while process.poll() is None and time.time() < end and not all(catches_usr1(pid) for pid in bench.processes(process)[1:]):
        time.sleep(0.01)


def catches_usr1(pid):
    try:
        caught = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt"))
    except OSError:
        return True  # gone
    return int(caught.split()[1], 16) >> (signal.SIGUSR1 - 1) & 1


def has_ended(process, seconds):
    """Whether it ends within some seconds; its output is short enough for a pipe."""
    try:
        process.wait(seconds)
        return True
    except subprocess.TimeoutExpired:
        return False


def print_stack(pid):
    """To stderr: where a process hangs."""
    if shutil.which("gdb"):
        stack = subprocess.run(["gdb", "-p", str(pid), "-batch", "-ex", "thread apply all bt 20"], capture_output=True, text=True)
        print(f"process {pid} hangs:", *[line for line in stack.stdout.splitlines() if line.startswith("#")], sep="\n  ",
              file=sys.stderr, flush=True)


def kill_quietly(pid, number=signal.SIGKILL):
    """It may have ended meanwhile."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def kill(bench):
    """Start a run and kill a process of it; whether there still was one."""
    process = bench.start(*bench.again)
    if RANDOM.random() < 0.8:  # or else while it starts
        wait_for_ranks(bench, process)
    was_there = not has_ended(process, RANDOM.uniform(0.0, 1.0) * bench.seconds)
    victim = RANDOM.choice(bench.processes(process))
    if was_there:
        kill_quietly(victim)
    for pid in bench.processes(process)[1:]:  # with mpirun gone they would notice after a while
        if victim == process.pid:
            kill_quietly(pid)
    if bench.wait(process) is None:
        bench.hit = "mpirun hung"
    return was_there


def kill_once(bench):
    """One run with a kill in it, or two, then to the end."""
    for _ in range(20):
        if kill(bench):
            break
        bench.seconds *= 0.7  # less crowded than when it was measured
        bench.clean()
    else:
        raise Failure("no kill came in time")
    bench.note()
    bench.check_result()
    before = points_done(bench.place)
    if RANDOM.random() < 1 / 3:
        kill(bench)
        bench.check_result()
        lost = before - points_done(bench.place)
        check(not lost or (bench.place / "out.h5").exists(), f"lost points: {sorted(lost)}")
    bench.finish()


def signal_once(bench):
    number = RANDOM.choice([signal.SIGTERM, signal.SIGINT, signal.SIGUSR2, signal.SIGUSR1])
    process = bench.start()
    wait_for_handlers(bench, process)
    has_ended(process, RANDOM.uniform(0.0, 0.8) * bench.seconds)
    for pid in bench.processes(process)[1:]:
        kill_quietly(pid, number)
    err = bench.wait(process)
    wanted = (bench.code,) if number == signal.SIGUSR1 else (bench.code, 6)
    bench.note()
    check(err is None or process.returncode in wanted, f"{signal.Signals(number).name}: exit code {process.returncode}: {err[-500:]}")
    bench.check_result()
    bench.finish()


CALLS = ["openat", "write", "pwrite64", "read", "pread64", "fsync", "rename", "close", "ftruncate", "fchmod", "unlink", "lseek",
         "newfstatat", "linkat"]
ERRORS = ["ENOSPC", "EIO", "EDQUOT", "EROFS", "EINTR"]


def is_ours(bench, line):
    """Whether a call of a trace is about a file of the run, or its folder: others belong to the libraries."""
    line = line.replace(f"AT_FDCWD<{bench.place}>", "")
    return "out.h5" in line or f"<{bench.place}>" in line


@functools.cache
def our_calls(bench):
    """(call, number) of all calls that an undisturbed run makes on files of its own."""
    trace = bench.trace([])
    bench.clean()
    numbers, found = dict.fromkeys(CALLS, 0), []
    for line in trace:
        call = line.split("(")[0]
        if call in numbers:
            numbers[call] += 1
            if is_ours(bench, line):
                found.append((call, numbers[call]))
    return found


def fault_once(bench):
    for _ in range(5):
        call = RANDOM.choice(sorted({call for call, _ in our_calls(bench)}))
        number, error = RANDOM.choice([k for name, k in our_calls(bench) if name == call]), RANDOM.choice(ERRORS)
        kill = RANDOM.random() < 0.2
        inject = f"{call}:{'signal=KILL' if kill else 'error=' + error}:when={number}"
        trace = bench.trace(["-e", f"inject={inject}"])
        if any("INJECTED" in line and is_ours(bench, line) for line in trace) or kill and is_ours(bench, trace[-2]):
            break
        bench.clean()  # threads of the libraries have changed the count
    else:
        raise Failure("no call of ours was hit")
    wanted = (bench.code, 3, -9, 137) if kill else (bench.code, 3)
    check(bench.done.returncode in wanted, f"{inject}: exit code {bench.done.returncode}: {bench.done.stderr[-500:]}")
    if bench.done.returncode == 3:
        errors = [line for line in bench.done.stderr.splitlines() if line.startswith("finwidth: error:")]
        check(len(errors) == 1, f"{inject}: {len(errors)} messages: {bench.done.stderr[-500:]}")
    bench.note()
    bench.check_result()
    bench.finish()


@functools.cache
def allocations(bench, ranks, rank, kind):
    """Numbers of the allocations in an undisturbed run that were the first from their place in the program."""
    bench.fail(kind, ranks, rank, FINWIDTH_FAIL_LIST=str(bench.place / "allocations"))
    bench.clean_but("allocations")
    return [int(line.split()[1]) for line in (bench.place / "allocations").read_text().splitlines()]


def memory_once(bench, kind="own"):
    """One place in the program after the other, drawn at random, gets no memory."""
    ranks = 2 if kind == "mpi" else RANDOM.choice([1, 2])
    rank = RANDOM.randrange(ranks)
    number = RANDOM.choice(allocations(bench, ranks, rank, kind))
    more = {"FINWIDTH_FAIL_ON": "1"} if RANDOM.random() < 0.2 else {}
    which = f"{'call' if kind == 'mpi' else 'allocation'} {number} on rank {rank} of {ranks}{', and those after it' if more else ''}"
    try:
        done = bench.fail(kind, ranks, rank, FINWIDTH_FAIL_AT=str(number), **more)
    except Failure as failure:
        raise Failure(f"{which}: {failure}") from None
    bench.note()
    if kind != "library":
        check_ending(bench, done, which, {"own": (3, 5), "mpi": (1,)}[kind])
    bench.check_result()
    if bench.hit != "neither":  # or else there is nothing to go on from
        bench.finish()


def check_ending(bench, done, which, codes):
    check(done.returncode in (bench.code, *codes), f"{which}: exit code {done.returncode}: {done.stderr[-700:]}")
    errors = [line for line in done.stderr.splitlines() if line.startswith("finwidth: error:")]
    check(len(errors) == (done.returncode not in (0, 4)), f"{which}: {len(errors)} messages: {done.stderr[-700:]}")
    check(done.returncode != 3 or "Cannot allocate" in errors[0], f"{which}: exit code 3: {errors}")
    left = [path.name for path in bench.place.iterdir() if path.name.endswith(".lock") or path.match(".*.tmp")]
    check(not left, f"{which}: left behind: {left}")


def message_once(bench):
    memory_once(bench, "mpi")


def library_once(bench):
    """These may crash, or end with codes of their own."""
    memory_once(bench, "library")


def disk_once(bench):
    """The workload in a tmpfs that is full but for a random room."""
    disk = bench.place / "disk"
    disk.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", disk], check=True)
    environment = {**bench.environment(), "FINWIDTH_CHECKPOINT_SECONDS": RANDOM.choice(["0", "1000"])}
    try:
        room = int(RANDOM.uniform(0, 1.5) * (bench.place / "whole.h5").stat().st_size)
        (disk / "filler").write_bytes(bytes(64 * 1024 * 1024 - 16384 - room))
        done = subprocess.run(bench.command(ranks=1), cwd=disk, env=environment, capture_output=True, text=True,
                              timeout=LIMIT)
        check(done.returncode in (bench.code, 3), f"{room} bytes: exit code {done.returncode}: {done.stderr[-500:]}")
        left = [path.name for path in disk.iterdir() if path.name.endswith((".lock", ".tmp"))]
        check(not left, f"{room} bytes: left behind: {left}")
        if (disk / "out.h5").exists():
            check(digest(disk / "out.h5") == bench.reference, "a result with other numbers")
        check((disk / "out.h5").exists() or done.returncode == 3, "exit 0 without a result")
        (disk / "filler").unlink()
        done = subprocess.run(bench.command(*bench.again, ranks=1), cwd=disk, env=environment,
                              capture_output=True, text=True, timeout=LIMIT)
        check(done.returncode == bench.code and digest(disk / "out.h5") == bench.reference,
              f"{room} bytes: does not resume: {done.stderr[-500:]}")
    finally:
        subprocess.run(["umount", disk], check=True)


def race_once(bench):
    both = [subprocess.Popen(bench.command(ranks=1), cwd=bench.place, env=bench.environment(), stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        bench.wait(process)
    codes = sorted(process.returncode for process in both)
    check(codes == sorted([bench.code, 7]), f"exit codes {codes}")
    bench.check_result()


def make_checkpoint(bench):
    """That of a run that was killed in the midst."""
    process = bench.start()
    while process.poll() is None and len(points_done(bench.place)) < 4:
        time.sleep(0.001)
    process.kill()
    process.communicate()
    shutil.copy(bench.place / bench.checkpoint, bench.place / "good.checkpoint")
    bench.clean()


def flip(data):
    at = RANDOM.randrange(8 * len(data))
    data[at // 8] ^= 1 << at % 8
    return bytes(data)


def flip_once(bench):
    """A damaged result is found by all that read it; a damaged checkpoint makes room for the one before."""
    bench.checkpoint = "out.h5.chk.group.0" if bench.name == "patches" else "out.h5.chk"
    out, checkpoint = bench.place / "out.h5", bench.place / bench.checkpoint
    if RANDOM.random() < 0.5:
        out.write_bytes(flip(bytearray((bench.place / "whole.h5").read_bytes())))
        reader = RANDOM.choice([["verify", "out.h5"], ["plot", "out.h5", "-output", "fig.svg"], bench.command("-resume", "true")[1:]])
        done = subprocess.run([harness.PROGRAM, *reader], cwd=bench.place, env=bench.environment(), capture_output=True, text=True)
        check(done.returncode == 3, f"{reader[0]} of a damaged result: exit code {done.returncode}: {done.stderr[-300:]}")
        return
    if not (bench.place / "good.checkpoint").exists():
        make_checkpoint(bench)
    good = (bench.place / "good.checkpoint").read_bytes()
    checkpoint.write_bytes(flip(bytearray(good)))
    if RANDOM.random() < 0.9:
        (bench.place / f"{bench.checkpoint}.previous").write_bytes(good)
        bench.finish()
    else:
        done = bench.run("-resume", "true")
        check(done.returncode == 3 and not out.exists(), f"a damaged checkpoint alone: exit code {done.returncode}")


def malformed(place, kind):
    """A file of its kind with something wrong in it, and the words that have it read."""
    noise = bytes(RANDOM.randrange(256) for _ in range(RANDOM.randint(0, 200)))
    path = place / f"bad.{kind}"
    good = {"yaml": b"data: {train: 20, test: 5}\nnetwork: {width: [10, 20]}\nscan: {temperature: [0.1, 1]}\n",
            "csv": b"a,b,y\n" + b"0.5,1.5,-1\n1,2,1\n" * 20,
            "h5": (place / "good.h5").read_bytes(),
            "idx": b"\0\0\x08\x03" + (8).to_bytes(4, "big") + (4).to_bytes(4, "big") * 2 + bytes(range(128))}[kind]
    data, at = bytearray(good), RANDOM.randrange(len(good))
    how = RANDOM.randrange(5)
    if how == 0:
        data = data[:at]
    elif how == 1:
        data[at:at] = noise
    elif how == 2:
        data[at:at + RANDOM.randint(1, 40)] = b""
    elif how == 3:
        for _ in range(RANDOM.randint(1, 20)):
            data[RANDOM.randrange(len(data))] = RANDOM.randrange(256)
    else:
        data = bytearray(noise)
    path.write_bytes(data)
    size = ["-data_train", "10", "-data_test", "4"]
    if kind == "yaml":
        command = RANDOM.choice(["predict", "sample", "mixture", "optimal", "ansatz"])
        return [command, str(path), *([] if command == "predict" else ["-dry_run", "true"])]
    return ["predict", *{"csv": ["-data_source", "csv", "-data_path", str(path), *size],
            "h5": ["-data_source", "hdf5", "-data_path", str(path), *size],
            "idx": ["-data_source", "mnist", "-data_path", str(place), "-data_images", path.name, "-data_labels", path.name,
                    "-data_train", "4", "-data_test", "2"]}[kind]]


def input_once(folder):
    place = folder.place
    with h5py.File(place / "good.h5", "w") as file:
        file["x"], file["y"] = [[float(i * j % 7) for j in range(5)] for i in range(20)], [float(i % 3) for i in range(20)]
    words = malformed(place, RANDOM.choice(["yaml", "csv", "h5", "idx"]))
    done = subprocess.run([harness.PROGRAM, *words, "-output", "out.h5", "-overwrite", "true",
                           "-figure", "none"], cwd=place,
                          capture_output=True, text=True, errors="replace", timeout=120)
    check(done.returncode in (0, 2, 3, 4, 5), f"exit code {done.returncode}: {done.stderr[-500:]}")
    errors = [line for line in done.stderr.splitlines() if line.startswith("finwidth: error:")]
    check(len(errors) == (done.returncode != 0), f"{len(errors)} messages: {done.stderr[-500:]}")
    if done.returncode == 0 and words[0] == "predict":
        with h5py.File(place / "out.h5") as file:
            check(file["predict/test_error"][()].size == 0 or not (file["predict/test_error"][()] != file["predict/test_error"][()]).any(),
                  "exit 0 with NaN")


def is_possible(name):
    """Containers may forbid to mount or to trace."""
    if name == "disks":
        place = tempfile.mkdtemp(prefix="finwidth-survival-")
        can = shutil.which("mount") and not subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], capture_output=True).returncode
        if can:
            subprocess.run(["umount", place], check=True)
        os.rmdir(place)
        return can
    if name == "faults":
        return shutil.which("strace") and not subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True).returncode
    if name in ("memory", "library", "messages"):
        return FAILING
    return True


CLASSES = {"kills": kill_once, "signals": signal_once, "faults": fault_once, "memory": memory_once,
           "library": library_once, "messages": message_once, "disks": disk_once, "races": race_once,
           "flips": flip_once, "inputs": input_once}


class Row:
    """A class of faults, a workload, and how many of them it has survived."""

    def __init__(self, name, workload, total, state):
        self.name, self.workload, self.total, self.folder = name, workload, total, None
        self.tally = state.setdefault(f"{name} {workload}", {"injected": 0, "passed": 0, "failures": []})

    def make_folder(self):
        if self.name == "inputs":
            return Folder()
        ranks = 1 if self.name in ALONE else 3 if self.workload == "farm" else 2
        return Bench(self.workload, ranks)

    def inject(self):
        """The next one; each has random numbers of its own, whatever went before."""
        number = self.tally["injected"]
        RANDOM.seed(f"{SEED} {self.name} {self.workload} {number}")
        try:
            self.folder = self.folder or self.make_folder()
            self.folder.hit = None
            CLASSES[self.name](self.folder)
            self.tally["passed"] += 1
        except (Failure, subprocess.TimeoutExpired, OSError) as failure:
            self.tally["failures"].append(f"{number}: {failure}")
            print(f"{self.name} {self.workload} {number}: {failure}", file=sys.stderr, flush=True)
        self.tally["injected"] += 1
        if not self.folder:
            return
        if self.folder.hit:
            hits = self.tally.setdefault("hits", {})
            hits[self.folder.hit] = hits.get(self.folder.hit, 0) + 1
        self.folder.clean()

    @property
    def is_through(self):
        return self.tally["injected"] >= self.total


def is_for(name, workload):
    """Whether a class of faults means anything for a workload."""
    if name == "inputs":
        return workload == "predict"
    if name == "flips":
        return workload in ("predict", "patches")  # a scan's checkpoint and a group's
    if workload == "gather":  # through at once: no signal is asked for
        return name != "signals" and "FINWIDTH_MAKE_POINTS" in os.environ
    return name not in ALONE or workload != "farm"


def make_rows(wanted, state):
    """One of each class first: where the time is short each has its turn."""
    rows = []
    for name, total in wanted.items():
        if not is_possible(name):
            print(f"{name}: skipped, not possible here", file=sys.stderr)
            continue
        workloads = [workload for workload in WORKLOADS if is_for(name, workload)][:total]
        rows += [(i, Row(name, workload, total // len(workloads) + (i < total % len(workloads)), state))
                 for i, workload in enumerate(workloads)]
    return [row for _, row in sorted(rows, key=lambda pair: pair[0])]


def run_in_turn(rows, end, save):
    while not all(row.is_through for row in rows):
        for row in rows:
            for _ in range(TURN):
                if row.is_through:
                    break
                if time.monotonic() > end:
                    return
                row.inject()
                save()


def print_table(states):
    """Of all states together."""
    print("| class | workload | injected | passed |\n| --- | --- | --- | --- |")
    for key in sorted({key for state in states for key in state}):
        tallies = [state[key] for state in states if key in state]
        hits = {}
        for name, count in (item for tally in tallies for item in tally.get("hits", {}).items()):
            hits[name] = hits.get(name, 0) + count
        where = ", ".join(f"{name} {count}" for name, count in sorted(hits.items()))
        injected, passed = (sum(tally[what] for tally in tallies) for what in ("injected", "passed"))
        print(f"| {' | '.join(key.split())} | {injected}{where and f' ({where})'} | {passed} |")


def main():
    if sys.argv[1:2] == ["table"]:
        print_table([json.loads(Path(path).read_text()) for path in sys.argv[2:]])
        return
    words = dict(word.split("=") for word in sys.argv[1:])
    path, seconds = words.pop("state", None), float(words.pop("seconds", "inf" if words else "60"))
    state = json.loads(Path(path).read_text()) if path and Path(path).exists() else {}
    rows = make_rows({name: int(total) for name, total in (words or FEW).items()}, state)

    def save():
        if path:
            Path(path + ".tmp").write_text(json.dumps(state, indent=1))
            os.replace(path + ".tmp", path)

    try:
        run_in_turn(rows, time.monotonic() + seconds, save)
    finally:
        for row in rows:
            if row.folder:
                row.folder.remove()
    print_table([state])
    if not all(row.is_through for row in rows):
        print(f"stopped by the limit of {seconds:.0f} s")
    sys.exit(any(row.tally["injected"] != row.tally["passed"] for row in rows))


if __name__ == "__main__":
    main()
