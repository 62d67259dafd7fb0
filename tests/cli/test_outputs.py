# SPDX-License-Identifier: GPL-3.0-or-later
"""Several outputs, and activations with a mean, through the installed program."""
import os
import sys
import unittest
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness

THREE = ["-data_classes", "0,1,2", "-data_train", 90, "-data_test", 40, "-network_width", 60, "-temperature", 0.05]


def predict(place, name, *words, ranks=1):
    done = harness.run("predict", *words, "-output", place / name, ranks=ranks, cwd=place)
    return done, harness.read(place / name) if done.code == 0 else None


class Outputs(unittest.TestCase):
    def setUp(self):
        self.place = harness.folder()

    def test_ranks_agree_and_the_average_has_the_same_draws(self):
        words = THREE + ["-theory_average", "true", "-save_predictions", "true"]
        results = [predict(self.place, f"r{n}.h5", *words, ranks=n)[1] for n in (1, 2, 4)]
        for other in results[1:]:
            for name in ("order_parameter", "test_error", "test_covariance", "log_evidence", "average_test_error",
                         "average_order_parameter", "log_evidence_average", "average_effective_draws", "test_mean"):
                np.testing.assert_allclose(other[name], results[0][name], rtol=1e-8, atol=1e-10, err_msg=name)
        r = results[0]
        # numbers that do not meet by construction: the average lies near the saddle point, off it by more than its error
        self.assertLess(np.max(np.abs(r["average_test_error"] / r["test_error"] - 1.0)), 0.1)
        self.assertGreater(abs(r["log_evidence_average"] - r["log_evidence"]) / r["log_evidence_average_error_bar"], 5.0)
        self.assertGreater(r["average_effective_draws"], 100)

    def test_accuracy_counts_the_largest_mean(self):
        _, r = predict(self.place, "a.h5", *THREE, "-save_predictions", "true")
        right = np.argmax(r["test_mean"], axis=1) == np.argmax(r["test_target"], axis=1)
        self.assertEqual(r["accuracy"], np.mean(right))
        bias = np.mean((r["test_mean"] - r["test_target"]) ** 2, axis=0)
        np.testing.assert_allclose(r["test_bias"], bias, rtol=1e-12)
        drawn = self.draw_prediction("a.h5")
        self.assertIn("true class", drawn)
        self.assertIn(f">{np.sum(right & (r['test_target'][:, 0] == r['test_target'].max()))}<", drawn.replace(" ", ""))

    def draw_prediction(self, name):
        done = harness.run("plot", name, "-figure", "prediction", "-output", "drawn.svg", cwd=self.place)
        self.assertEqual(done.code, 0, done.err)
        return (self.place / "drawn.svg").read_text()

    def test_picture_of_outputs_of_different_scales_has_all_of_them(self):
        x = np.random.default_rng(4).standard_normal((60, 5))
        path = harness.write_arrays(self.place / "d.h5", x=x, y=x[:, :2] * [1.0, 1e4])
        predict(self.place, "a.h5", "-data_source", "hdf5", "-data_path", path, "-data_train", 40, "-data_test", 20,
                "-save_predictions", "true")
        drawn = self.draw_prediction("a.h5")
        for text in ("output 0", "output 1", "in deviations of its output"):
            self.assertIn(text, drawn)

    def test_equal_columns_have_the_scalar_theory_in_their_direction(self):
        """Two copies of one output: along (1, 1) labels sqrt 2 y, and across no labels at all."""
        rng = np.random.default_rng(3)
        x, y = rng.standard_normal((70, 40)), rng.standard_normal(70)
        words = ["-data_source", "hdf5", "-data_normalise", "none", "-data_train", 50, "-data_test", 20, "-network_width",
                 80, "-temperature", 0.1]
        copies = harness.write_arrays(self.place / "two.h5", x=x, y=np.stack([y, y], axis=1))
        alone = harness.write_arrays(self.place / "one.h5", x=x, y=np.sqrt(2.0) * y)
        zero = harness.write_arrays(self.place / "zero.h5", x=x, y=0.0 * y)
        _, two = predict(self.place, "two-r.h5", *words, "-data_path", copies)
        _, one = predict(self.place, "one-r.h5", *words, "-data_path", alone)
        _, none = predict(self.place, "zero-r.h5", *words, "-data_path", zero)
        q = two["order_parameter"]
        self.assertEqual(two["complete"], 1)  # one hidden layer, P < N: proved
        np.testing.assert_allclose(q[0, 0] + q[0, 1], one["total_order_parameter"], rtol=1e-9)
        np.testing.assert_allclose(q[0, 0] - q[0, 1], none["total_order_parameter"], rtol=1e-9)
        np.testing.assert_allclose(two["log_evidence"], one["log_evidence"] + none["log_evidence"], rtol=1e-10)

    def test_scan_shares_a_decomposition_and_equals_its_points(self):
        _, scan = predict(self.place, "s.h5", *THREE, "-scan_temperature", "0.05,0.5", "-scan_network_width", "60,90",
                          ranks=2)
        _, point = predict(self.place, "p.h5", *THREE, "-temperature", 0.5, "-network_width", 90)
        self.assertEqual(scan["test_error"].shape, (2, 2, 3))
        self.assertEqual(scan["order_parameter"].shape, (2, 2, 3, 3))
        np.testing.assert_allclose(scan["order_parameter"][1, 1], point["order_parameter"], rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(scan["test_error"][1, 1], point["test_error"], rtol=1e-8)

    def test_new_inputs_have_a_mean_for_each_output(self):
        new = harness.write_arrays(self.place / "new.h5", x=np.random.default_rng(1).random((5, 256)))
        _, r = predict(self.place, "n.h5", *THREE, "-data_predict", new)
        self.assertEqual(r["new_mean"].shape, (5, 3))
        self.assertTrue(np.all(r["new_std"] > 0.0))

    def test_saved_decomposition_holds_all_outputs(self):
        words = THREE + ["-theory_decomposition", self.place / "k.h5"]
        _, first = predict(self.place, "d1.h5", *words)
        _, second = predict(self.place, "d2.h5", *words, ranks=2)
        np.testing.assert_allclose(second["order_parameter"], first["order_parameter"], rtol=1e-9, atol=1e-11)

    def test_outputs_that_a_readout_bias_takes_over_have_no_solution_at_zero_temperature(self):
        """0/1 labels sum to one: along (1, 1, 1) the bias explains all, and Q runs to zero where P > N."""
        done, _ = predict(self.place, "z.h5", *THREE, "-temperature", 0, "-network_bias", "0,0.5")
        self.assertEqual(done.code, 4, done.err)
        self.assertIn("runs to zero", done.err)

    def test_average_of_few_effective_draws_fails_at_each_point_of_a_scan(self):
        words = ["-data_classes", "0,1,2,3", "-data_train", 40, "-data_test", 10, "-network_depth", 4, "-theory_average",
                 "true", "-temperature", 0.05, "-scan_network_width", "5,200"]
        done = harness.run("predict", *words, "-output", self.place / "few.h5")
        self.assertEqual(done.code, 4, done.err)
        self.assertIn("the average has not converged at 1 of 2 points (as few as", done.err)
        r = harness.read(self.place / "few.h5")
        self.assertEqual(r["average_converged"].tolist(), [0, 1], r["average_effective_draws"])
        self.assertTrue(np.isfinite(r["average_test_error"]).all())

    def test_average_that_does_not_exist_is_said(self):
        done, r = predict(self.place, "w.h5", *THREE, "-network_width", "2,2", "-theory_average", "true")
        self.assertIn("theory_average: no average", done.err)
        self.assertNotIn("average_test_error", r)


class Mean(unittest.TestCase):
    def setUp(self):
        self.place = harness.folder()
        rng = np.random.default_rng(5)
        self.x, self.y = rng.standard_normal((60, 50)), rng.standard_normal(60)

    def run_mean(self, shift, *words, ranks=1):
        data = harness.write_arrays(self.place / f"data{shift}.h5", x=self.x, y=self.y + shift)
        return predict(self.place, "mean.h5", "-overwrite", "-data_source", "hdf5", "-data_path", data,
                       "-data_normalise", "none", "-data_train", 40, "-data_test", 20, "-network_width", 50,
                       "-temperature", 0.1, *words, ranks=ranks)

    def test_auto_decides_by_activation_and_labels_and_says_so(self):
        done, r = self.run_mean(5, "-network_activation", "relu")
        self.assertEqual(r["mean_terms"], 1)
        self.assertIn("terms on: the mean label is", done.out)
        balanced = self.y[:40].mean()
        done, r = self.run_mean(-balanced, "-network_activation", "relu")
        self.assertEqual(r["mean_terms"], 0)
        self.assertIn("terms off: the mean label is", done.out)
        done, r = self.run_mean(5, "-network_activation", "erf")
        self.assertEqual(r["mean_terms"], 0)
        self.assertNotIn("mean    terms", done.out)
        done, r = self.run_mean(5, "-network_activation", "relu", "-network_depth", 2, "-network_width", "50,50")
        self.assertEqual(r["mean_terms"], 0)
        self.assertIn("terms off: preliminary for several hidden layers", done.out)

    def test_ranks_and_forms_agree(self):
        words = ["-network_activation", "relu", "-network_bias", "0.1,0.2", "-save_predictions", "true"]
        _, first = self.run_mean(5, *words, "-theory_bandwidth", 0)
        for n, bandwidth in ((2, 1), (4, 64)):
            _, other = self.run_mean(5, *words, "-theory_bandwidth", bandwidth, ranks=n)
            for name in ("order_parameter", "mean_order_parameter", "test_error", "train_error", "average_test_error",
                         "average_train_error", "log_evidence", "log_evidence_average", "test_mean", "test_std"):
                np.testing.assert_allclose(other[name], first[name], rtol=1e-8, atol=1e-10, err_msg=name)

    def test_posterior_is_that_of_the_written_kernel(self):
        """Prediction from the order parameters of the file, by dense algebra."""
        _, r = self.run_mean(5, "-network_activation", "relu", "-save_predictions", "true")
        q, t = r["total_order_parameter"], 1.0 + r["mean_order_parameter"]
        c = self.x @ self.x.T / 50
        a = np.diag(c)
        scale = np.sqrt(np.outer(a, a))
        theta = np.arccos(np.clip(c / scale, -1.0, 1.0))
        k = scale / (2 * np.pi) * (np.sin(theta) + (np.pi - theta) * np.cos(theta))
        m = np.sqrt(a / (2 * np.pi))
        k = q * (k - np.outer(m, m)) + np.outer(m, m) / t
        inverse = np.linalg.inv(k[:40, :40] + 0.1 * np.eye(40))
        y = self.y[:40] + 5
        np.testing.assert_allclose(r["test_mean"][:, 0], k[40:, :40] @ inverse @ y, rtol=1e-8)
        variance = np.diag(k)[40:] - np.sum(k[40:, :40] @ inverse * k[40:, :40], axis=1)
        np.testing.assert_allclose(r["test_std"][:, 0] ** 2, variance, rtol=1e-7)
        residual = 0.1 * inverse @ y
        train = np.mean(residual**2) + 0.1 / 40 * np.trace(np.eye(40) - 0.1 * inverse)
        np.testing.assert_allclose(r["train_error"], train, rtol=1e-9)

    def test_several_layers_are_at_a_stationary_point_of_the_written_action(self):
        """S(Q_1, Q_2, s_1, s_2) by dense algebra: its value, its slopes, and the prediction."""
        width, prior = [40, 25], [1.1, 0.9, 1.2]
        done, r = self.run_mean(5, "-network_activation", "relu", "-network_width", "40,25", "-network_prior",
                                "1.1,0.9,1.2", "-theory_mean", "on", "-save_predictions", "true", ranks=2)
        self.assertIn("on as asked, preliminary", done.out)
        k = self.x @ self.x.T / 50 / prior[0]
        for layer in (1, 2):
            a = np.diag(k)
            scale = np.sqrt(np.outer(a, a))
            theta = np.arccos(np.clip(k / scale, -1.0, 1.0))
            k = scale / (2 * np.pi) * (np.sin(theta) + (np.pi - theta) * np.cos(theta)) / prior[layer]
            m = np.outer(np.sqrt(a), np.sqrt(a)) / (2 * np.pi) / prior[layer]

        def kernel(q, s):
            return q[0] * q[1] * k - ((q[0] - 1 / (1 + s[0])) * q[1] + q[1] - 1 / (1 + s[1])) * m

        def action(x):
            q, s = x[:2], x[2:]
            a = kernel(q, s)[:40, :40] + 0.1 * np.eye(40)
            y = self.y[:40] + 5
            return (np.dot(width, np.log1p(s) - q * s) + np.linalg.slogdet(a)[1] + y @ np.linalg.solve(a, y)) / 25

        at = np.concatenate([r["order_parameter"], r["mean_order_parameter"]])
        np.testing.assert_allclose(r["action"], action(at), rtol=1e-11)
        for step in 1e-5 * np.eye(4):
            self.assertLess(abs(action(at + step) - action(at - step)) / 2e-5, 1e-7)
        full = kernel(at[:2], at[2:])
        mean = full[40:, :40] @ np.linalg.solve(full[:40, :40] + 0.1 * np.eye(40), self.y[:40] + 5)
        np.testing.assert_allclose(r["test_mean"][:, 0], mean, rtol=1e-8)

    def test_bad_input(self):
        for words, what in ((["-network_activation", "erf"], "no mean"),
                            (["-network_activation", "relu", "-network_width", "50,50", "-theory_composition",
                              "nested"], "theory_composition 'product'"),
                            (["-network_activation", "relu", "-theory_model", "ntk"], "renormalised"),
                            (["-network_activation", "relu", "-network_width", "1"], "2 at least")):
            done, _ = self.run_mean(5, *words, "-theory_mean", "on")
            self.assertEqual(done.code, 2, done.err)
            self.assertIn(what, done.err)


if __name__ == "__main__":
    harness.main()
