# SPDX-License-Identifier: GPL-3.0-or-later
"""`finwidth sample` of several layers on patches: linear networks against the exact average, others beside their theory."""
import os
import sys
import unittest
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness
from harness import read, run

LONG = bool(os.environ.get("FINWIDTH_LONG"))
VALUES = ("train_error", "test_error", "test_bias", "test_variance")


def signals(place, signs, n_test=100):
    """Signals of four patches of four pixels: labels 3/4 sum_i +-erf(w.x_i / 2), 30 of them to train on."""
    from math import erf
    random = np.random.RandomState(5)
    w, x = random.normal(size=4), random.normal(size=(30 + n_test, 16))
    y = 0.75 * np.vectorize(erf)(x.reshape(-1, 4, 4) @ w / 2.0) @ np.array(signs)
    return harness.write_arrays(place / "signals.h5", x=x[:, None, :], y=y)


class Deep(unittest.TestCase):
    def setUp(self):
        self.place = harness.folder().resolve()

    def sample(self, *words, signs=(1, 1, 1, 1), code=(0,), ranks=2):
        data = signals(self.place, signs)
        done = run("sample", "-data_source", "hdf5", "-data_path", data, "-data_train", 30, "-data_test", 100,
                   "-data_normalise", "none", "-network_type", "cnn", "-network_mask", 4, "-network_depth", 2,
                   "-network_upper_mask", 2, "-temperature", 0.1, "-output", "deep.h5", "-overwrite", *words,
                   ranks=ranks, cwd=self.place)
        self.assertIn(done.code, code, done.err)
        if done.code in (0, 4):
            self.s, self.p = read(self.place / "deep.h5", "sample"), {}
            with h5py.File(self.place / "deep.h5") as file:
                if "predict/test_error" in file:
                    self.p = read(self.place / "deep.h5")
        return done

    def test_linear_networks_have_the_exact_average(self):
        """Far from the saddle point: as few channels as paths."""
        self.sample("-network_activation", "linear", "-network_width", "6,4", "-network_prior", "1.1,0.9,1.2",
                    "-theory_average", "true", "-theory_draws", 1000 if LONG else 300, "-sampler_samples",
                    4000 if LONG else 700)
        for name in VALUES:
            self.assertLess(abs(self.s[name + "_average_z_score"]), 4.5, name)
        z = self.s["order_parameter_average_z_score"]
        self.assertLess(abs(z).max(), 4.5, z)
        self.assertGreater(abs(self.s["order_parameter_z_score"]).max(), 6.0)

    def check_exact(self, kind, *words):
        """Errors, and the Gram matrix where it is measured, of a linear network against its average."""
        self.sample("-network_activation", "linear", "-network_type", kind, "-network_width", "6,4", "-network_prior",
                    "1.1,0.9,1.2", "-theory_average", "true", "-theory_draws", 1000 if LONG else 200, "-sampler_samples",
                    4000 if LONG else 500, *words, signs=(1, -1, 1, -1), code=(0, 4))
        for name in VALUES:
            self.assertLess(np.abs(self.s[name + "_average_z_score"]).max(), 4.5, (kind, name))

    def test_linear_lcn_and_pool_have_the_exact_average(self):
        """Of lcn the readout's diagonal alone is measured, and beside it stands that of the readout."""
        self.check_exact("lcn")
        self.assertEqual(self.p["order_parameter"].shape, (4,))
        sampled, bar = self.s["order_parameter"].reshape(2, 2), self.s["order_parameter_error_bar"].reshape(2, 2)
        z = np.diag(sampled - np.diag(self.p["readout_order_parameter"])) / np.diag(bar)
        np.testing.assert_allclose(np.diag(self.s["order_parameter_z_score"].reshape(2, 2)), z, rtol=1e-6)
        self.assertNotIn("order_parameter_average_z_score", self.s)
        self.check_exact("pool")
        self.assertLess(abs(self.s["order_parameter_average_z_score"]).max(), 4.5)
        self.assertGreater(abs(self.s["order_parameter_z_score"]).max(), 6.0)

    @unittest.skipUnless(LONG, "a minute")
    def test_linear_networks_of_two_outputs_have_the_exact_average(self):
        """As many channels as outputs times paths: with fewer the chains of the average are slow."""
        signals(self.place, (1, -1, 1, -1))
        with h5py.File(self.place / "signals.h5") as file:
            x, y = file["x"][()], file["y"][()]
        data = harness.write_arrays(self.place / "two.h5", x=x, y=np.stack([y, np.sin(x[:, 0, 0]) - 0.5 * y], axis=1))
        self.check_exact("cnn", "-data_path", data, "-network_width", "10,8")
        z = self.s["order_parameter_average_z_score"]
        self.assertEqual(z.size, 64)
        self.assertLess(np.abs(z).max(), 4.5)
        self.assertLess(np.mean(z ** 2), 2.0)

    def test_order_parameters_of_every_layer_stand_beside_their_prediction(self):
        """Three layers: two taps of two taps of a position, one less each layer."""
        self.sample("-network_depth", 3, "-network_upper_stride", "1,2", "-network_width", "40,40,40", "-sampler_samples",
                    100, code=(0, 4), signs=(1, -1, 1, -1))
        for name, n in (("order_parameter", 4), ("order_parameter_2", 2), ("order_parameter_3", 1)):
            shape = np.shape(self.p[name])
            self.assertEqual(shape, (n, n))
            z = self.s[name + "_z_score"].reshape(n, n)
            np.testing.assert_allclose((self.s[name].reshape(n, n) - self.p[name]) /
                                       self.s[name + "_error_bar"].reshape(n, n), z)

    def test_positions_have_the_mean_over_taps(self):
        self.sample("-network_width", 15, "-sampler_samples", 64, "-theory_observables", "true", code=(0, 4))  # equal blocks
        self.assertGreater(self.p["kernel_alignment"], self.p["alignment_before"])
        self.assertGreater(self.s["alignment_after"], self.p["alignment_before"])
        for r in (self.s, self.p):
            q = r["order_parameter"].reshape(2, 2, 2, 2)  # [tap, position, other tap, other position]
            np.testing.assert_allclose(r["position_order_parameter"], np.einsum("tutv->uv", q) / 2, rtol=1e-12)
        self.assertAlmostEqual(self.s["order_parameter_diagonal"], np.trace(self.s["order_parameter"]) / 4, delta=1e-12)

    def test_erf_networks_have_the_predicted_gram_matrix_between_paths(self):
        """The theory's signs, and its size to a half: a closure, whose error is not that of sampling."""
        self.sample("-network_width", 15, "-sampler_samples", 400, signs=(1, -1, 1, -1), code=(0, 4))
        q, theory, bar = (self.s["order_parameter"], self.p["order_parameter"], self.s["order_parameter_error_bar"])
        np.testing.assert_allclose(q, q.T, atol=1e-12)
        off = ~np.eye(4, dtype=bool)
        self.assertTrue((np.sign(q) == np.sign(theory))[off & (abs(q) > 4 * bar)].all())
        self.assertGreater((off & (abs(q) > 4 * bar)).sum(), 7)
        self.assertLess(np.linalg.norm(q - theory), np.linalg.norm(theory - np.eye(4)) / 2)
        self.assertLess(abs(self.s["test_error"] / self.p["test_error"] - 1.0), 0.3)

    def test_stacked_closure_is_compared_between_positions(self):
        self.sample("-network_width", 15, "-sampler_samples", 40, "-theory_closure", "stacked", code=(0, 4))
        np.testing.assert_array_equal(self.p["position_order_parameter"], self.p["order_parameter"])
        self.assertNotIn("order_parameter_z_score", self.s)
        self.assertEqual(self.s["position_order_parameter_z_score"].shape, (2, 2))

    def test_of_more_than_256_paths_the_readout_alone_is_measured(self):
        for depth, n in ((5, 192), (6, 11)):  # 2^4 12 paths; 2^5 11 to 11 positions
            self.sample("-network_mask", 1, "-network_depth", depth, "-network_upper_stride", 1, "-network_width", 3,
                        "-theory_closure", "stacked", "-sampler_samples", 8, "-sampler_burnin", 8, code=(0, 4))
            self.assertEqual(self.s["order_parameter"].shape, (n, n))
            self.assertEqual("position_order_parameter_z_score" in self.s, depth == 5)
            self.assertNotIn("order_parameter_z_score", self.s)

    def test_networks_beyond_the_theory_are_sampled_without_it(self):
        done = self.sample("-network_type", "lcn", "-network_width", 8, "-network_upper_stride", 1, "-sampler_samples", 40,
                           code=(0, 4))
        self.assertRegex(done.err, "no prediction: .*do not overlap")
        self.assertEqual(self.p, {})
        self.assertGreater(self.s["test_error"], 0.0)
        self.assertEqual(self.s["order_parameter"].size, 9)

    def test_bad_input_is_refused(self):
        for words, message in ((["-network_bias", 0.1], "network_bias"), (["-network_upper_mask", 5], "network_upper_mask"),
                               (["-network_width", "4,5,6"], "network_width"), (["-network_upper_stride", 0], "upper_stride")):
            self.assertIn(message, self.sample(*words, code=(2,), ranks=1).errors[0])


if __name__ == "__main__":
    harness.main()
