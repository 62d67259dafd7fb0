# SPDX-License-Identifier: GPL-3.0-or-later
"""finwidth ansatz: laws of the theory on the installed program, where they end, and that figures show what files hold."""
import itertools
import re
import sys
import unittest
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness
from harness import read, run

SMALL = ["-data_source", "teacher", "-teacher_kind", "low-rank", "-teacher_inputs", 8, "-data_train", 50, "-data_normalise",
         "none", "-network_width", "6,5"]
RECORDER = """#!/bin/sh
cat >script.gp
echo drawn >"$(sed -n "s/^set output '\\(.*\\)'$/\\1/p" script.gp)"
"""


class Laws(unittest.TestCase):
    def setUp(self):
        self.place = harness.folder().resolve()

    def ansatz(self, *words, code=0, **more):
        done = run("ansatz", *words, "-overwrite", cwd=self.place, **more)
        self.assertEqual(done.code, code, (words, done.err))
        return done

    def result(self, name="ansatz.h5"):
        return read(self.place / name, "ansatz")

    def white(self, strengths):
        """All sign vectors as inputs, targets a rotated diagonal matrix: exactly white, of known modes."""
        x = np.array(list(itertools.product((-1.0, 1.0), repeat=len(strengths))))
        rotation = np.linalg.qr(np.arange(9.0).reshape(3, 3) ** 2 + np.eye(3))[0]
        harness.write_arrays(self.place / "white.h5", x=x, y=x @ rotation.T @ np.diag(strengths) @ rotation[::-1])
        return ["-data_source", "hdf5", "-data_path", "white.h5", "-data_train", len(x), "-data_normalise", "none", "-network_width",
                4]

    # --- modes ---

    def test_decay_puts_out_one_mode_after_the_other(self):
        strengths, decays = np.array([2.0, 1.0, 0.5]), [0.1, 0.3, 0.45, 0.8, 1.5, 2.5]
        self.ansatz(*self.white(strengths), "-scan_network_depth", "1,2", "-scan_ansatz_decay", ",".join(map(str, decays)),
                    "-ansatz_init_singular", "4,4,4", "-ansatz_time", 400, "-ansatz_measurements", 2)
        r = self.result()
        products = np.sqrt(r["agop_eigenvalue"][:, :, 0, -1])
        expected = np.maximum(strengths - np.array(decays)[:, None], 0)  # two layers, by hand
        np.testing.assert_allclose(r["mode_product"][0], expected, atol=1e-12)
        np.testing.assert_allclose(products[0], expected, atol=1e-8)
        np.testing.assert_allclose(r["mode_critical_decay"][0, 0], strengths, atol=1e-12)
        three = np.cbrt(r["mode_product"][1])
        alive = three > 0
        np.testing.assert_allclose((strengths - three**3) * three * alive, np.array(decays)[:, None] * alive, atol=1e-10)
        np.testing.assert_array_equal(alive, np.array(decays)[:, None] < r["mode_critical_decay"][1, 0])
        for measured, mode in zip(products[1].ravel(), r["mode_product"][1].ravel()):
            self.assertLess(min(abs(measured - mode), abs(measured)), 1e-6)  # there, or put out before its time
        self.assertLess(products[1][~alive].max(), 1e-6)

    def test_decay_beyond_the_critical_one_is_warned_about(self):
        for factor, is_said in ((0.99, False), (1.01, True)):
            done = self.ansatz(*self.white([2.0, 1.0, 0.5]), "-network_depth", 1, "-ansatz_decay", 2 * factor, "-ansatz_time", 1)
            self.assertEqual("beyond critical_decay in 1 of 1 points" in done.err, is_said, done.err)

    def test_linear_and_other_networks_in_one_scan(self):
        self.ansatz(*SMALL, "-scan_network_activation", "linear,tanh", "-ansatz_time", 1, "-ansatz_measurements", 2)
        r = self.result()
        self.assertEqual((r["mode_product"].shape, r["agop_eigenvalue"].shape), ((2, 3), (2, 1, 2, 6)))
        self.assertTrue(np.isfinite(r["mode_product"][0]).all() and np.isnan(r["mode_product"][1]).all())

    # --- balance ---

    def test_rate_of_the_imbalance_is_left_out_where_it_has_no_law(self):
        words = [*SMALL, "-ansatz_init", "torch", "-ansatz_decay", 0.1, "-ansatz_time", 30]
        for more in (["-ansatz_optimiser", "adam", "-ansatz_steps", 50], ["-network_activation", "tanh"], ["-ansatz_init", "balanced"],
                     ["-ansatz_biases", "-ansatz_bias_decay", 0.05]):
            self.ansatz(*words, *more, *(["-ansatz_time", 100] if "-ansatz_steps" not in more else []))
            self.assertTrue(np.isnan(self.result()["imbalance_rate"]).all(), more)
        for more in ([], ["-ansatz_biases"]):
            self.ansatz(*words, *more)
            self.assertAlmostEqual(self.result()["imbalance_rate"][0], 0.2, 6, msg=more)

    def test_biases_break_the_ansatz_and_only_their_own_decay_keeps_it_broken(self):
        self.ansatz(*SMALL, "-teacher_offset", -1, "-ansatz_biases", "-scan_ansatz_decay", "0,0.1", "-scan_ansatz_bias_decay", "0,0.1",
                    "-ansatz_time", 150, "-ansatz_measurements", 3)
        r = self.result()
        similarity, balance, rest = r["final_similarity"], r["imbalance"][:, :, 0, -1], r["imbalance_bias"][:, :, 0, -1]
        self.assertGreater(balance[0, 0].min(), 0.01)
        self.assertLess(rest[0, 0].max(), 1e-8)  # conserved: b b^T is all there is
        self.assertLess(similarity[0, 0], 0.9999)
        self.assertLess(rest[1, 1].max(), 1e-8)
        self.assertLess(similarity[1, 1], 0.9999)
        self.assertLess(balance[1, 0].max(), 1e-6)
        self.assertAlmostEqual(similarity[1, 0], 1, 10)

    def test_adam_satisfies_the_ansatz_with_its_decay_in_the_gradient_and_not_apart(self):
        self.ansatz(*SMALL, "-ansatz_init", "lecun", "-scan_ansatz_optimiser", "adam,adamw", "-ansatz_decay", 0.05, "-ansatz_step",
                    0.001, "-ansatz_steps", 20000, "-ansatz_measurements", 2)
        coupled, apart = self.result()["final_similarity"]
        self.assertGreater(coupled, 0.99999)
        self.assertLess(apart, 0.99)

    def noise_of_a_step(self, weights, seed):
        """E[g_{l+1}^T g_{l+1} - g_l g_l^T] over batches of 10 of 100, from the weights and the examples."""
        data = read(self.place / "data.h5", "/")
        x, y, n, batch = data["x"].T, data["y"].T, 100, 10
        w = [weights[f"W{l}"][seed] for l in (1, 2, 3)]
        h = [x, w[0] @ x, w[1] @ w[0] @ x]
        delta = w[2] @ h[2] - y
        back = [w[1].T @ w[2].T @ delta, w[2].T @ delta, delta]
        gradients = [np.einsum("in,jn->nij", b, a) for b, a in zip(back, h)]
        share = (n - batch) / (batch * (n - 1))  # of the variance of one example in a batch without replacement
        noise = []
        for low, high in zip(gradients, gradients[1:]):
            low, high = low - low.mean(0), high - high.mean(0)
            noise.append(share * np.mean(np.einsum("nki,nkj->nij", high, high) - np.einsum("nik,njk->nij", low, low), axis=0))
        return noise

    def test_batches_hold_the_imbalance_at_a_floor_proportional_to_the_step(self):
        decay, steps = 0.05, np.array([0.02, 0.01])
        rng = np.random.default_rng(3)
        x = rng.standard_normal((100, 6))
        harness.write_arrays(self.place / "data.h5", x=x, y=x @ rng.standard_normal((6, 3)) + rng.standard_normal((100, 3)))
        self.ansatz("-data_source", "hdf5", "-data_path", "data.h5", "-data_train", 100, "-data_normalise", "none", "-network_width",
                    "5,4", "-ansatz_optimiser", "sgd", "-ansatz_batch", 10, "-ansatz_decay", decay, "-ansatz_steps", 10000,
                    "-ansatz_seeds", 16, "-ansatz_measurements", 2, "-scan_ansatz_step", "0.02,0.01", "-save_weights")
        r = self.result()
        floor = r["imbalance"][:, :, -1].mean(axis=1)
        np.testing.assert_allclose(floor[0] / floor[1], 2, rtol=0.1)
        ratio = np.zeros((2, 2))
        for i in range(2):
            weights = {name: r[name][i] for name in ("W1", "W2", "W3")}
            for seed in range(16):
                norms = [np.linalg.norm(noise) for noise in self.noise_of_a_step(weights, seed)]
                ratio[i] += floor[i] / (steps[i] / (2 * decay) * np.array(norms)) / 16
        self.assertTrue((ratio < 1.4).all(), ratio)
        np.testing.assert_allclose(2 * ratio[1] - ratio[0], 1, atol=0.08)  # what is off is of first order in the step

    # --- batches beside other optimisers ---

    def test_batches_in_a_scan_of_optimisers_are_for_those_that_use_them(self):
        words = [*SMALL, "-ansatz_steps", 30, "-ansatz_init", "torch", "-ansatz_measurements", 2]
        self.ansatz(*words, "-ansatz_batch", 10, "-scan_ansatz_optimiser", "gd,sgd", "-output", "both.h5")
        for i, more in enumerate((["-ansatz_optimiser", "gd"], ["-ansatz_optimiser", "sgd", "-ansatz_batch", 10])):
            self.ansatz(*words, *more)
            np.testing.assert_array_equal(self.result("both.h5")["loss"][i], self.result()["loss"])
        for more in (["-ansatz_optimiser", "gd"], ["-scan_ansatz_optimiser", "gd,momentum"]):
            self.assertIn("no optimiser here goes over batches", self.ansatz(*words, "-ansatz_batch", 10, *more, code=2).err)

    def test_a_part_of_a_scan_may_lack_the_optimiser_of_the_batches(self):
        words = [*SMALL, "-ansatz_steps", 30, "-ansatz_batch", 10, "-scan_ansatz_optimiser", "gd,sgd", "-ansatz_measurements", 2]
        self.ansatz(*words, "-output", "whole.h5")
        for index in range(2):
            self.ansatz(*words, "-scan_index", index, "-output", f"part{index}.h5")
            np.testing.assert_array_equal(np.ravel(self.result(f"part{index}.h5")["loss"]), np.ravel(self.result("whole.h5")["loss"][index]))

    # --- figures ---

    def draw(self, name, file="ansatz.h5"):
        """Panels of a figure: titles of its series in the legend with their points, [x, y] each."""
        recorder = self.place / "bin" / "gnuplot"
        recorder.parent.mkdir(exist_ok=True)
        recorder.write_text(RECORDER)
        recorder.chmod(0o755)
        done = run("plot", file, "-figure", name, "-output", "figure.svg", cwd=self.place, env={"PATH": f"{recorder.parent}:/usr/bin:/bin"})
        self.assertEqual(done.code, 0, done.err)
        (self.place / "figure.svg").unlink()  # no picture, which the next one would be refused to replace
        script = (self.place / "script.gp").read_text()
        blocks = {key: np.array([[float(v) for v in line.split()[:2]] for line in text.splitlines()])
                  for key, text in re.findall(r"^\$(data_\d+_\d+) << END\n(.*?)^END$", script, re.M | re.S)}
        vertical = [float(v) for v in re.findall(r"^set arrow from first ([\d.e+-]+),graph 0", script, re.M)]
        return blocks, vertical, re.findall(r"^set title '(.*)'$", script, re.M)

    def test_figures_of_a_scan_of_decays_show_what_the_file_holds(self):
        self.ansatz(*self.white([2.0, 1.0, 0.5]), "-network_depth", 1, "-scan_ansatz_decay", "0.1,0.2,0.4,0.8", "-ansatz_init",
                    "lecun", "-ansatz_time", 20, "-ansatz_measurements", 5)
        r = self.result()
        blocks, vertical, titles = self.draw("collapse")
        self.assertEqual((vertical, titles), ([0.5], ["Modes at the end"]))  # the others are out of sight
        np.testing.assert_allclose(blocks["data_0_0"], np.column_stack([[0.1, 0.2, 0.4, 0.8],
                                                                        np.sqrt(r["agop_eigenvalue"][:, 0, -1, 0])]), rtol=1e-8)
        np.testing.assert_allclose(blocks["data_0_1"][:, 1], r["mode_product"][:, 0], rtol=1e-8)
        blocks, _, _ = self.draw("bound")
        np.testing.assert_allclose(blocks["data_0_2"], np.column_stack([r["training_time"][1], r["telescoping_difference"][1, 0]]),
                                   rtol=1e-8)
        np.testing.assert_allclose(blocks["data_0_3"][:, 1], r["telescoping_bound"][1, 0], rtol=1e-8)
        self.assertTrue((blocks["data_0_2"][:, 1] <= blocks["data_0_3"][:, 1]).all())
        blocks, _, _ = self.draw("imbalance")
        np.testing.assert_allclose(blocks["data_0_1"][:, 1], blocks["data_0_0"][0, 1] * np.exp(-0.2 * blocks["data_0_0"][:, 0]),
                                   rtol=1e-7)

    def test_figure_of_the_update_shows_both_cosines(self):
        self.ansatz(*SMALL, "-network_width", 20, "-ansatz_init", "lecun", "-scan_ansatz_init_scale", "0.1,1,3", "-ansatz_time", 20)
        r = self.result()
        blocks, _, _ = self.draw("update")
        np.testing.assert_allclose(blocks["data_0_0"], np.column_stack([[0.1, 1, 3], r["update_similarity"][:, 0, -1]]), rtol=1e-8)
        np.testing.assert_allclose(blocks["data_0_1"][:, 1], r["similarity"][:, 0, -1, -1], rtol=1e-8)
        self.assertGreater(blocks["data_0_0"][-1, 1], blocks["data_0_1"][-1, 1] + 0.1)  # what is learnt in the lazy regime

    def test_figure_of_powers_marks_one_over_the_number_of_layers(self):
        self.ansatz(*SMALL, "-network_width", 6, "-scan_network_depth", "1,2,3", "-ansatz_time", 5)
        blocks, vertical, titles = self.draw("similarity")
        np.testing.assert_allclose(vertical, [1 / 2, 1 / 3, 1 / 4], rtol=1e-8)
        np.testing.assert_allclose(blocks["data_0_0"][:, 1], self.result()["similarity"][0, 0, -1], rtol=1e-8)
        self.assertEqual(titles, ["At the end"])
        blocks, _, _ = self.draw("directions")
        r = self.result()
        for depth in range(3):
            np.testing.assert_allclose(blocks[f"data_0_{2 * depth}"],
                                       np.column_stack([r["agop_eigenvalue"][depth, 0, -1], r["feature_projection"][depth, 0, -1]]),
                                       rtol=1e-8)
            np.testing.assert_allclose(blocks[f"data_0_{2 * depth}"], blocks[f"data_0_{2 * depth + 1}"], rtol=1e-7)  # balanced


if __name__ == "__main__":
    harness.main()
