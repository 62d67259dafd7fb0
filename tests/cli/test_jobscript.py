# SPDX-License-Identifier: GPL-3.0-or-later
"""Job scripts: shellcheck has nothing to say, and under stand-ins for the commands of PBS and LSF they compute the scan.

The stand-ins behave as the manuals of the schedulers say: they read the directives, run each task with its index in the
environment, and count what was submitted again. Slurm itself is in test_slurm.py.
"""
import os
import re
import shutil
import stat
import subprocess
import sys
import unittest
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness
from harness import read, run

INPUT = "data: {test: 10}\nscan: {temperature: [0.1, 0.2], data: {train: [30, 40, 50]}}\n"
GIVEN = ["-job_time", "00:30:00", "-job_memory", "1G"]
MODES = [(scheduler, mode) for scheduler in ("slurm", "pbs", "lsf") for mode in ("single", "array", "farm")]

# qsub [-J first-last] [-v NAME=value,...] SCRIPT
QSUB = """#!/bin/bash
set -eu
range= extra=
while [ $# -gt 1 ]; do
  case $1 in -J) range=$2; shift 2;; -v) extra=$2; shift 2;; *) exit 9;; esac
done
echo "qsub $range $extra $1" >>"$STAND_IN/record"
cp "$1" "$STAND_IN/spool.$$"
export PBS_O_WORKDIR=$PWD PBS_JOBID=1
for word in ${extra//,/ }; do export "${word?}"; done
cd /
if [ -n "$range" ]; then
  for i in $(seq "${range%-*}" "${range#*-}"); do PBS_ARRAY_INDEX=$i bash "$STAND_IN/spool.$$" || true; done
else
  bash "$STAND_IN/spool.$$"
fi
"""
# bsub <SCRIPT ; -Q 6: a job that ends with 6 is run again
BSUB = """#!/bin/bash
set -eu
cat >"$STAND_IN/spool.$$"
range=$(sed -n 's/^#BSUB -J .*\\[\\(.*\\)\\]$/\\1/p' "$STAND_IN/spool.$$")
again=$(sed -n 's/^#BSUB -Q //p' "$STAND_IN/spool.$$")
export LS_SUBCWD=$PWD LSB_JOBINDEX
cd /
for LSB_JOBINDEX in $(seq "${range%-*}" "${range#*-}"); do
  for attempt in 1 2 3; do
    echo "bsub $LSB_JOBINDEX $attempt" >>"$STAND_IN/record"
    code=0
    bash "$STAND_IN/spool.$$" || code=$?
    [ "$code" = "$again" ] || break
  done
done
"""
# the first run of every second result is stopped
STOPPING = """#!/bin/bash
for word; do last=${before:-}; before=$word; [ "$last" = -output ] && output=$word; done
if [ ! -e "$output.once" ] && [[ "$output" == *[13].h5 ]]; then touch "$output.once"; exit 6; fi
exec "$REAL_FINWIDTH" "$@"
"""


def script(*words, cwd):
    done = run("jobscript", *words, cwd=cwd)
    assert done.code == 0, done.err
    return done.out


