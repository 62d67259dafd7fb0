# SPDX-License-Identifier: GPL-3.0-or-later
"""`finwidth sample`: sampled values of the reference file, ranks, resumed runs, runs that must not be trusted."""
import os
import signal
import sys
import unittest
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness
from harness import attribute, read, run

ACTIVATIONS = {"id": "linear"}
REFERENCE = harness.reference("fully_connected")
LONG = bool(os.environ.get("FINWIDTH_LONG"))


def make_data(path, p):
    """The closed formula of the `mc` rows: training rows first."""
    def frac(t):
        return t - np.floor(t)

    mu = np.arange(1, p["P"] + p["Pt"] + 1)[:, None].astype(float)
    i = np.arange(1, p["N0"] + 1)[None, :].astype(float)
    x = np.sqrt(2.0) * np.sin(2 * np.pi * frac(np.sqrt(2.0) * mu**2 * i + np.sqrt(3.0) * mu * i**2
                                               + np.sqrt(5.0) * mu * i))
    z = np.sqrt(2.0) * x @ np.cos(0.9 * i[0]) / np.sqrt(p["N0"])
    y = p["amp"] * (z + 0.5 * np.sin(3 * z)) + 0.1 * np.sin(2.3 * mu[:, 0])
    return harness.write_arrays(path, x=x, y=y)


def network(p, data):
    return ["-data_source", "hdf5", "-data_path", data, "-data_train", p["P"], "-data_test", p["Pt"],
            "-data_normalise", "none", "-network_width", p["N1"], "-temperature", p["T"],
            "-network_activation", ACTIVATIONS.get(p["act"], p["act"])]


NAMES = {"test": "test_error", "bias": "test_bias", "train": "train_error", "Q": "order_parameter",
         "var": "test_variance"}


