# SPDX-License-Identifier: GPL-3.0-or-later
"""Help, manual pages, completion and the self-test: made from the tables, and fit for the programs that read them."""
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness
from harness import run

COMMANDS = [line.split()[0] for line in run("help").out.splitlines() if line.startswith("  ") and line[2] != " "]
COMMANDS = [name for name in COMMANDS if name not in ("help", "version")]


class Help(unittest.TestCase):
    def test_every_command_has_help_and_a_manual_page_that_man_reads(self):
        self.assertIn("gather", COMMANDS)
        pages = {name: run("help", "man", *([name] if name else [])).out for name in ["", *COMMANDS]}
        for name, page in pages.items():
            self.assertTrue(page.startswith(f".TH FINWIDTH{'-' if name else ''}{name} 1 "), page[:80])
            self.assertEqual(run("help", name or "predict").code, 0)
            if shutil.which("lexgrog"):
                (self.place / "page.1").write_text(page)
                done = subprocess.run(["lexgrog", self.place / "page.1"], capture_output=True, text=True)
                self.assertEqual(done.returncode, 0, done.stderr)

    def test_completion_knows_commands_keys_and_choices(self):
        script = run("help", "completion").out
        if shutil.which("shellcheck"):
            done = subprocess.run(["shellcheck", "-s", "bash", "-"], input=script, capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stdout)

        def complete(*words):
            line = " ".join(f"'{word}'" for word in words)
            done = subprocess.run(["bash", "-c", f'{script}\nCOMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _finwidth; '
                                   'echo "${COMPREPLY[@]}"'], capture_output=True, text=True, cwd=self.place)
            return done.stdout.split()
        (self.place / "in.yaml").touch()
        self.assertEqual(complete("finwidth", "ga"), ["gather"])
        self.assertEqual(complete("finwidth", "predict", "-network_ty"), ["-network_type"])
        self.assertEqual(complete("finwidth", "predict", "-network_type", ""), ["fc", "cnn", "lcn", "pool"])
        self.assertEqual(complete("finwidth", "predict", "i"), ["in.yaml"])
        self.assertEqual(complete("finwidth", "help", "m"), ["mixture", "man"])
        self.assertEqual(complete("finwidth", "selftest", "-"), [])

    def test_selftest_passes_and_leaves_nothing(self):
        for ranks in (1, 2):
            done = run("selftest", ranks=ranks, cwd=self.place, env={"TMPDIR": str(self.place), "OMPI_MCA_btl_vader_backing_directory": "/dev/shm",
                                                                     "OMPI_MCA_orte_tmpdir_base": "/tmp"})
            self.assertEqual(done.code, 0, done.out + done.err)
            self.assertIn("all checks passed", done.out)
            self.assertEqual([path.name for path in self.place.iterdir()], [])

    def test_unknown_topics(self):
        for words in (("help", "nothing"), ("help", "man", "nothing")):
            self.assertEqual(run(*words).code, 2)

    def setUp(self):
        self.place = harness.folder().resolve()


if __name__ == "__main__":
    harness.main()
