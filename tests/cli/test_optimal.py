# SPDX-License-Identifier: GPL-3.0-or-later
"""finwidth optimal: reference rows, scans that share a curve, what is proved, warnings, bad input."""
import sys
import unittest
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness
from harness import read, reference, run

CHANNELS = {"gaussian": "gaussian", "sign_probit": "probit", "logistic": "logistic", "abs": "abs", "readout_erf2": "erf"}
SAME = {"q": "overlap", "q_amp": "overlap_amp", "mmse_weights": "mmse_weights", "mmse_z": "mmse", "eg": "error",
        "eg_clean": "error_clean", "i_nn": "information_network", "i_lin": "information_linear", "mmse_train": "mmse_train",
        "lambda_ridge": "ridge_penalty", "free_entropy_per_sample": "free_entropy", "eta": "eta", "gamma": "gamma",
        "R": "variance", "bias_var": "bias_variance", "all_roots": "all_overlaps", "alpha_weak_recovery": "weak_recovery"}


def words_of(row):
    """The command line of a reference row."""
    phi = row["activation"] if isinstance(row["activation"], list) else [row["activation"]]
    words = ["-network_depth", row["L"], "-network_activation", ",".join("tanh" if a == "tanh2x" else a for a in phi),
             "-optimal_alpha", repr(row["alpha"]), "-optimal_channel", CHANNELS[row["channel"]["kind"]],
             "-optimal_gain", 2 if "tanh2x" in phi else 1, "-optimal_channel_gain", 2]
    for key, name in (("Delta", "optimal_noise"), ("beta", "optimal_beta")):
        if key in row["channel"]:
            words += [f"-{name}", repr(row["channel"][key])]
    return words


