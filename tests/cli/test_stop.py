# SPDX-License-Identifier: GPL-3.0-or-later
"""One kernel, left in the middle of its reduction or between its points, and taken up again."""
import functools
import os
import signal
import sys
import unittest
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness
from harness import read, run

KERNEL = ["-data_source", "teacher", "-teacher_inputs", 50, "-data_train", 450, "-data_test", 20, "-theory_bandwidth", 64,
          "-theory_average", "false"]
MANY_COLUMNS = ("-data_train", 1500)  # a signal needs time to arrive between two of them


@functools.cache
def undisturbed(*words):
    """What one go gives on two ranks."""
    place = harness.folder()
    done = run("predict", *KERNEL, *words, "-output", "whole.h5", ranks=2, cwd=place)
    assert done.code == 0, done.err
    return read(place / "whole.h5")


class Stop(unittest.TestCase):
    def setUp(self):
        self.place = harness.folder().resolve()

    def predict(self, *words, ranks=2, **more):
        return run("predict", *KERNEL, "-output", "out.h5", *words, ranks=ranks, cwd=self.place, **more)

    def interrupt(self, number, name, *words):
        code, err = harness.interrupt(name, number, "predict", *KERNEL, "-output", "out.h5", *words, cwd=self.place)
        self.assertFalse((self.place / "out.h5").exists(), err)
        return code, err

    def check(self, *words, resume=("-resume",), ranks=2, kept=()):
        """Going on gives what one go gives, and leaves nothing behind."""
        done = self.predict(*words, *resume, ranks=ranks)
        self.assertEqual(done.code, 0, done.err)
        self.assertEqual(sorted(os.listdir(self.place)), sorted(["out.h5", *kept]))
        resumed = read(self.place / "out.h5")
        whole = undisturbed(*[w for w in words if "decomposition" not in str(w) and w != "kernel.h5"])
        for name in whole:
            if ranks == 2:
                np.testing.assert_array_equal(resumed[name], whole[name], err_msg=name)
            elif name not in ("iterations", "residual", "evaluations"):
                np.testing.assert_allclose(resumed[name], whole[name], rtol=1e-9, atol=1e-12, err_msg=name)

    def test_term_between_block_columns_is_exit_6_and_resumes_to_the_same_bits(self):
        code, err = self.interrupt(signal.SIGTERM, "out.h5.chk.kernel-0.part", *MANY_COLUMNS)
        self.assertEqual(code, 6, err)
        self.assertIn("block columns", err)
        self.check(*MANY_COLUMNS)

    def test_kill_between_block_columns_resumes_on_another_number_of_ranks(self):
        self.interrupt(signal.SIGKILL, "out.h5.chk.kernel-0.part", *MANY_COLUMNS)
        self.check(*MANY_COLUMNS, ranks=3)

    def test_walltime_stops_within_a_kernel(self):
        words = ("-scan_temperature", "0.01:1:20", *MANY_COLUMNS)
        done = self.predict(*words, "-walltime", "00:00:01")
        self.assertEqual(done.code, 6, done.err)
        self.assertTrue([name for name in os.listdir(self.place) if name.startswith("out.h5.chk.kernel-0")], done.err)
        self.check(*words)

    def test_kernel_that_would_not_be_finished_in_time_is_not_begun(self):
        scan = ("-scan_data_train", "100,20000", "-theory_bandwidth", 0, "-memory", "100G", "-walltime", "00:01:40")
        for ranks, mode in ((1, ()), (2, ("-scan_farm", "true"))):
            done = self.predict(*scan, *mode, "-overwrite", ranks=ranks)
            self.assertEqual(done.code, 6, done.err)
            self.assertRegex(done.errors[0], "what comes next takes about .* left: run the same command with -resume")
            self.assertTrue((self.place / "out.h5.chk").exists())  # with the first point
            self.assertIn("kernel  eigenvectors", done.out)  # whoever computes it

    def test_decomposition_file_goes_on_with_the_same_command(self):
        words = ("-theory_decomposition", "kernel.h5", *MANY_COLUMNS)
        code, err = self.interrupt(signal.SIGTERM, "kernel.h5.part", *words)
        self.assertEqual(code, 6, err)
        other = self.predict(*words, "-seed", 5)
        self.assertEqual(other.code, 3, other.err)
        self.assertIn("another kernel", other.errors[0])
        self.check(*words, resume=(), kept=["kernel.h5"])

    def test_stop_between_points_keeps_the_points_and_the_decomposition(self):
        words = ("-scan_temperature", "0.01:1:80")
        code, err = self.interrupt(signal.SIGTERM, "out.h5.chk.kernel-0", *words)
        self.assertEqual(code, 6, err)
        self.assertTrue((self.place / "out.h5.chk.kernel-0").exists())
        self.check(*words, ranks=1)

    def test_stop_in_a_nested_descent_keeps_the_decomposition(self):
        words = ("-network_width", "40,40", "-theory_composition", "nested")
        code, err = self.interrupt(signal.SIGTERM, "out.h5.chk.kernel-0", *words)
        self.assertEqual(code, 6, err)
        self.assertTrue((self.place / "out.h5.chk.kernel-0").exists())
        self.check(*words)

    def test_without_resume_a_run_starts_anew(self):
        self.interrupt(signal.SIGKILL, "out.h5.chk.kernel-0.part", *MANY_COLUMNS)
        data = (self.place / "out.h5.chk.kernel-0.part").read_bytes()
        (self.place / "out.h5.chk.kernel-0.part").write_bytes(data[:5000] + b"x" + data[5001:])
        done = self.predict(*MANY_COLUMNS, "-resume")
        self.assertEqual(done.code, 3, done.err)
        self.assertIn("remove it to start anew", done.errors[0])
        self.check(*MANY_COLUMNS, resume=(), kept=["out.h5.aside-1.kernel-0.part"])


if __name__ == "__main__":
    harness.main()
