# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the installed program as a user would, and read what it writes."""
import atexit
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import h5py
import numpy as np

PROGRAM = os.environ.get("FINWIDTH_PROGRAM", "finwidth")
MPIEXEC = os.environ.get("FINWIDTH_MPIEXEC", "mpirun")
SOURCE = Path(__file__).resolve().parents[2]
DATA = os.environ.get("FINWIDTH_TEST_DATA", "")

# what mpirun itself adds when a rank returns an error; finwidth's own line stays
_MPIRUN = re.compile(r"^(-{10,}|Primary job|mpirun|\s*Process name|\s*Exit code|a non-zero exit|Per user-direction|By default|.*aborted\.?)", re.M)


class Run:
    """Outcome of one call: code, stdout, stderr, and stderr's own lines."""

    def __init__(self, done):
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr
        self.lines = [line for line in done.stderr.splitlines() if line.startswith("finwidth: ")]

    @property
    def errors(self):
        return [line for line in self.lines if line.startswith("finwidth: error:")]


def folder():
    """A folder of the test's own, removed at the end."""
    path = Path(tempfile.mkdtemp(prefix="finwidth-test-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


# One rank needs no daemon, whose start takes as long as the rest. The folder is this process's own: two such ranks at once
# would remove each other's.
ALONE = {"OMPI_MCA_ess_singleton_isolated": "1", "OMPI_MCA_orte_tmpdir_base": str(folder())}


def without_figure(words):
    """The picture takes longer than all else in a small run: drawn only where a test names one."""
    draws = bool(words) and words[0] in ("predict", "sample", "mixture", "optimal", "ansatz", "gather")
    return [*map(str, words), *(["-figure", "none"] if draws and "-figure" not in words else [])]


def run(*words, ranks=1, cwd=None, env=None, timeout=300):
    command = [PROGRAM, *without_figure(words)]
    if ranks > 1:
        command = [MPIEXEC, "-n", str(ranks)] + command
    environment = {**os.environ, **(ALONE if ranks == 1 else {}), **(env or {})}
    if env is None or "FINWIDTH_DATA" not in env:
        environment["FINWIDTH_DATA"] = DATA or "/nonexistent"
    return Run(subprocess.run(command, cwd=cwd, env=environment, timeout=timeout, text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE))


def start(*words, ranks=1, cwd=None, env=None):
    """The same in the background: a Popen."""
    return subprocess.Popen([MPIEXEC, "-n", str(ranks), PROGRAM, *without_figure(words)], cwd=cwd, text=True,
                            env=dict(os.environ, **(env or {})), stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def signal_ranks(place, number):
    """To the ranks that run in a folder: mpirun passes TERM on a second later, and then returns 1 whatever they return. TERM
    goes to them twice, as timeout(1) sends it."""
    ranks = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "comm").read_text() == "finwidth\n" and (process / "cwd").resolve() == place:
                ranks.append(int(process.name))
        except OSError:
            pass
    for pause in (0.02, 0) if number == signal.SIGTERM else (0,):
        for rank in ranks:
            try:
                os.kill(rank, number)
            except OSError:
                pass
        time.sleep(pause)  # or the two might be one


def wait_for(path, seconds=120):
    """Whether a file has come into being."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if path.exists():
            return True
        time.sleep(0.01)
    return False


def interrupt(name, number, *words, ranks=2, cwd, env=None):
    """A run that gets a signal once a file has come into being in its folder: its exit code and stderr."""
    process = start(*words, ranks=ranks, cwd=cwd, env={"FINWIDTH_CHECKPOINT_SECONDS": "0", **(env or {})})
    found = wait_for(cwd / name)
    signal_ranks(cwd.resolve(), number)
    _, err = process.communicate(timeout=300)
    assert found, f"no {name}: {err}"
    return process.returncode, err


def read(path, group="predict"):
    """All data sets of a group as a dict of arrays (scalars as numbers)."""
    with h5py.File(path, "r") as file:
        return {name: item[()] for name, item in file[group].items() if isinstance(item, h5py.Dataset)}


def attribute(path, name):
    with h5py.File(path, "r") as file:
        value = file.attrs[name]
        return value.decode() if isinstance(value, bytes) else value


def reference(name):
    return json.loads((SOURCE / "tests" / "reference" / f"{name}.json").read_text())


def write_arrays(path, **arrays):
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return path


def needs_data(test):
    return unittest.skipUnless(DATA, "FINWIDTH_DATA is not set")(test)


def main():
    """Run the tests of the calling module, with a closing line that a person and a machine can read."""
    result = unittest.main(module="__main__", argv=[*sys.argv, "-v"], exit=False).result
    skipped, failed = len(result.skipped), len(result.failures) + len(result.errors)
    print(f"{result.testsRun - skipped - failed} passed, {failed} failed, {skipped} skipped")
    if failed:
        sys.exit(1)
    sys.exit(77 if skipped and skipped == result.testsRun else 0)
