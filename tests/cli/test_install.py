# SPDX-License-Identifier: GPL-3.0-or-later
"""The installed library serves another C program, by CMake and by pkg-config, as docs/library.md says."""
import os
import re
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness
from harness import read, run

PREFIX = Path(harness.PROGRAM).resolve().parents[1]
PAGE = (harness.SOURCE / "docs" / "library.md").read_text()
WORDS = ["-data_train", "100", "-data_test", "50", "-network_width", "50"]


def block(language, number=0):
    return re.sub(r"\bPREFIX\b", str(PREFIX), re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)[number])


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.place = harness.folder().resolve()
        (cls.place / "temperatures.c").write_text(block("c"))
        (cls.place / "CMakeLists.txt").write_text(block("cmake"))
        done = run("predict", *WORDS, "-scan_temperature", "0.01,0.1,1", "-theory_bandwidth", 1, cwd=cls.place)
        assert done.code == 0, done.err
        cls.errors = read(cls.place / "predict.h5")["test_error"]

    def shell(self, command):
        done = subprocess.run(["bash", "-euc", command], cwd=self.place, capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def check_numbers(self, program, ranks):
        out = self.shell(f"'{harness.MPIEXEC}' -n {ranks} {program} {' '.join(WORDS)}")
        found = [float(number) for number in re.findall(r"test error (\S+),", out)]
        self.assertEqual(len(found), 3, out)
        for a, b in zip(found, self.errors):
            self.assertAlmostEqual(a, b, delta=1e-8)

    def test_cmake_package(self):
        self.shell(block("sh").split("\n")[0])
        self.check_numbers("build/temperatures", 2)

    def test_pkg_config(self):
        self.shell(block("sh", 1).replace("-o temperatures", "-o with-pkg-config"))
        self.check_numbers("./with-pkg-config", 1)

    def test_pkg_config_follows_a_tree_that_was_moved(self):
        names = list(PREFIX.rglob("finwidth.pc"))
        self.assertTrue(names)
        for name in names:
            moved = self.place / "moved" / name.relative_to(PREFIX)
            moved.parent.mkdir(parents=True)
            shutil.copy(name, moved)
            found = self.shell(f"PKG_CONFIG_PATH='{moved.parent}' pkg-config --variable=prefix finwidth")
            self.assertEqual(Path(found.strip()).resolve(), self.place / "moved")

    def test_a_cpp_program_links(self):
        (self.place / "start.cpp").write_text(block("cpp"))
        self.shell(block("sh", 1).replace("mpicc temperatures.c -o temperatures", "mpicxx -Wall -Wextra -Werror start.cpp -o start"))
        self.shell("./start")

    def test_one_header_includes_all(self):
        text = (PREFIX / "include" / "finwidth.h").read_text()
        for header in sorted((harness.SOURCE / "include" / "finwidth").glob("*.h")):
            self.assertIn(f"#include <finwidth/{header.name}>\n", text)
            self.assertTrue((PREFIX / "include" / "finwidth" / header.name).exists())

    def test_manual_pages_and_completion_are_installed(self):
        for name in ("finwidth", "finwidth-predict", "finwidth-gather"):
            self.assertTrue((PREFIX / f"share/man/man1/{name}.1").exists(), name)
        self.assertIn("_finwidth", (PREFIX / "share/bash-completion/completions/finwidth").read_text())


if __name__ == "__main__":
    harness.main()
