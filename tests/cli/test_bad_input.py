# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input: one clear line from rank 0, the documented exit code on any number of ranks, no file, no hang."""
import gzip
import os
import resource
import struct
import subprocess
import sys
import unittest
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness
from harness import run

LONG = bool(os.environ.get("FINWIDTH_LONG"))


def idx(array, magic=None):
    array = np.asarray(array, dtype=np.uint8)
    head = struct.pack(">I", magic or 0x800 + array.ndim) + b"".join(struct.pack(">I", n) for n in array.shape)
    return head + array.tobytes()


class BadInput(unittest.TestCase):
    def setUp(self):
        self.place, self.n_refused = harness.folder(), 0

    def ranks(self, code, command):
        """Three where files are read, and once in each test; options alone are the same on each rank."""
        self.n_refused += 1
        reads = code != 2 or {"-data_path", "-data_source"} & set(command)
        return (1, 3) if LONG else (3,) if reads or self.n_refused == 1 else (1,)

    def refused(self, code, words, *command, file=None, leaves=()):
        if file is not None:
            (self.place / "in.yaml").write_text(file)
            command = ("predict", "in.yaml", *command)
        before = sorted(os.listdir(self.place))
        for ranks in self.ranks(code, command):
            done = run(*command, ranks=ranks, cwd=self.place)
            self.assertEqual(done.code, code, f"{command} on {ranks}: {done.err}{done.out}")
            self.assertEqual(len(done.errors), 1, done.err)
            for word in [words] if isinstance(words, str) else words:
                self.assertIn(word, done.errors[0])
            self.assertNotIn("PETSC ERROR", done.err)
            self.assertEqual(sorted(os.listdir(self.place)), sorted([*before, *leaves]))

    def unsolved(self, reason, *command):
        """Exit 4 with a file that says why."""
        self.refused(4, "status 'failed'", *command, "-overwrite", leaves=["predict.h5"])
        self.assertEqual(harness.attribute(self.place / "predict.h5", "status"), "failed")
        self.assertIn(reason, harness.attribute(self.place / "predict.h5", "warnings"))
        os.remove(self.place / "predict.h5")

    def test_commands_and_words(self):
        self.refused(2, "no command")
        self.refused(2, ["unknown command 'predcit'", "finwidth help"], "predcit")
        (self.place / "q.yaml").write_text("seed: 1\n")
        self.refused(2, "finwidth predict q.yaml", "predict", "-network_width", "5", "q.yaml")
        self.refused(2, ["no figure 'nosuch'", "action"], "predict", "-figure", "nosuch")
        self.refused(2, "stray word '7'", "predict", "-network_width", "5", "7")
        self.refused(2, "usage: finwidth plot", "plot")
        self.refused(2, "'extra'", "version", "extra")
        self.refused(2, "'-foo'", "version", "-foo")
        self.refused(2, "stray word 'extra'", "help", "predict", "extra")
        self.refused(2, "'extra'", "selftest", "extra")
        self.refused(2, "'-network_depth'", "selftest", "-network_depth", 3)

    def test_misspelt_keys(self):
        self.refused(2, ["'network_widht'", "'network_width'"], "predict", "-network_widht", 5)
        self.refused(2, ["'network_widht'", "'network_width'"], file="network: {widht: 5}\n")
        self.refused(2, ["'temprature'", "'temperature'"], file="temprature: 5\n")
        self.refused(2, ["snes_montior", "help keys"], "predict", "-snes_montior")
        self.refused(2, ["'network_width'", "'teacher_width'"], "predict", "-width", 5)
        self.refused(2, ["in.yaml:2: unknown key 'network_widht'", "'network_width'"], file="network:\n  widht: 5\n")
        done = run("predict", "-optimal_alpha", 3, "-dry_run", cwd=self.place)
        self.assertEqual((done.code, len(done.lines)), (0, 1), done.err)
        self.assertIn("-optimal_alpha: without meaning for 'predict'", done.err)

    def test_values_out_of_range(self):
        for key, value, word in [("network_width", "-3", ">= 1"), ("network_width", "0", ">= 1"),
                                 ("network_width", "10,-1", ">= 1"), ("network_depth", "0", ">= 1"),
                                 ("temperature", "-0.1", ">= 0"), ("temperature", "nan", "a number"),
                                 ("network_prior", "0", "> 0"), ("network_bias", "-1", ">= 0"),
                                 ("data_train", "0", ">= 1"), ("data_train", "1e3", "an integer"),
                                 ("network_activation", "swish", "one of"), ("data_source", "imagenet", "one of"),
                                 ("data_normalise", "yes", "one of"), ("walltime", "1h", "HH:MM:SS")]:
            self.refused(2, [key, word], "predict", f"-{key}", value)
        self.refused(2, ["network_width", "3 entries"], "predict", "-network_depth", 2, "-network_width", "4,5,6")
        self.refused(2, ["network_prior", "2 entries"], "predict", "-network_width", "4,5", "-network_prior", "1,1")
        self.refused(2, "has no value", "predict", "-temperature")

    def test_input_files(self):
        self.refused(3, ["nowhere.yaml", "No such file"], "predict", "nowhere.yaml")
        self.refused(2, "in.yaml:3", file="network:\n  width: [3\n")
        self.refused(2, ["in.yaml:1", "not YAML"], file="\tnetwork: 3\n")
        self.refused(2, ["in.yaml:3", "second time"], file="temperature: 1\nseed: 2\ntemperature: 2\n")
        self.refused(2, ["in.yaml:2", "'network_width'", "second time"], file="network_width: 10\nnetwork: {width: 20}\n")
        self.refused(2, "no value", file="temperature:\n")
        self.refused(2, "a list", file="- 3\n- 4\n")
        self.refused(2, "plain values", file="network: {width: [[1, 2]]}\n")
        self.refused(2, "second document", file="seed: 1\n---\nseed: 2\n")
        self.refused(2, "stands inside itself", file="a: &a [*a]\n")
        self.refused(2, "a key is empty", file='"": 3\n')
        self.refused(2, ["in.yaml:2", "'*nope'"], file="seed: 1\ntemperature: *nope\n")
        self.refused(2, ["in.yaml:1", "'$$temperature'"], file="$$temperature: 1\n")
        (self.place / "wide.yaml").write_bytes("seed: 1\n".encode("utf-16"))
        self.refused(2, "UTF-8", "predict", "wide.yaml")
        os.mkfifo(self.place / "pipe")
        self.refused(2, "not a regular file", "predict", "pipe")

    def test_options_of_petsc(self):
        self.refused(2, "bogus", "predict", "-snes_type", "bogus")
        self.refused(2, "abc", "predict", "-snes_max_it", "abc")
        self.refused(2, "missing.txt", "predict", "-options_file", "missing.txt")

    def test_what_is_only_printed_must_come_out(self):
        for words in (["version"], ["help", "man"], ["predict", "-dry_run"]):
            with open("/dev/full", "w") as full:
                done = subprocess.run([harness.PROGRAM, *words], stdout=full, stderr=subprocess.PIPE, text=True,
                                      cwd=self.place)
            self.assertEqual(done.returncode, 3, done.stderr)

    def test_sizes_that_would_not_fit_are_refused_at_once(self):
        for code, words, key, value in [
            (2, "from 0 to 100000", "network_depth", 1000000000), (2, "at most 4096", "network_depth", 100000),
            (2, "want at most", "scan_temperature", "0.001:1:1000000"),
            (2, "from 1 to 10000", "theory_starts", 2147483647), (5, "data_test", "data_test", 1000000000)]:
            self.refused(code, words, "predict", "-" + key, value, "-memory", "1G")
        teacher = ("predict", "-memory", "1G", "-data_source", "teacher")
        self.refused(5, "teacher_inputs", *teacher, "-teacher_inputs", 1000000000)
        self.refused(5, "teacher_width", *teacher, "-teacher_kind", "one-layer", "-teacher_width", 2147483647)
        self.refused(5, "data_skip", "predict", "-memory", "1G", "-data_shuffle", "-data_skip", 2147483647)
        self.refused(5, "patches", "predict", "-memory", "16G", "-network_type", "cnn", "-network_mask", 1, "-data_size", 1000)
        for key in ("data_train", "data_test"):
            self.refused(5, key, "ansatz", "-memory", "1G", "-" + key, 2147483647)
        self.refused(5, "network_outputs", "mixture", "-network_outputs", 2147483647)

    @unittest.skipUnless(sys.platform == "linux", "ulimit -v")
    def test_an_address_space_that_is_too_small(self):
        done = subprocess.run(["sh", "-c", 'ulimit -v 400000; exec "$0" predict', harness.PROGRAM], cwd=self.place,
                              env={**os.environ, **harness.ALONE}, capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr.count("finwidth: error")), (5, 1), done.stderr)
        self.assertIn("ulimit -v", done.stderr)

    def test_numbers_out_of_reach(self):
        self.unsolved("not finite", "predict", "-temperature", "1e308")
        self.refused(5, "GiB", "predict", "-data_train", 2000000000)
        self.refused(5, "less than any run needs", "predict", "-memory", "1K")

    def test_an_average_out_of_reach_leaves_the_saddle_point(self):
        (self.place / "d.csv").write_text("1,0,0,1\n1,1e-6,0,-1\n0,1,1,0.5\n0.3,0.2,0.7,1\n")
        for outputs, width in ((1, 1), (2, 3)):
            command = ("predict", "-data_source", "csv", "-data_path", "d.csv", "-data_normalise", "none", "-data_train", 3,
                       "-data_test", 1, "-network_width", width, "-network_prior", "1,1e-300", "-network_outputs", outputs,
                       "-theory_average", "-overwrite")
            done = run(*command, cwd=self.place)
            self.assertEqual((done.code, done.err.count("no average: theory_average: the weights")), (4, 1), done.err)
            r = harness.read(self.place / "predict.h5")
            self.assertEqual((r["converged"], r["average_converged"], "average_test_error" in r), (1, 0, False))
            self.assertGreater(r["total_order_parameter"], 0)
        os.remove(self.place / "predict.h5")

    def test_resume_of_another_input(self):
        self.assertEqual(run("predict", "-data_train", 40, cwd=self.place).code, 0)
        self.refused(2, "another input", "predict", "-data_train", 50, "-resume")

    def test_what_is_not_built_is_named(self):
        self.refused(2, "theory_mean", "predict", "-theory_mean", "on")

    def test_several_outputs(self):
        three = ("predict", "-data_classes", "0,1,2", "-data_train", 60, "-data_test", 10)
        self.refused(2, "theory_composition", *three, "-network_width", "50,50", "-theory_composition", "nested")
        self.refused(2, "network_width", *three, "-network_width", "50,60")
        self.refused(2, "theory_observables", *three, "-theory_observables", "true")
        self.unsolved("there is no solution at T = 0", *three, "-temperature", 0, "-network_activation", "linear",
                      "-data_train", 300)

    def test_output(self):
        self.refused(3, "nowhere/out.h5", "predict", "-output", "nowhere/out.h5")
        (self.place / "folder").mkdir()
        self.refused(3, "folder", "predict", "-output", "folder", "-overwrite")
        os.mkfifo(self.place / "fifo")
        self.refused(3, "'fifo' is not a file", "predict", "-theory_decomposition", "fifo", "-data_train", 5, "-data_test", 2)

    def test_what_a_run_reads_is_never_its_output(self):
        (self.place / "q.yaml").write_text("data: {source: hdf5, path: q.h5}\n")
        harness.write_arrays(self.place / "q.h5", x=np.zeros(3))
        (self.place / "d.csv").write_text("1,2\n3,4\n")
        (self.place / "link.h5").symlink_to("d.csv")
        (self.place / "notes.txt").write_text("mine\n")
        before = {name: (self.place / name).read_bytes() for name in os.listdir(self.place)}
        csv = ("-data_source", "csv", "-data_path", "d.csv")
        for words in (["q.yaml"], ["q.yaml", "-output", "./q.yaml"], [*csv, "-output", "link.h5"],
                      ["-data_predict", "d.csv", "-output", "./d.csv"], ["-theory_decomposition", "a", "-output", "a"]):
            self.refused(2, ["read by this run", "-output"], "predict", *words, "-overwrite")
        self.refused(2, "read by this run", "ansatz", "-ansatz_weights", "q.h5", "-output", "q.h5", "-overwrite")
        for words in ([], ["-overwrite"]):
            self.refused(7, "'notes.txt' exists, and is no result of finwidth", "predict", "-output", "notes.txt", *words)
        self.refused(7, "no result of finwidth", "gather", "q.h5", "d.csv", "-overwrite")
        self.assertEqual({name: (self.place / name).read_bytes() for name in before}, before)

    def test_names_too_long_for_checkpoints(self):
        self.refused(3, "at most 207 characters", "predict", "-output", "n" * 205 + ".h5")

    def test_limit_on_file_sizes_in_the_way_of_a_checkpoint(self):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (512, before[1]))
        try:
            env = {"FINWIDTH_CHECKPOINT_SECONDS": "0"}
            both = [run(*words, cwd=self.place, env=env) for words in
                    (("predict", "-data_train", 20), ("mixture", "-mixture_samples", 2000))]
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        for done in both:
            self.assertEqual(done.code, 3, done.err)
            self.assertIn("File too large", done.errors[0])

    def test_result_files(self):
        (self.place / "text.h5").write_text("this is not HDF5\n")
        self.refused(3, "text.h5", "plot", "text.h5", "-output", "a.png")
        self.refused(3, "text.h5", "verify", "text.h5")
        self.refused(3, "nowhere.h5", "verify", "nowhere.h5")
        harness.write_arrays(self.place / "foreign.h5", x=np.zeros(3))
        self.refused(3, "'foreign.h5' is not a result of finwidth", "verify", "foreign.h5")

    def test_image_files(self):
        images, labels = np.arange(6 * 4 * 4).reshape(6, 4, 4) % 251, np.array([0, 1, 0, 1, 1, 0])
        command = ("predict", "-data_source", "mnist", "-data_path", ".", "-data_train", "3", "-data_test", "2",
                   "-data_images", "i", "-data_labels", "l")

        def write(i, l=idx(labels)):
            (self.place / "i").write_bytes(i)
            (self.place / "l").write_bytes(l)

        self.refused(3, "i", *command)
        write(idx(images))
        self.refused(2, "", *command, "-data_train", "30")
        write(idx(images)[:-5])
        self.refused(2, "i", *command)
        write(idx(images) + b"zz")
        self.refused(2, "i", *command)
        write(idx(images, magic=0x1234))
        self.refused(2, ["0x00001234", "0x00000803"], *command)
        write(idx(images), idx(labels[:4]))
        self.refused(2, "4", *command)
        write(struct.pack(">IIII", 0x803, 2**31 - 1, 60000, 60000))
        self.refused(2, "i", *command)
        write(b"")
        self.refused(2, "i", *command)
        (self.place / "i").unlink()
        (self.place / "l").unlink()
        (self.place / "i").write_bytes(gzip.compress(idx(images))[:-9])
        (self.place / "l").write_bytes(idx(labels))
        self.refused(2, "i", *command)

    def test_other_data_files(self):
        command = ("predict", "-data_train", "3", "-data_test", "1", "-data_path")
        (self.place / "data_batch_1.bin").write_bytes(bytes(3073) + b"x")
        self.refused(2, "3073", *command, ".", "-data_source", "cifar10")
        (self.place / "data_batch_1.bin").write_bytes(b"\x0c" + bytes(3072))
        self.refused(2, "12", *command, ".", "-data_source", "cifar10")
        x, y = np.ones((5, 4)), np.ones(5)
        x[:, 0], x[2, 1] = np.arange(5), np.nan
        harness.write_arrays(self.place / "d.h5", x=x, y=y)
        self.refused(2, "d.h5", *command, "d.h5", "-data_source", "hdf5")
        self.refused(2, "'z'", *command, "d.h5", "-data_source", "hdf5", "-data_inputs", "z")
        (self.place / "d.csv").write_text("4,2,3\n1,2,x\n4,5,6\n1,2,2\n")
        self.refused(2, ["d.csv", "2"], *command, "d.csv", "-data_source", "csv")
        self.refused(2, "without data_source", *command, "d.csv")
        (self.place / "d.csv").write_text("1,2,3\n4,5,6\n7,8,9\n1,2,2\n")
        self.refused(2, "counts its columns", *command, "d.csv", "-data_source", "csv")

    def test_singular_kernel_at_zero_temperature_is_exit_4(self):
        x = np.random.default_rng(1).normal(size=(8, 3))
        harness.write_arrays(self.place / "d.h5", x=x, y=x[:, 0])
        self.unsolved("rank 3 of 6", "predict", "-data_source", "hdf5", "-data_path", "d.h5", "-data_train", 6,
                      "-data_test", 2, "-network_activation", "linear", "-temperature", 0)


if __name__ == "__main__":
    harness.main()