class Optimal(unittest.TestCase):
    def setUp(self):
        self.place = harness.folder().resolve()

    def optimal(self, *words, ranks=1, **more):
        return run("optimal", *words, ranks=ranks, cwd=self.place, **more)

    def result(self, name="optimal.h5"):
        return read(self.place / name, "optimal")

    def test_keys_that_the_channel_does_not_read_are_named(self):
        done = run("optimal", "-optimal_channel", "logistic", "-optimal_noise", 0.5, cwd=self.place)
        self.assertEqual(done.code, 0, done.err)
        self.assertIn("optimal_noise has no meaning here: it is for channels other than 'logistic'", done.err)

    def test_errors_of_a_scan_over_kinds_of_channels_have_the_units_of_both(self):
        for channels, units in (("gaussian,probit", "label^2, or 1 of probit and logistic"), ("gaussian,abs", "label^2")):
            done = self.optimal("-scan_optimal_channel", channels, "-scan_index", 0, "-overwrite", "-figure", "none")
            self.assertEqual(done.code, 0, done.err)
            with h5py.File(self.place / "optimal.h5") as file:
                self.assertEqual([file[f"optimal/{n}"].attrs["units"] for n in ("error", "error_floor", "overlap")], [units, units, "1"])

    def test_experiments_that_do_not_fit_are_refused_before_anything_is_computed(self):
        done = run("optimal", "-optimal_experiment", "ridge", "-optimal_dimension", 300000, "-optimal_alpha", 2, "-dry_run",
                   cwd=self.place)
        self.assertEqual(done.code, 5, done.err)

    def test_reference_rows(self):
        for row in reference("optimal")["rows"]:
            done = self.optimal(*words_of(row), "-overwrite")
            self.assertEqual(done.code, 0, done.err)
            r = self.result()
            for key, name in SAME.items():
                if key in row:
                    np.testing.assert_allclose(r[name], row[key], rtol=1e-10, atol=0 if key != "all_roots" else 1e-300,
                                               err_msg=f"row {row['id']} {key}")
            for key, name in (("sigma", "sigma"), ("rho", "rho"), ("eps", "epsilon")):
                if row["layers"][key]:
                    np.testing.assert_allclose(r[name], row["layers"][key], rtol=1e-10, err_msg=f"row {row['id']} {key}")

    def test_probabilities_have_no_units(self):
        for channel, units in (("probit", "1"), ("gaussian", "label^2")):
            self.assertEqual(self.optimal("-optimal_channel", channel, "-overwrite").code, 0)
            with h5py.File(self.place / "optimal.h5") as file:
                for name in ("error", "error_clean", "error_amp", "error_floor"):
                    self.assertEqual(file[f"optimal/{name}"].attrs["units"], units, name)

    def test_a_scan_is_its_points_on_any_number_of_ranks(self):
        words = ["-network_activation", "tanh", "-optimal_channel", "logistic", "-optimal_beta", 3]
        scan = ["-scan_optimal_alpha", "0.2:8:12:log", "-scan_network_depth", "0,1,3"]
        for ranks in (1, 2, 4):
            self.assertEqual(self.optimal(*words, *scan, "-output", f"{ranks}.h5", ranks=ranks).code, 0)
        one = self.result("1.h5")
        for other in ("2.h5", "4.h5"):
            for name, value in self.result(other).items():
                same = np.asarray(value, dtype="S") if value.dtype == object else value # the texts, not pointers to them
                self.assertEqual(same.tobytes(), one[name].astype(same.dtype).tobytes(), name)
        self.assertEqual(self.optimal(*words, "-network_depth", 3, "-optimal_alpha", repr(float(one["optimal_alpha"][7]))).code, 0)
        for name in ("overlap", "error", "information_network", "information_linear"):
            np.testing.assert_allclose(one[name][2, 7], self.result()[name], rtol=1e-12)
        with h5py.File(self.place / "1.h5") as file:
            self.assertEqual([list(axis.keys())[0] for axis in file["optimal/error"].dims], ["network_depth", "optimal_alpha"])
            self.assertTrue(np.isnan(file["optimal/rho"][0]).all())  # a linear model has no layers

    def test_thousands_of_alpha(self):
        done = self.optimal("-network_activation", "hardtanh", "-optimal_channel", "erf", "-scan_optimal_alpha", "0.01:30:3000:log")
        self.assertEqual(done.code, 0, done.err)
        r = self.result()
        self.assertTrue((np.diff(r["error"]) < 0).all() and (np.diff(r["overlap"]) > 0).all())
        self.assertTrue((r["error"] > r["error_floor"]).all())
        self.assertIn("of 3000 points", done.out)

    def test_what_is_proved(self):
        for words, proved in [(["-network_activation", "erf,tanh,sin"], 1), (["-network_activation", "relu"], 0),
                              (["-network_activation", "hardtanh"], 0), (["-optimal_noise", 0], 0),
                              (["-optimal_channel", "probit"], 0), (["-optimal_channel", "tanh"], 1),
                              (["-network_depth", 0, "-optimal_channel", "probit"], 1), (["-optimal_channel", "abs"], 0)]:
            done = self.optimal(*words, "-overwrite")
            self.assertEqual(done.code, 0, done.err)
            self.assertEqual(self.result()["status_of_proof"], proved, words)
            self.assertEqual(self.result()["status"][proved].decode(), ["conjectured", "proved"][proved])
            self.assertRegex(done.out, r"status  proved" if proved else r"status  conjectured")
        self.assertEqual(len(self.result()["sigma"]), 2)

    def test_depth_is_that_of_a_list_of_activations_and_priors_are_gains(self):
        self.assertEqual(self.optimal("-network_activation", "tanh,erf", "-optimal_gain", "2,1", "-output", "a.h5").code, 0)
        self.assertEqual(self.optimal("-network_activation", "tanh,erf", "-network_prior", "0.25,1,1", "-output", "b.h5").code, 0)
        a, b = self.result("a.h5"), self.result("b.h5")
        self.assertEqual(len(a["rho"]), 2)
        np.testing.assert_allclose([a["error"], a["eta"]], [b["error"], b["eta"]], rtol=1e-14)

    def test_warnings(self):
        done = self.optimal("-optimal_noise", 0)
        self.assertIn("infinite information", done.err)
        self.assertEqual(self.result()["information_network"], np.inf)
        done = self.optimal("-network_depth", 0, "-optimal_channel", "abs", "-optimal_noise", 1e-5, "-optimal_alpha", 1.08, "-overwrite")
        self.assertEqual(done.code, 0)
        self.assertIn("several maxima", done.err)
        self.assertEqual(self.result()["all_stable"].tolist(), [0, 1, 0, 1])
        done = self.optimal("-optimal_dimension", 50, "-network_width", 20, "-optimal_alpha", 2, "-overwrite")
        self.assertIn("d_min^{3/2}", done.err)
        self.assertNotIn("d_min", self.optimal("-optimal_dimension", 50, "-optimal_alpha", 2, "-overwrite").err)

    def test_figures(self):
        self.assertEqual(self.optimal("-scan_optimal_alpha", "0.1:10:9:log", "-scan_network_depth", "1,2,3", "-figure", "overview").code, 0)
        self.assertTrue((self.place / "optimal.png").exists())
        for name in ("errors", "information", "learnable", "map"):
            done = run("plot", "optimal.h5", "-output", f"{name}.svg", "-figure", name, cwd=self.place)
            self.assertEqual(done.code, 0, done.err)
        done = run("plot", "optimal.h5", "-output", "no.svg", "-figure", "potential", cwd=self.place)
        self.assertEqual(done.code, 2)
        self.assertIn("overview, errors, information, learnable, map", done.err)
        self.assertEqual(self.optimal("-overwrite").code, 0)
        for name in ("potential", "curve"):
            self.assertEqual(run("plot", "optimal.h5", "-output", f"{name}.svg", "-figure", name, cwd=self.place).code, 0)

    def test_bad_input(self):
        for words, text in [(["-optimal_alpha", 0], "optimal_alpha"), (["-optimal_alpha", "nan"], "optimal_alpha"),
                            (["-optimal_noise", -0.1], "optimal_noise"), (["-network_activation", "swish"], "swish"),
                            (["-optimal_channel", "cauchy"], "cauchy"), (["-optimal_gain", 0], "optimal_gain"),
                            (["-optimal_gain", "1,2,3"], "3 entries"), (["-optimal_beta", -1, "-optimal_channel", "logistic"], "optimal_beta"),
                            (["-network_activation", "relu", "-optimal_channel", "probit"], "not odd"),
                            (["-temperature", 0.1], "optimal_noise"), (["-network_bias", 0.1], "network_bias"),
                            (["-network_type", "cnn"], "network_type"), (["-network_outputs", 3], "network_outputs"),
                            (["-optimal_channel", "tanh", "-optimal_noise", 1e-12], "1e-09"),
                            (["-scan_optimal_alpha", "-1:2:3"], "optimal_alpha"), (["-optimal_alfa", 1], "optimal_alpha")]:
            for ranks in (1, 2) if "relu" in words or 0 in words else (1,):
                done = self.optimal(*words, ranks=ranks)
                self.assertEqual(done.code, 2, f"{words} {done.err}")
                self.assertEqual(len(done.errors), 1, done.err)
                self.assertIn(text, done.errors[0])
        self.assertEqual(list(self.place.iterdir()), [])

    def test_nothing_to_learn_is_said(self):
        done = self.optimal("-network_activation", "quadratic", "-figure", "overview")
        self.assertEqual(done.code, 0, done.err)
        self.assertEqual(self.result()["overlap"], 0.0)
        self.assertIn("nothing of this network can be learnt", done.err)


if __name__ == "__main__":
    harness.main()
