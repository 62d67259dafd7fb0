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
        done = run("optimal", *words(keys), "-seed", seed, "-output", f"{seed}.h5", "-overwrite", ranks=2, cwd=self.place, timeout=900)
        self.assertEqual(done.code, 0, f"{keys}\n{done.err}")
        return read(self.place / f"{seed}.h5", "optimal/experiment")

    def z_scores(self, table, first_seed):
        found = []
        for seed, keys in enumerate(table, first_seed):
            got = self.experiment(keys, seed)
            key = lambda name: "z_score" if name == "error" else name + "_z_score"
            found.append({name: float(got[key(name)]) for name in ("error", "conditional_ratio", "train_error",
                          "overlap", "posterior_variance", "signal", "rest") if key(name) in got})
            label = " ".join(f"{value}" if key.startswith("network_act") else f"{key.split('_')[-1]} {value}"
                             for key, value in keys.items() if not key.startswith(("sampler", "optimal_test")))
            line = [f"{float(got['error']):.5f}({float(got['error_bar']):.5f})", f"{float(got['error_predicted']):.5f}",
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
        self.assertGreater((other["error"] - right["error_predicted"]) / other["error_bar"], 4.0)


SMALL = {"ridge": ["-optimal_experiment", "ridge", "-network_activation", "erf,relu", "-optimal_dimension", 60],
         "gamp": ["-optimal_experiment", "gamp", "-network_activation", "tanh", "-optimal_channel", "probit", "-optimal_dimension", 60],
         "hmc": ["-optimal_experiment", "hmc", "-optimal_dimension", 8, "-sampler_samples", 20, "-sampler_burnin", 20]}
FEW = ["-optimal_instances", 5, "-optimal_test", 600, "-optimal_alpha", 5]


class Runs(unittest.TestCase):
    def setUp(self):
        self.place = harness.folder().resolve()

    def optimal(self, *words, ranks=1):
        return run("optimal", *words, ranks=ranks, cwd=self.place, timeout=300)

    def assert_same(self, one, other):
        one, other = (read(self.place / name, "optimal/experiment") for name in (one, other))
        self.assertEqual(one.keys(), other.keys())
        for name in one:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)

    def test_the_same_bits_on_any_number_of_ranks(self):
        for kind, words in SMALL.items():
            for ranks in (1, 3):
                done = self.optimal(*words, *FEW, "-output", f"{kind}{ranks}.h5", ranks=ranks)
                self.assertIn(done.code, (0, 4), done.err)  # so few samples may not have converged
            self.assert_same(f"{kind}1.h5", f"{kind}3.h5")

    def interrupted(self, *words, number=signal.SIGTERM):
        """A run that gets a signal when its first checkpoint is there."""
        run_ = harness.start("optimal", *words, "-output", "out.h5", ranks=2, cwd=self.place,
                             env={"FINWIDTH_CHECKPOINT_SECONDS": "0"})
        self.assertTrue(harness.wait_for(self.place / "out.h5.chk.0"))
        harness.signal_ranks(self.place, number)
        _, err = run_.communicate(timeout=300)
        self.assertFalse((self.place / "out.h5").exists(), err)
        return run_.returncode, err

    def check_resumed(self, *words):
        done = self.optimal(*words, "-output", "out.h5", "-resume", ranks=1)
        self.assertEqual(done.code, 0, done.err)
        self.assertEqual(sorted(os.listdir(self.place)), ["out.h5"])
        self.assertEqual(self.optimal(*words, "-output", "whole.h5", ranks=2).code, 0)
        self.assert_same("out.h5", "whole.h5")

    LONG = [*SMALL["gamp"], "-optimal_instances", 40, "-optimal_test", 40000, "-optimal_alpha", 5]

    def test_term_is_exit_6_and_resumes_to_the_same_bits(self):
        code, err = self.interrupted(*self.LONG)
        self.assertEqual(code, 6, err)
        self.assertIn("-resume", err)
        self.check_resumed(*self.LONG)

    def test_kill_resumes_to_the_same_bits(self):
        self.interrupted(*self.LONG, number=signal.SIGKILL)
        self.check_resumed(*self.LONG)

    def test_message_passing_that_does_not_converge_is_exit_4_with_its_trajectory(self):
        done = self.optimal(*SMALL["gamp"], *FEW, "-optimal_iterations", 4, "-output", "out.h5")
        self.assertEqual(done.code, 4, done.err)
        self.assertIn("has not converged for 5 of 5 teachers", done.err)
        self.assertEqual(harness.attribute(self.place / "out.h5", "status"), "failed")
        path = read(self.place / "out.h5", "optimal/experiment")["overlap_trajectory"]
        self.assertEqual(path.shape, (5,))
        self.assertTrue(np.all(np.diff(path) > 0))

    def test_a_scan_has_an_experiment_at_each_point(self):
        done = self.optimal(*SMALL["ridge"], *FEW[:4], "-scan_optimal_alpha", "1,2", "-scan_seed", "1,2", "-output", "out.h5",
                            ranks=2)
        self.assertEqual(done.code, 0, done.err)
        got = read(self.place / "out.h5", "optimal/experiment")
        self.assertEqual(got["error"].shape, (2, 2))
        self.assertEqual(len(np.unique(got["error"])), 4)
        curve = self.optimal(*SMALL["ridge"], *FEW[:4], "-scan_optimal_alpha", "1,2", "-seed", 2, "-output", "one.h5")
        self.assertEqual(curve.code, 0, curve.err)
        self.assertIn("z-score", curve.out)
        self.assertTrue(np.isin(read(self.place / "one.h5", "optimal/experiment")["error"], got["error"]).all())

    def test_pictures_of_experiments(self):
        few = ["-optimal_instances", 2, "-optimal_test", 100, "-figure", "overview"]
        for name, words in (("one", [*SMALL["gamp"]]), ("curve", [*SMALL["hmc"], "-scan_optimal_alpha", "4,12"]),
                            ("family", [*SMALL["ridge"], "-scan_optimal_alpha", "1,2", "-scan_seed", "1,2"])):
            done = self.optimal(*words, *few, "-output", f"{name}.h5")
            self.assertIn(done.code, (0, 4), done.err)
            self.assertTrue((self.place / f"{name}.png").exists(), done.err)

    def test_what_cannot_be_tried_is_refused_by_name(self):
        for code, words, says in (
                (2, ["gamp", "-network_activation", "relu"], "use ridge"),
                (2, ["ridge", "-optimal_channel", "probit"], "use gamp"),
                (2, ["hmc", "-network_depth", 0], "network_depth"),
                (2, ["hmc", "-optimal_noise", 0], "optimal_noise"),
                (2, ["hmc", "-sampler_burnin", 0], "sampler_step"),
                (2, ["ridge", "-optimal_alpha", 0.001], "no training example"),
                (2, ["ridge", "-optimal_alpha", 1e9], "too many"),
                (2, ["ridge", "-optimal_instances", 1], "optimal_instances"),
                (2, ["ridges"], "ridge,gamp,hmc"),
                (5, ["ridge", "-optimal_dimension", 20000, "-memory", "1G"], "optimal_dimension")):
            done = self.optimal("-optimal_experiment", *words, "-output", "out.h5", ranks=2)
            self.assertEqual(done.code, code, done.err)
            self.assertEqual(len(done.errors), 1, done.err)
            self.assertIn(says, done.errors[0])
            self.assertEqual(os.listdir(self.place), [])

    def test_a_dry_run_says_what_it_takes(self):
        done = self.optimal(*SMALL["hmc"], "-dry_run")
        self.assertEqual(done.code, 0, done.err)
        self.assertIn("GiB a rank", done.out)
        self.assertEqual(os.listdir(self.place), [])


if __name__ == "__main__":
    harness.main()
