# SPDX-License-Identifier: GPL-3.0-or-later
"""Experiments of `finwidth optimal` against its theory, and what becomes of them when they are left, badly asked for, or do
not converge. With FINWIDTH_LONG the whole table of docs/optimal-experiments.md, which is printed."""
import os
import signal
import sys
import unittest
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness
from harness import read, run

def ridge(activation, alpha, noise=0.1, **keys):
    return dict(optimal_experiment="ridge", network_activation=activation, optimal_alpha=alpha, optimal_noise=noise, **keys)


def gamp(activation, alpha, channel, noise=0.0, **keys):
    return dict(optimal_experiment="gamp", network_activation=activation, optimal_alpha=alpha, optimal_channel=channel,
                optimal_noise=noise, **keys)


def hmc(activation, alpha, noise=0.1, **keys):
    return dict(optimal_experiment="hmc", network_activation=activation, optimal_alpha=alpha, optimal_noise=noise,
                optimal_dimension=40, sampler_samples=300, sampler_burnin=150, **keys)


def layers(activation, depth):
    return ",".join([activation] * depth)


# Each with a seed of its own: their deviations are independent.
TABLE = [
    *[ridge(layers("linear", depth), alpha) for depth, alpha in [(1, 1), (2, 0.5), (3, 2)]],
    *[ridge(layers("erf", depth), alpha) for depth, alpha in [(1, 0.5), (1, 2), (2, 2), (3, 1), (4, 4)]],
    *[ridge(layers("tanh", depth), alpha) for depth, alpha in [(1, 4), (2, 1), (3, 2), (4, 0.5)]],
    *[ridge(layers("sin", depth), alpha) for depth, alpha in [(1, 1), (2, 4), (3, 0.5)]],
    *[ridge(layers("tanh", depth), alpha, 0, optimal_gain=2) for depth, alpha in [(1, 2), (2, 3), (4, 1)]],
    *[ridge(layers("relu", depth), alpha, optimal_dimension=400) for depth, alpha in [(1, 1), (2, 2)]],
    ridge("sign", 2), ridge("hardtanh,hardtanh", 1), ridge("erf,tanh,sin", 1.5),
    ridge("erf,erf", 2, optimal_dimension=300, network_width=75), ridge("erf,erf", 2, network_width="400,100"),
    gamp("erf", 1, "probit", network_depth=0), gamp("erf", 3, "probit", network_depth=0, optimal_dimension=400),
    *[gamp(layers("erf", depth), 2, "probit", noise) for depth, noise in [(1, 0), (2, 0), (2, 0.05)]],
    gamp("tanh,tanh,tanh", 1, "probit"), gamp("sin,sin", 3, "probit", 0.1), gamp("sign", 2, "probit"),
    *[gamp(layers("tanh", depth), alpha, "probit", optimal_gain=2) for depth, alpha in [(2, 0.5), (2, 5), (4, 3)]],
    gamp("erf", 2, "logistic", network_depth=0, optimal_beta=3), gamp("tanh,tanh", 4, "logistic", optimal_beta=2),
    gamp("erf,erf", 1.5, "gaussian", 0.2), gamp("tanh", 2, "tanh", 0.1), gamp("erf,erf", 2, "erf", 0.1, optimal_channel_gain=2),
    *[gamp("tanh", alpha, "abs", optimal_dimension=400) for alpha in (2, 3)],
    gamp("erf,erf", 3, "abs", 0.01, optimal_dimension=400),
    hmc("erf", 2), hmc("erf", 1), hmc("tanh", 1), hmc("tanh,tanh", 1), hmc("sin", 2), hmc("erf", 0.5, 0.2),
]
FAST = [ridge("erf,erf", 2, optimal_test=4000), gamp("tanh", 2, "probit", optimal_test=4000),
        dict(hmc("tanh", 1), optimal_dimension=20, optimal_instances=6, sampler_samples=150, sampler_burnin=100)]


def words(keys):
    return [word for key, value in keys.items() for word in ("-" + key, value)]


class Agreement(unittest.TestCase):
    def setUp(self):
        self.place = harness.folder()

    def experiment(self, keys, seed):
        done = run("optimal", *words(keys), "-seed", seed, "-output", f"{seed}.h5", ranks=2, cwd=self.place, timeout=900)
        self.assertEqual(done.code, 0, f"{keys}\n{done.err}")
        return read(self.place / f"{seed}.h5", "optimal/experiment")

    def z_scores(self, table, first_seed):
        found = []
        for seed, keys in enumerate(table, first_seed):
            got = self.experiment(keys, seed)
            found.append({name: float(got[name + "_z_score"]) for name in ("error", "conditional_ratio", "train_error",
                          "overlap", "posterior_variance", "signal", "rest") if name + "_z_score" in got})
            label = " ".join(f"{value}" if key.startswith("network_act") else f"{key.split('_')[-1]} {value}"
                             for key, value in keys.items() if not key.startswith(("sampler", "optimal_test")))
            line = [f"{float(got['error']):.5f}({float(got['error_error_bar']):.5f})", f"{float(got['error_predicted']):.5f}",
                    *(f"{found[-1][name]:.2f}" if name in found[-1] else "" for name in
                      ("error", "conditional_ratio", "train_error", "overlap"))]
            print("| " + " | ".join([label[len("experiment "):], *line]) + " |", flush=True)
        return found

    def test_a_few_agree_with_theory(self):
        for scores in self.z_scores(FAST, 1):
            for name, z in scores.items():
                self.assertLess(abs(z), 4.0, name)

    @unittest.skipUnless(os.environ.get("FINWIDTH_LONG"), "long")
    def test_the_table_agrees_with_theory(self):
        first, count = (int(part) for part in os.environ.get("FINWIDTH_ROWS", f"0:{len(TABLE)}").split(":"))
        found = self.z_scores(TABLE[first:first + count], 100 + first)
        for name in ("error", "conditional_ratio", "train_error", "overlap"):
            z = np.array([scores[name] for scores in found if name in scores])
            if not z.size:
                continue
            print(f"{name}: {z.size} z-scores, rms {np.sqrt(np.mean(z**2)):.3f}, mean {z.mean():.3f}, "
                  f"largest {np.abs(z).max():.2f}", flush=True)
            self.assertLess(np.abs(z).max(), 4.0, name)
            if name == "error" and z.size >= 40:
                self.assertTrue(0.8 < np.sqrt(np.mean(z**2)) < 1.2)

    def test_error_bars_tell_one_noise_from_another(self):
        right, other = (self.experiment(dict(ridge("erf", 2, noise), optimal_test=4000), 3) for noise in (0.1, 0.2))
        self.assertGreater((other["error"] - right["error_predicted"]) / other["error_error_bar"], 4.0)


if __name__ == "__main__":
    harness.main()
