# SPDX-License-Identifier: GPL-3.0-or-later
"""finwidth mixture -mixture_posterior: the reference through the program, ranks, scans, pictures, bad input."""
import signal
import sys
import unittest
from math import cos, sin, sqrt
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness
from harness import read, reference, run

GROUP = "mixture/posterior"
QUICK = ["-mixture_posterior", "-mixture_method", "bartlett", "-mixture_samples", 1000]


def data_of_reference(path, outputs):
    """Four examples and one to test, as the note on the reference has them."""
    def line(x, y):
        return ",".join(repr(v) for v in x + y)
    rows = [line([sqrt(2) * cos(i * mu + i * i / 2) for i in range(1, 7)], [sin(mu + 1.5 * d) for d in range(outputs)])
            for mu in range(1, 5)]
    rows.append(line([sqrt(2) * cos(0.7 * i) for i in range(1, 7)], [0.0] * outputs))
    path.write_text("\n".join(rows) + "\n")


class Posterior(unittest.TestCase):
    def setUp(self):
        self.place = harness.folder().resolve()

    def mixture(self, *words, ranks=1):
        return run("mixture", *QUICK, *words, "-overwrite", ranks=ranks, cwd=self.place)

    def result(self, name="mixture.h5"):
        return read(self.place / name, GROUP)

    def on_reference(self, row, outputs, ranks=1):
        """The result of a row, and the prefix of its names."""
        data_of_reference(self.place / "data.csv", outputs)
        words = ["-data_source", "csv", "-data_path", "data.csv", "-data_train", 4, "-data_test", 1, "-data_normalise",
                 "none", "-network_outputs", outputs, "-temperature", row["T"]]
        widths = row.get("widths")
        if isinstance(widths, dict):
            words += ["-network_width", widths["N"], "-network_depth", widths["L"]]
        elif widths:
            words += ["-network_width", ",".join(map(str, widths)), "-network_depth", len(widths)]
        else:
            words += ["-network_width", 10, "-network_depth", 2, "-mixture_a", row["a"]]
        done = self.mixture(*words, ranks=ranks)
        self.assertEqual(done.code, 0, done.err)
        return self.result(), "" if widths else "limit_"

    def test_one_output_of_the_reference_through_the_program(self):
        rows = reference("mixture")["posterior_d1"]
        self.assertEqual(len(rows), 29)
        for row in rows[::6] + [rows[-1]]:  # all of them: tests/unit/test_mixture_posterior.c
            r, prefix = self.on_reference(row, 1)
            for key, name in [("log_evidence", "log_evidence"), ("E_q", "mean_q"), ("E_log_q", "mean_log_q"),
                              ("pred_mean", "predictive_mean"), ("pred_var", "predictive_covariance"),
                              ("pred_var_within", "predictive_variance_within")]:
                if key in row:
                    np.testing.assert_allclose(np.ravel(r[prefix + name])[0], row[key], rtol=1e-8, err_msg=f"{row} {name}")
            self.assertEqual(r[prefix + "method"], 0 if row.get("a") == 0 else 1)

    def test_two_outputs_of_the_reference_through_the_program(self):
        for ranks, row in zip((1, 2, 4), reference("mixture")["posterior_d2"]):
            r, prefix = self.on_reference(row, 2, ranks)
            np.testing.assert_allclose(r[prefix + "log_evidence"], row["log_evidence"], rtol=1e-8)
            np.testing.assert_allclose(r[prefix + "predictive_mean"][0], row["pred_mean"], rtol=1e-8)
            np.testing.assert_allclose(r[prefix + "predictive_covariance"][0], row["pred_cov"], rtol=1e-7)
            np.testing.assert_allclose(r[prefix + "mean_q"], row["E_Q"], rtol=1e-7)

    def test_three_outputs_are_sampled_with_an_honest_error(self):
        row = next(r for r in reference("mixture")["monte_carlo"] if "posterior" in r["what"])
        r, _ = self.on_reference({"widths": {"N": 10, "L": 5}, "T": 0.1}, 3, ranks=2)
        self.assertEqual(r["method"], 3)  # 1000 draws are too few for importance sampling
        error = np.hypot(r["log_evidence_error_bar"], row["log_evidence_se"])
        self.assertLess(abs(r["log_evidence"] - row["log_evidence"]), 4 * error)
        self.assertLess(error, 0.2)
        np.testing.assert_allclose(r["predictive_mean"][0], row["pred_mean"], atol=0.06)

    def test_a_stopped_point_resumes_to_the_same_bits_on_other_ranks(self):
        data_of_reference(self.place / "data.csv", 3)
        words = ["-data_source", "csv", "-data_path", "data.csv", "-data_train", 4, "-data_test", 1, "-data_normalise",
                 "none", "-network_outputs", 3, "-network_width", 10, "-network_depth", 5, "-temperature", 1e-3,
                 "-mixture_samples", 20000]
        self.assertEqual(self.mixture(*words, "-output", "whole.h5").code, 0)
        whole = self.result("whole.h5")
        code, err = harness.interrupt("mixture.h5.chk.0.network", signal.SIGTERM, "mixture", *QUICK, *words, cwd=self.place)
        self.assertEqual(code, 6, err)
        self.assertTrue((self.place / "mixture.h5.chk.0").exists())  # the draws of the prior are kept
        done = run("mixture", *QUICK, *words, "-resume", cwd=self.place)
        self.assertEqual(done.code, 0, done.err)
        self.assertEqual(set(whole), set(self.result()))
        for name, value in whole.items():
            np.testing.assert_array_equal(value, self.result()[name], err_msg=name)
        self.assertEqual(list(self.place.glob("mixture.h5.chk*")), [])

    def test_saddle_point_stands_beside_and_is_that_of_predict(self):
        words = ["-data_source", "teacher", "-teacher_inputs", 20, "-data_train", 15, "-data_test", 10, "-network_width", 12,
                 "-network_depth", 3, "-temperature", 0.05, "-network_prior", "1,2,1,0.5"]
        self.assertEqual(self.mixture(*words).code, 0)
        exact = self.result()
        done = run("predict", *words, "-network_activation", "linear", "-overwrite", cwd=self.place)
        self.assertEqual(done.code, 0, done.err)
        p = read(self.place / "predict.h5", "predict")
        np.testing.assert_allclose(exact["saddle_q"], p["total_order_parameter"], rtol=1e-8)
        np.testing.assert_allclose(exact["saddle_test_error"], p["test_error"], rtol=1e-8)
        np.testing.assert_allclose(exact["saddle_difference"], exact["saddle_q"] - exact["mean_q"], rtol=1e-12)
        np.testing.assert_allclose(exact["mean_q"], p["average_order_parameter"], rtol=1e-7)  # two ways to one integral
        np.testing.assert_allclose(exact["log_evidence"], p["log_evidence_average"], rtol=1e-7)
        np.testing.assert_allclose(exact["test_bias"], p["average_test_bias"], rtol=1e-7)
        np.testing.assert_allclose(exact["infinite_test_error"], p["infinite_test_error"], rtol=1e-8)

    def test_scan_over_depth_is_its_points_and_has_a_picture(self):
        words = ["-data_source", "teacher", "-teacher_inputs", 20, "-data_train", 15, "-data_test", 10, "-network_width", 12,
                 "-temperature", 0.05]
        done = self.mixture(*words, "-scan_network_depth", "1:4:4", "-output", "scan.h5", "-figure", "overview",
                            ranks=2)
        self.assertEqual(done.code, 0, done.err)
        scan = self.result("scan.h5")
        self.assertTrue((self.place / "scan.png").exists())
        self.assertEqual(self.mixture(*words, "-network_depth", 3).code, 0)
        one = self.result()
        for name in ("log_evidence", "limit_log_evidence", "mean_q", "saddle_q", "test_error"):
            np.testing.assert_allclose(scan[name][2], one[name], rtol=1e-9, err_msg=name)
        for figure in ("posterior", "band"):
            done = run("plot", "mixture.h5", "-figure", figure, "-output", f"{figure}.png", cwd=self.place)
            self.assertEqual(done.code, 0, done.err)

    def test_singular_kernel_at_temperature_zero_keeps_the_samples(self):
        done = self.mixture("-data_source", "glyphs", "-data_train", 300, "-data_test", 5, "-temperature", 0, "-mixture_samples", 1000)
        self.assertEqual((done.code, len(done.errors)), (4, 1), done.err)
        self.assertEqual(done.err.count("singular"), 1, done.err)
        self.assertEqual(harness.attribute(self.place / "mixture.h5", "status"), "failed")
        self.assertEqual(read(self.place / "mixture.h5", "mixture")["converged"], 0)

    def test_a_law_without_a_posterior_leaves_the_others(self):
        data_of_reference(self.place / "data.csv", 3)
        done = self.mixture("-data_source", "csv", "-data_path", "data.csv", "-data_train", 4, "-data_test", 1, "-data_normalise",
                            "none", "-network_outputs", 3, "-network_width", 2, "-network_depth", 2, "-temperature", 0.01,
                            "-mixture_a", 0)
        self.assertEqual((done.code, len(done.errors)), (4, 1), done.err)
        self.assertIn("no posterior of 'network': the effective sample size", done.err)
        self.assertRegex(done.out, r"network +failed\n")
        r = self.result()
        self.assertEqual([r[name + "converged"] for name in ("", "limit_", "infinite_", "saddle_")], [0, 1, 1, 1])
        self.assertNotIn("log_evidence", r)
        self.assertTrue(np.isfinite([r["limit_log_evidence"], r["infinite_test_error"], r["test_target"][0, 0]]).all())
        self.assertTrue(np.isfinite(r["saddle_q"]).all() and np.isnan(r["saddle_difference"]).all())

    def test_depth_chosen_for_one_point_is_not_that_of_another(self):
        words = ["-data_source", "glyphs", "-data_train", 20, "-data_test", 5, "-network_width", 10, "-temperature", 0, "-mixture_samples", 1000]
        self.assertEqual(self.mixture(*words, "-mixture_a", "infinity").code, 0)
        alone = self.result()["log_evidence"]
        done = self.mixture(*words, "-scan_mixture_a", "1,infinity")
        self.assertEqual(done.code, 0, done.err)
        self.assertEqual(self.result()["log_evidence"][1], alone)

    def test_dry_run_counts_the_kernel_and_the_predictions(self):
        for more in (["-data_train", 100000, "-data_test", 5], ["-data_train", 20, "-data_test", 1000000]):
            done = self.mixture("-data_source", "glyphs", *more, "-data_encoding", "onehot", "-memory", "4G", "-dry_run")
            self.assertEqual((done.code, len(done.errors)), (5, 1), (more, done.err))

    def test_bad_input_is_one_line(self):
        data = ["-data_source", "glyphs", "-data_train", 300, "-data_test", 5]
        for words, code, text in [
            ([], 2, "data_source"),
            (data + ["-network_bias", 0.1], 2, "network_bias"),
            (data + ["-mixture_a", "infinity"], 2, "mixture_a"),
            (data + ["-data_encoding", "onehot", "-network_outputs", 2, "-network_width", 1, "-temperature", 0, "-data_train", 20],
             2, "network_width"),
        ]:
            done = self.mixture(*words)
            self.assertEqual(done.code, code, (words, done.err))
            self.assertEqual(len(done.errors), 1, done.err)
            self.assertIn(text, done.errors[0])


if __name__ == "__main__":
    harness.main()
