# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples of docs/results.md read the result that the page makes."""
import re
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness
from harness import read

PAGE = (harness.SOURCE / "docs" / "results.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)


def has_module(name):
    return subprocess.run([sys.executable, "-c", f"import {name}"], capture_output=True).returncode == 0


class Results(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.place = harness.folder().resolve()
        (cls.place / "bin").mkdir()
        (cls.place / "bin" / "finwidth").symlink_to(harness.PROGRAM)
        cls.run_it(["bash", "-euc", f"PATH='{cls.place}/bin':$PATH\n{blocks('sh')[0]}"])
        cls.result = read(cls.place / "scan.h5")

    @classmethod
    def run_it(cls, words):
        done = subprocess.run(words, cwd=cls.place, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def test_h5py(self):
        out = self.run_it([sys.executable, "-c", blocks("python")[0]])
        self.assertIn("(5, 3) label^2", out)
        self.assertIn("complete", out)

    @unittest.skipUnless(has_module("xarray") and has_module("netCDF4"), "no xarray with netCDF4")
    def test_xarray(self):
        out = self.run_it([sys.executable, "-c", blocks("python")[1]])
        self.assertIn("('temperature', 'network_width')", out)
        self.assertIn(f"{self.result['test_error'][2, 0]:.6g}"[:6], out)

    @unittest.skipUnless(has_module("xarray") and has_module("netCDF4"), "no xarray with netCDF4")
    def test_an_axis_of_words_in_xarray(self):
        done = harness.run("predict", "-data_train", 20, "-data_test", 10, "-scan_network_activation", "erf,relu,linear", "-output", "words.h5",
                           cwd=self.place)
        self.assertEqual(done.code, 0, done.err)
        out = self.run_it([sys.executable, "-c", "import xarray\n"
                           "predict = xarray.open_dataset('words.h5', group='predict', engine='netcdf4')\n"
                           "print(predict.network_activation.values, float(predict.test_error.sel(network_activation='linear')))"])
        self.assertIn("['erf' 'relu' 'linear']", out)
        self.assertIn(f"{read(self.place / 'words.h5')['test_error'][2]:.8g}"[:8], out)

    @unittest.skipUnless(shutil.which("octave-cli"), "no Octave")
    def test_octave(self):
        out = self.run_it(["octave-cli", "--eval", blocks("octave")[0]]).split()
        self.assertEqual(out[:2], ["3", "5"])
        self.assertAlmostEqual(float(out[2]), self.result["test_error"][0, 0], places=8)

    @unittest.skipUnless(shutil.which("h5dump"), "no h5dump (Debian: hdf5-tools)")
    def test_command_line(self):
        out = self.run_it(["bash", "-euc", f"PATH='{self.place}/bin':$PATH\n{blocks('sh')[1]}"])
        self.assertIn('"complete"', out)
        self.assertIn("/predict/test_error", out)
        self.assertIn("scan.h5: complete", out)


if __name__ == "__main__":
    harness.main()