class Jobscript(unittest.TestCase):
    def setUp(self):
        self.place = harness.folder().resolve()
        (self.place / "in.yaml").write_text(INPUT)
        self.bin = self.place / "bin"
        self.bin.mkdir()

    def stand_in(self, name, text):
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def environment(self):
        return dict(os.environ, PATH=f"{self.bin}:{os.environ['PATH']}", STAND_IN=str(self.bin),
                    REAL_FINWIDTH=harness.PROGRAM, FINWIDTH=str(self.bin / "stopping"))

    def submit(self, command):
        done = subprocess.run(["bash", "-c", command], cwd=self.place, env=self.environment(), capture_output=True,
                              text=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done

    def check_result(self, path):
        self.assertEqual(run("predict", "in.yaml", "-output", "whole.h5", "-overwrite", cwd=self.place).code, 0)
        result, whole = read(self.place / path), read(self.place / "whole.h5")
        self.assertEqual(harness.attribute(self.place / path, "status"), "complete")
        for name in ("test_error", "order_parameter", "temperature", "data_train"):
            np.testing.assert_allclose(result[name], whole[name], rtol=1e-12, err_msg=name)

    def test_shellcheck_has_nothing_to_say(self):
        if not shutil.which("shellcheck"):
            self.skipTest("shellcheck is not installed")
        for scheduler, mode in MODES:
            text = script("in.yaml", "-scheduler", scheduler, "-mode", mode, *GIVEN, "-job_modules", "gcc/12,openmpi",
                          "-job_account", "ab12", "-job_queue", "long", "-data_source", "glyphs", "-data_path", "it's", cwd=self.place)
            done = subprocess.run(["shellcheck", "-s", "bash", "-"], input=text, capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stdout)

    def test_scripts_in_jobs_are_those_of_the_program(self):
        for scheduler, mode in MODES:
            path = harness.SOURCE / "jobs" / "scan" / f"{mode}.{scheduler}.sh"
            text = script("inputs/scan-temperature-width.yaml", "-scheduler", scheduler, "-mode", mode, "-job_ranks", 4,
                          "-job_name", mode, *GIVEN, cwd=harness.SOURCE)
            self.assertEqual(path.read_text(), text, f"{path}: see docs/scans.md for the command that makes it")

    def test_estimate_gives_time_and_memory(self):
        text = script("in.yaml", "-scheduler", "slurm", cwd=self.place)
        self.assertRegex(text, r"--time=00:15:00|--time=00:20:00")
        self.assertRegex(text, r"--mem-per-cpu=[4-9]00M")
        large = script("in.yaml", "-scheduler", "slurm", "-scan_data_train", "60000", "-data_source", "teacher",
                       cwd=self.place)
        hours, memory = re.search(r"--time=(\d+):", large).group(1), re.search(r"--mem-per-cpu=(\d+)M", large).group(1)
        self.assertGreater(int(hours), 1)
        self.assertGreater(int(memory), 20000)
        patches = script("in.yaml", "-scheduler", "slurm", "-network_type", "cnn", "-scan_data_train", 2000, cwd=self.place)
        self.assertRegex(patches, r"[1-9]\d* s here on one rank and [1-9][0-9.]* GiB for each")

    def test_mixture_and_optimal_have_estimates_of_the_whole_scan(self):
        (self.place / "scan.yaml").write_text("scan: {network_depth: [5, 160]}\n")
        for command, least, most in (("mixture", 0.1, 3), ("optimal", 0.01, 1)):  # twice and half of what was measured, at least
            text = script("scan.yaml", "-scheduler", "slurm", "-job_command", command, cwd=self.place)
            seconds = float(re.search(r"about ([0-9.e-]+) s here", text).group(1))
            self.assertTrue(least <= seconds <= most, text)

    def test_estimate_is_of_the_group_that_needs_most(self):
        (self.place / "point.yaml").write_text("data: {train: 500, test: 10}\n")
        for scan, alone in ((["-job_command", "sample", "-scan_network_width", "10,3000"],
                             ["-job_command", "sample", "-network_width", 3000]),
                            (["-scan_network_type", "fc,cnn"], ["-network_type", "cnn"])):
            seconds = [float(re.search(r"about ([0-9.e+]+) s here", text).group(1)) for text in
                       (script("point.yaml", "-scheduler", "slurm", *words, cwd=self.place) for words in (scan, alone))]
            self.assertGreater(seconds[0], 0.1 * seconds[1])

    def test_memory_is_that_of_what_the_scheduler_counts(self):
        for scheduler, directive in (("slurm", "--mem-per-cpu=1024M"), ("pbs", ":ncpus=4:mpiprocs=4:ompthreads=1:mem=4096mb"),
                                     ("lsf", "#BSUB -R rusage[mem=4096MB]")):
            self.assertIn(directive, script("in.yaml", "-scheduler", scheduler, "-job_ranks", 4, *GIVEN, cwd=self.place))

    def test_examples_are_counted_before_they_are_drawn(self):
        (self.place / "point.yaml").write_text("data: {train: 1000000}\n")
        memory = re.search(r"--mem-per-cpu=(\d+)M", script("point.yaml", "-scheduler", "slurm", cwd=self.place)).group(1)
        self.assertGreater(int(memory), 1e6 * 1e6 * 8 / 2**20)

    def test_points_of_one_kernel_are_in_one_task(self):
        text = script("in.yaml", "-scheduler", "slurm", "-mode", "array", *GIVEN, cwd=self.place)
        self.assertEqual(re.findall(r"^  '(.*)'$", text, re.M), ["0,3", "1,4", "2,5"])
        text = script("in.yaml", "-scheduler", "slurm", "-mode", "array", "-job_tasks", 2, *GIVEN, cwd=self.place)
        self.assertEqual(re.findall(r"^  '(.*)'$", text, re.M), ["0-1,3-4", "2,5"])

    def test_arrays_longer_than_schedulers_take_are_warned_of(self):
        words = ["in.yaml", "-mode", "array", "-scan_seed", "1:400:400", "-job_tasks", 1001, *GIVEN]
        for scheduler, limit in [("slurm", "MaxArraySize"), ("lsf", "MAX_JOB_ARRAY_SIZE"), ("pbs", None)]:
            done = run("jobscript", *words, "-scheduler", scheduler, cwd=self.place)
            self.assertEqual((done.code, len(done.lines)), (0, 1 if limit else 0), done.err)
            self.assertIn(limit or "", done.err)

    def test_what_cannot_be_is_refused(self):
        (self.place / "point.yaml").write_text("data: {train: 40}\n")
        for words, message in [((), "usage"), (("in.yaml",), "-scheduler"), (("in.yaml", "-scheduler", "sge"), "slurm,pbs,lsf"),
                               (("point.yaml", "-scheduler", "pbs", "-mode", "array"), "is for a scan"),
                               (("in.yaml", "-scheduler", "pbs", "-mode", "array", "-scan_index", 1), "scan_index"),
                               (("in.yaml", "-scheduler", "pbs", "-job_name", "a\nb"), "job_name"),
                               (("in.yaml", "-scheduler", "pbs", "-ansatz_seeds", 2, "-sampler_chains", 3), "several commands"),
                               (("gather", "in.yaml", "-scheduler", "pbs"), "job_command"),
                               (("nowhere.yaml", "-scheduler", "pbs"), "nowhere.yaml")]:
            done = run("jobscript", *words, cwd=self.place)
            self.assertEqual((done.code, done.out), (3 if "nowhere.yaml" in words else 2, ""), (words, done.err))
            self.assertEqual(len(done.errors), 1, done.err)
            self.assertIn(message, done.errors[0])

    def test_job_runs_the_command_whose_keys_the_input_has_or_that_is_named(self):
        for words, command in [((), "predict"), (("-sampler_chains", 3), "sample"), (("-mixture_samples", 100), "mixture"),
                               (("-ansatz_seeds", 2), "ansatz"), (("-optimal_alpha", 2), None),
                               (("-job_command", "sample"), "sample")]:
            done = run("jobscript", "in.yaml", "-scheduler", "lsf", *GIVEN, *words, cwd=self.place)
            self.assertEqual(re.findall(r"^command=.* '(\w+)' \"", done.out, re.M), [command] if command else [], done.err)
            self.assertEqual(re.findall(r"^# finwidth (\w+) as", done.out, re.M), [command] if command else [])
        text = script("sample", "in.yaml", "-scheduler", "slurm", *GIVEN, "-sampler_step", 0.1, cwd=self.place)
        self.assertRegex(text, r"\$finwidth\" 'sample' \"\$input\".*'-sampler_step' '0.1'\)")
        self.assertNotIn("job_command", text)

    def test_arrays_of_every_command_run(self):
        self.stand_in("qsub", QSUB)
        small = {"predict": "", "sample": "sampler: {samples: 8, burnin: 8, chains: 2}\nnetwork: {type: cnn, mask: 8, width: 4}\n",
                 "mixture": "mixture: {posterior: true, samples: 100}\nnetwork: {activation: linear}\n",
                 "optimal": None, "ansatz": "ansatz: {time: 1, measurements: 2}\n"}
        for command, more in small.items():
            name = f"{command}.yaml"
            (self.place / name).write_text(
                "optimal: {alpha: 1}\nscan: {network: {depth: [1, 2]}}\n" if more is None else
                "data: {source: glyphs, train: 20, test: 10, size: 8}\nscan: {network: {width: [3, 4]}}\n" + more)
            text = script(name, "-scheduler", "pbs", "-mode", "array", "-job_ranks", 1, cwd=self.place)
            self.assertRegex(text, rf"# finwidth {command} as a job array(.|\n)*# Time and memory: about [0-9]")
            (self.place / f"{command}.pbs.sh").write_text(text)
            call = re.search(r"^#   (qsub .*)$", text, re.M).group(1)
            done = subprocess.run(["bash", "-c", call], cwd=self.place, capture_output=True, text=True, timeout=300,
                                  env=dict(self.environment(), FINWIDTH=harness.PROGRAM))
            parts = sorted((self.place / f"{command}.parts").glob("*.h5"))
            self.assertIn(len(parts), (1, 2), done.stdout + done.stderr)
            gathered = run("gather", f"{command}.h5", f"{command}.parts", cwd=self.place)
            self.assertIn("2 of 2 points", gathered.out, gathered.err)  # also of chains that have not converged

    def test_estimate_has_the_right_order_for_what_is_trained_or_sampled(self):
        (self.place / "one.yaml").write_text("data: {source: glyphs, train: 100, test: 20, size: 8}\n")
        for words, least, most in ((("-ansatz_time", 20), 1e-4, 50), (("-ansatz_optimiser", "gd", "-ansatz_steps", 100000000,
                                                                      "-ansatz_step", 1e-6), 5, 1e6),
                                   (("-mixture_posterior", "true", "-data_encoding", "onehot"), 0.02, 200),
                                   (("-sampler_samples", 100000, "-network_type", "lcn"), 5, 1e6)):
            text = script("one.yaml", "-scheduler", "slurm", "-network_width", 10, *words, cwd=self.place)
            seconds = float(re.search(r"about ([0-9.e+-]+) s here", text).group(1))
            self.assertTrue(least <= seconds <= most, (words, seconds))

    def test_pbs_array_runs_every_task_and_submits_stopped_ones_again(self):
        self.stand_in("qsub", QSUB)
        self.stand_in("stopping", STOPPING)
        (self.place / "in.pbs.sh").write_text(
            script("in.yaml", "-scheduler", "pbs", "-mode", "array", "-job_ranks", 1, *GIVEN, cwd=self.place))
        command = re.search(r"^#   (qsub .*)$", (self.place / "in.pbs.sh").read_text(), re.M).group(1)
        self.submit(command)
        self.assertEqual((self.bin / "record").read_text().splitlines(),
                         ["qsub 0-2  in.pbs.sh", "qsub  FINWIDTH_TASK=1,FINWIDTH_RESTARTS=1 in.pbs.sh"])
        self.assertEqual(run("gather", "in.h5", "in.parts", cwd=self.place).code, 0)
        self.check_result("in.h5")

    def test_pbs_farm(self):
        self.stand_in("qsub", QSUB)
        self.stand_in("stopping", STOPPING)
        (self.place / "in.pbs.sh").write_text(script("in.yaml", "-scheduler", "pbs", "-mode", "farm", "-output", "f3.h5",
                                                     "-job_name", "in", "-job_ranks", 3, "-job_modules", "finwidth/1",
                                                     *GIVEN, cwd=self.place))
        self.submit('module() { echo "$1 $2 $NOT_SET_ANYWHERE" >"$STAND_IN/module"; }; export -f module; qsub in.pbs.sh')
        self.assertEqual((self.bin / "module").read_text(), "load finwidth/1 \n")
        self.assertEqual((self.bin / "record").read_text().splitlines(),
                         ["qsub   in.pbs.sh", "qsub  FINWIDTH_RESTARTS=1 in.pbs.sh"])
        self.check_result("f3.h5")

    def test_lsf_array_counts_from_one_and_is_queued_again_on_6(self):
        self.stand_in("bsub", BSUB)
        self.stand_in("stopping", STOPPING)
        (self.place / "in.lsf.sh").write_text(
            script("in.yaml", "-scheduler", "lsf", "-mode", "array", "-job_ranks", 1, *GIVEN, cwd=self.place))
        self.submit("bsub <in.lsf.sh")
        self.assertEqual((self.bin / "record").read_text().splitlines(), ["bsub 1 1", "bsub 2 1", "bsub 2 2", "bsub 3 1"])
        self.assertEqual(run("gather", "in.h5", "in.parts", cwd=self.place).code, 0)
        self.check_result("in.h5")

    def test_any_names_arrive_as_they_were_typed(self):
        self.stand_in("mpirun", "#!/bin/bash\nshift 2\nexec \"$@\"\n")
        self.stand_in("stopping", "#!/bin/bash\nprintf '%s\\0' \"$@\" >\"$STAND_IN/words\"\n")
        for name in ("it's", "$(touch oops)", "`touch oops`", "a b;touch oops", "new\nline", "\"q\"", "é*?[x]"):
            (self.place / f"{name}.yaml").write_text(INPUT)
            text = script(f"./{name}.yaml", "-scheduler", "slurm", "-mode", "single", "-data_source", "glyphs", "-data_path",
                          name, *GIVEN,
                          "-job_name", "x", cwd=self.place)
            done = subprocess.run(["bash", "-c", text], cwd=self.place, env=self.environment(), capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            words = (self.bin / "words").read_bytes().decode().split("\0")
            self.assertEqual(words[:4], ["predict", f"./{name}.yaml", "-output", f"{name}.h5"])
            self.assertIn(name, words[4:])
            self.assertFalse((self.place / "oops").exists())


if __name__ == "__main__":
    harness.main()