class Sample(unittest.TestCase):
    def setUp(self):
        self.place = harness.folder().resolve()
        self.row = REFERENCE["mc"]["rows"][1]
        self.words = network(self.row, make_data(self.place / "mc.h5", self.row))

    def sample(self, *words, ranks=1, **more):
        return run("sample", *self.words, *words, ranks=ranks, cwd=self.place, **more)

    def stop(self, name, *words, ranks=2):
        """By TERM, once a file is there: exit code and stderr."""
        return harness.interrupt(name, signal.SIGTERM, "sample", *self.words, *words, ranks=ranks, cwd=self.place)

    def check(self, row, result):
        """Within four combined standard errors of what another program sampled."""
        for short, name in NAMES.items():
            if short in row["hmc"]:
                value, error = row["hmc"][short]
                z = (result[name] - value) / np.hypot(error, result[name + "_error_bar"])
                self.assertLess(abs(z), 4.0, f"{name} {result[name]} +- {result[name + '_error_bar']}, "
                                             f"reference {value} +- {error}")

    def test_sampled_values_of_the_reference(self):
        for number, row in enumerate(REFERENCE["mc"]["rows"]):
            words = network(row, make_data(self.place / f"mc{number}.h5", row))
            done = run("sample", *words, "-sampler_samples", 4000 if LONG else 600, "-output", f"{number}.h5",
                       ranks=2, cwd=self.place, timeout=900)
            self.assertEqual(done.code, 0, done.err)
            result = read(self.place / f"{number}.h5", "sample")
            self.check(row, result)
            if row["act"] == "id":  # the exact average is exact for linear networks
                for name in ("train_error", "test_error", "test_bias", "test_variance", "order_parameter"):
                    self.assertLess(abs(result[name + "_average_z_score"]), 4.5, name)
            self.assertAlmostEqual(result["test_error"], result["test_bias"] + result["test_variance"], delta=1e-12)

    def test_linear_networks_against_the_exact_posterior(self):
        """That of the mixture of Gaussian processes, by quadrature over their random matrix Q."""
        x = np.random.default_rng(5).normal(size=(30, 12))
        y = x[:, :2] + 0.3 * x[:, 2:4]
        networks = [(1, "6,9")] + ([(1, 5), (1, "8,5,8,8"), (2, "6,7"), (2, 4)] if LONG else [])
        for outputs, widths in networks:
            data = harness.write_arrays(self.place / "linear.h5", x=x, y=y[:, :outputs])
            words = ["-data_source", "hdf5", "-data_path", data, "-data_train", 20, "-data_test", 10, "-data_normalise",
                     "none", "-network_outputs", outputs, "-network_width", widths, "-network_activation", "linear",
                     "-temperature", 0.1, "-overwrite"]
            self.assertEqual(run("mixture", *words, "-mixture_posterior", "-mixture_samples", 100, cwd=self.place).code, 0)
            done = run("sample", *words, "-sampler_samples", 3000 if LONG else 600, ranks=2, cwd=self.place, timeout=900)
            self.assertIn(done.code, (0, 4), done.err)
            exact, r = read(self.place / "mixture.h5", "mixture/posterior"), read(self.place / "sample.h5", "sample")
            for name in ("test_error", "test_bias", "test_variance"):
                value, bar = np.mean(r[name]), np.mean(r[name + "_error_bar"])  # of outputs that move together
                self.assertLess(abs(value - exact[name]), 4.0 * bar, f"{words} {name}: {value} +- {bar}, {exact[name]}")
                self.assertLess(bar, 0.1 * exact[name])

    @unittest.skipUnless(LONG, "FINWIDTH_LONG is not set")
    @harness.needs_data
    def test_sampled_images_of_the_reference(self):
        row = REFERENCE["mc_real"]["rows"][0]
        done = run("sample", "-data_source", "mnist", "-data_split", "sequence", "-data_classes", "3,8",
                   "-data_images", "t10k-images-idx3-ubyte.gz", "-data_labels", "t10k-labels-idx1-ubyte.gz",
                   "-data_train", row["P"], "-data_test", row["Pt"], "-network_width", row["widths"][0], "-temperature",
                   row["T"], "-sampler_samples", 600, ranks=2, cwd=self.place, timeout=3000)
        self.assertEqual(done.code, 0, done.err)
        self.check(row, read(self.place / "sample.h5", "sample"))

    @unittest.skipUnless(LONG, "FINWIDTH_LONG is not set")
    @harness.needs_data
    def test_sampled_convolutional_networks(self):
        """Test errors that another program sampled, with their standard errors, of the teachers of 64 inputs."""
        rows = [("shared", "cnn", 10, 4, 0.6377, 0.0038), ("shared", "cnn", 20, 4, 0.7285, 0.0038),
                ("shared", "lcn", 20, 4, 0.8958, 0.0032), ("signed", "cnn", 20, 4, 0.8015, 0.0052),
                ("signed", "lcn", 20, 4, 0.9300, 0.0035), ("onepatch", "cnn", 20, 4, 1.0386, 0.0057),
                ("onepatch", "lcn", 20, 4, 1.0261, 0.0048), ("shared", "cnn", 30, 2, 0.8461, 0.0041),
                ("shared", "lcn", 30, 2, 0.8807, 0.0056)]
        for teacher, kind, channels, stride, value, error in rows:
            done = run("sample", "-data_source", "hdf5", "-data_path", f"{harness.DATA}/teachers/{teacher}.h5",
                       "-data_normalise", "none", "-data_train", 30, "-data_test", 400, "-network_type", kind,
                       "-network_width", channels, "-network_mask", 4, "-network_stride", stride, "-temperature", 0.1,
                       "-sampler_samples", 500, "-overwrite", ranks=2, cwd=self.place, timeout=3000)
            self.assertIn(done.code, (0, 4), done.err)
            r = read(self.place / "sample.h5", "sample")
            z = (r["test_error"] - value) / np.hypot(error, r["test_error_error_bar"])
            self.assertLess(abs(z), 4.0, f"{teacher} {kind} {channels} {stride}: {r['test_error']}")

    def test_prediction_is_that_of_predict(self):
        self.assertIn(self.sample("-sampler_samples", 20, "-theory_observables").code, (0, 4))
        self.assertEqual(run("predict", *self.words, "-theory_observables", cwd=self.place).code, 0)
        beside, alone = read(self.place / "sample.h5", "predict"), read(self.place / "predict.h5")
        for name in set(beside) - {"log_q"}:
            np.testing.assert_allclose(beside[name], alone[name], rtol=1e-12, err_msg=name)
        r = read(self.place / "sample.h5", "sample")
        for name in ("test_error", "train_error", "order_parameter", "alignment_after", "weight_trace_after"):
            predicted = np.ravel(beside[name])[-1]
            self.assertAlmostEqual(r[name + "_z_score"], (r[name] - predicted) / r[name + "_error_bar"], places=8)
        predicted = beside["weight_eigenvalue"][:len(r["weight_variance"])]  # along its eigenvectors
        np.testing.assert_allclose(r["weight_variance_z_score"] * r["weight_variance_error_bar"],
                                   r["weight_variance"] - predicted, atol=1e-10)
        self.assertNotIn("weight_eigenvalue_z_score", r)

    def test_same_bits_on_any_number_of_ranks(self):
        results = []
        for ranks in (1, 3, 4):
            done = self.sample("-sampler_samples", 40, "-sampler_burnin", 40, "-save_predictions", "-save_weights",
                               "-theory_observables", "-output", f"{ranks}.h5", ranks=ranks)
            self.assertEqual(done.code, 4, done.err)
            results.append(read(self.place / f"{ranks}.h5", "sample"))
        for other in results[1:]:
            for name in results[0]:
                if name.startswith("weight_variance"):  # along vectors of the prediction
                    np.testing.assert_allclose(other[name], results[0][name], rtol=1e-6, err_msg=name)
                elif not name.endswith("z_score"):
                    np.testing.assert_array_equal(other[name], results[0][name], err_msg=name)

    def test_stopped_run_goes_on_with_the_same_bits_on_other_ranks(self):
        words = ["-sampler_samples", 2500, "-sampler_burnin", 200, "-save_weights"]
        for method in ("hmc", "langevin") if LONG else ("hmc",):
            more = ["-sampler_method", method, "-sampler_leapfrog", 8, "-sampler_step", 0.08]
            code, err = self.stop("a.h5.chk.0", *words, *more, "-output", "a.h5")
            self.assertEqual(code, 6, err)
            resumed = self.sample(*words, *more, "-resume", "-output", "a.h5", ranks=3)
            self.assertIn(resumed.code, (0, 4), resumed.err)
            self.assertFalse((self.place / "a.h5.chk.0").exists())
            whole = self.sample(*words, *more, "-output", "b.h5", ranks=2)
            self.assertEqual(resumed.code, whole.code)
            a, b = read(self.place / "a.h5", "sample"), read(self.place / "b.h5", "sample")
            for name in a:
                if not name.endswith("z_score"):
                    np.testing.assert_array_equal(a[name], b[name], err_msg=name)
            for name in ("a.h5", "b.h5"):
                (self.place / name).unlink()

    def test_stopped_run_does_not_go_on_with_other_data(self):
        words = ["-sampler_samples", 100000, "-sampler_burnin", 200]
        self.assertEqual(self.stop("sample.h5.chk.0", *words, ranks=1)[0], 6)
        with h5py.File(self.place / "mc.h5", "r+") as file:
            name = [key for key in file if file[key].ndim and file[key].shape[0]][0]
            file[name][0] = -1.5 * file[name][0]
        done = self.sample(*words, "-resume")
        self.assertEqual(done.code, 2, done.err)
        self.assertIn("other data", done.errors[0])

    def test_chains_that_have_not_converged_exit_4_and_keep_what_they_have(self):
        done = self.sample("-sampler_samples", 30, "-sampler_burnin", 5)
        self.assertEqual(done.code, 4, done.err)
        self.assertEqual(len(done.errors), 1)
        self.assertIn("R-hat", done.errors[0])
        self.assertIn("effective samples", done.err)
        self.assertEqual(attribute(self.place / "sample.h5", "status"), "failed")
        self.assertEqual(read(self.place / "sample.h5", "sample")["converged"], 0)

    def test_prediction_that_did_not_converge_fails_the_run_and_is_not_compared(self):
        done = self.sample("-sampler_samples", 10, "-snes_max_it", 0)
        self.assertEqual(done.code, 4, done.err)
        self.assertIn("the solver of the prediction did not converge", done.err)
        self.assertEqual(read(self.place / "sample.h5")["converged"], 0)
        self.assertFalse([name for name in read(self.place / "sample.h5", "sample") if name.endswith("z_score")])

    def test_scan_has_axes_in_both_groups(self):
        done = self.sample("-scan_network_width", "10,20", "-scan_temperature", "0.1,1", "-sampler_samples", 20,
                           ranks=2)
        self.assertEqual(done.code, 4, done.err)
        with h5py.File(self.place / "sample.h5") as file:
            for group in ("sample", "predict"):
                self.assertEqual(file[f"{group}/test_error"].shape, (2, 2))
                self.assertEqual([list(axis.keys())[0] for axis in file[f"{group}/test_error"].dims],
                                 ["temperature", "network_width"])
        self.assertEqual(run("verify", self.place / "sample.h5").code, 0)

    def test_several_outputs_of_a_wide_network_agree_with_the_theory(self):
        random = np.random.default_rng(0)
        x = random.normal(size=(30, 15))
        data = harness.write_arrays(self.place / "d.h5", x=x, y=np.stack([np.sign(x[:, 0]), x[:, 1]], 1))
        done = run("sample", "-data_source", "hdf5", "-data_path", data, "-network_outputs", 2, "-data_train", 20,
                   "-data_test", 10, "-data_normalise", "none", "-network_width", 400, "-temperature", 0.2,
                   "-sampler_samples", 60, "-sampler_burnin", 40, ranks=2, cwd=self.place)
        self.assertIn(done.code, (0, 4), done.err)
        r = read(self.place / "sample.h5", "sample")
        self.assertEqual(r["order_parameter"].shape, (2, 2))
        for name in ("train_error", "test_error", "test_bias", "test_variance"):
            self.assertEqual(r[name].shape, (2,))
            self.assertLess(np.abs(r[name + "_z_score"]).max(), 5.0, name)
        self.assertEqual(run("verify", self.place / "sample.h5").code, 0)

    def sample_two_outputs(self, *words):
        x = np.random.default_rng(2).normal(size=(40, 6))
        data = harness.write_arrays(self.place / "o.h5", x=x, y=x[:, :2] + 0.3 * x[:, 2:4]**2)
        done = run("sample", "-data_source", "hdf5", "-data_path", data, "-data_train", 20, "-data_test", 10,
                   "-temperature", 0.1, "-sampler_chains", 4, "-overwrite", *words, cwd=self.place)
        self.assertIn(done.code, (0, 4), done.err)
        return done, read(self.place / "sample.h5", "sample")

    def test_readout_of_a_deep_network_with_two_outputs(self):
        """It has the square root of the order parameter of two layers; the diagonal has a correction of order 1/N."""
        r = self.sample_two_outputs("-network_width", "40,40", "-network_activation", "linear",
                                    "-sampler_samples", 150)[1]
        p = read(self.place / "sample.h5")
        np.testing.assert_allclose(p["readout_order_parameter"] @ p["readout_order_parameter"], p["order_parameter"])
        self.assertLess(abs(r["order_parameter_z_score"][0, 1]), 4.0)
        both = (r["order_parameter"] - p["order_parameter"]) / r["order_parameter_error_bar"]
        self.assertGreater(abs(both[0, 1]), 8.0)

    def test_error_bar_of_a_drawn_average_is_in_its_z_score(self):
        r = self.sample_two_outputs("-network_width", 20, "-theory_average", "-theory_draws", 200, "-sampler_samples",
                                    20)[1]
        p = read(self.place / "sample.h5")
        for name in ("train_error", "test_error", "test_bias", "test_variance", "order_parameter"):
            self.assertGreater(np.min(p[f"average_{name}_error_bar"]), 0.0)
            bar = np.hypot(r[name + "_error_bar"], p[f"average_{name}_error_bar"])
            np.testing.assert_allclose(r[name + "_average_z_score"], (r[name] - p["average_" + name]) / bar)

    def sample_images(self, *words):
        x = np.random.default_rng(2).normal(size=(40, 1, 2, 4))
        data = harness.write_arrays(self.place / "i.h5", x=x, y=np.stack([x[:, 0, 0, 0], 3 * x[:, 0, 1, 1] ** 2], 1))
        done = run("sample", "-data_source", "hdf5", "-data_path", data, "-data_train", 20, "-data_test", 10,
                   "-data_normalise", "none", "-network_type", "cnn", "-network_mask", 2, "-network_activation", "linear",
                   "-network_width", 6, "-temperature", 0.1, "-theory_average", "-sampler_samples", 10,
                   "-sampler_burnin", 10, "-overwrite", *words, cwd=self.place)
        self.assertEqual(done.code, 4, done.err)  # so few samples
        return done, read(self.place / "sample.h5", "sample"), read(self.place / "sample.h5")

    def test_each_output_of_a_network_of_patches_has_the_error_bar_of_its_own_average(self):
        _, r, p = self.sample_images("-theory_draws", 40)
        self.assertEqual(p["average_converged"], 1)
        for name in ("train_error", "test_error", "test_bias", "test_variance"):
            bar = p[f"average_{name}_error_bar"]
            self.assertEqual(bar.shape, (2,))
            self.assertGreater(abs(bar[1] / bar[0] - 1), 0.05)
            np.testing.assert_allclose(r[name + "_average_z_score"],
                                       (r[name] - p["average_" + name]) / np.hypot(r[name + "_error_bar"], bar))

    def test_average_that_has_not_converged_is_compared_with_nothing(self):
        done, r, p = self.sample_images("-theory_draws", 4)
        self.assertEqual(p["average_converged"], 0)
        self.assertIn("the average has not converged at 1 of 1 points", done.err)
        self.assertFalse([name for name in r if name.endswith("average_z_score")])
        self.assertIn("test_error_z_score", r)

    def test_keys_without_a_use_are_named(self):
        done = self.sample("-theory_draws", 9, "-network_mask", 7, "-theory_closure", "stacked", "-dry_run")
        self.assertEqual(done.code, 0, done.err)
        for key in ("theory_draws", "network_mask", "theory_closure"):
            self.assertIn(f"{key} has no meaning here", done.err)

    def test_observables_of_two_outputs_are_sampled_beside_a_prediction_without_them(self):
        done, r = self.sample_two_outputs("-network_width", 6, "-theory_observables", "-sampler_samples", 10)
        self.assertRegex(done.err, "warning: theory_observables: sampled without a prediction")
        self.assertNotIn("no prediction:", done.err)
        self.assertIn("test_error_z_score", r)
        self.assertIn("hidden_trace_after", r)

    def test_networks_that_the_theory_does_not_cover_are_sampled(self):
        for words, reason in ((["-network_width", "5,6"], "widths"),
                              (["-network_width", "6,6", "-theory_composition", "nested"], "theory_composition")):
            done, r = self.sample_two_outputs(*words, "-sampler_samples", 10)
            self.assertRegex(done.err, "warning: no prediction: .*" + reason)
            self.assertTrue((r["test_error"] > 0.0).all())
            with h5py.File(self.place / "sample.h5") as file:
                self.assertNotIn("predict/test_error", file)
                self.assertNotIn("sample/test_error_z_score", file)
        done = run("sample", "-data_source", "hdf5", "-data_path", self.place / "o.h5", "-data_train", 20, "-data_test",
                   10, "-temperature", 0.1, *words, "-dry_run", cwd=self.place)
        self.assertEqual(done.code, 0, done.err)
        self.assertRegex(done.err, "warning: no prediction: .*" + reason)
        self.assertIn("sampling", done.out)

    def test_every_method_finds_the_same(self):
        exact = REFERENCE["mc"]["rows"][1]
        for words in (["-sampler_collapsed", "false"], ["-sampler_method", "mala", "-sampler_collapsed", "true"]):
            done = self.sample(*words, "-sampler_samples", 400, "-overwrite", ranks=2)
            self.assertIn(done.code, (0, 4), done.err)
            self.check(exact, read(self.place / "sample.h5", "sample"))

    def test_bad_input_is_refused_before_anything_is_computed(self):
        for words, message in ((["-temperature", 0], "temperature"), (["-sampler_chains", 1], "sampler_chains"),
                               (["-sampler_burnin", 0], "sampler_step"), (["-sampler_step", -1], "sampler_step"),
                               (["-sampler_samples", 7], "sampler_samples"),
                               (["-sampler_method", "gibbs"], "langevin"),
                               (["-theory_decomposition", "k.h5", "-scan_temperature", "1,2"], "keeps one kernel")):
            done = self.sample(*words)
            self.assertEqual(done.code, 2, done.err)
            self.assertIn(message, done.errors[0])
            self.assertFalse((self.place / "sample.h5").exists())

    def test_what_does_not_fit_is_refused_with_what_would(self):
        for words in (["-memory", "58M"], ["-memory", "100M", "-network_width", 200000]):
            done = self.sample(*words)
            self.assertEqual(done.code, 5, done.err)
            self.assertRegex(done.errors[0], "data_train|sampler_chains")
            self.assertFalse((self.place / "sample.h5").exists())
        self.assertIn("sampling", self.sample("-dry_run").out)


if __name__ == "__main__":
    harness.main()
