# SPDX-License-Identifier: GPL-3.0-or-later
"""finwidth mixture: the report, the same bits on any number of ranks and after any end, bad input."""
import signal
import sys
import unittest
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness
from harness import read, reference, run

SMALL = ["-network_width", 10, "-network_depth", 5, "-network_outputs", 2, "-mixture_samples", 4000]


def same_bits(one, other):
    return set(one) == set(other) and all(np.array_equal(one[k], other[k]) or one[k].tobytes() == other[k].tobytes()
                                          for k in map(str, one))


class Mixture(unittest.TestCase):
    def setUp(self):
        self.place = harness.folder().resolve()

    def mixture(self, *words, ranks=1, **more):
        return run("mixture", *words, ranks=ranks, cwd=self.place, **more)

    def result(self, name="mixture.h5"):
        return read(self.place / name, "mixture")

    def test_without_samplers_there_is_no_verdict(self):
        done = self.mixture(*SMALL, "-mixture_method", "exact")
        self.assertEqual(done.code, 0, done.err)
        self.assertNotIn("verdict", done.out)
        self.assertNotIn("CvM", done.out)

    def test_report_holds_exact_moments_beside_sampled_ones(self):
        done = self.mixture(*SMALL, "-mixture_method", "brute,bartlett,exact,limit")
        self.assertEqual(done.code, 0, done.err)
        self.assertRegex(done.out, r"verdict all \d+ tests as expected")
        r = self.result()
        row = next(x for x in reference("mixture")["moments_finite"] if x["D"] == 3 and x["widths"] == {"N": 10, "L": 5})
        self.assertAlmostEqual(r["output_kurtosis_exact_finite"], row["kurtosis"], 10)
        m2, m4 = 1.2**5, (1.2 * 1.4 * 1.6)**5  # E Q_11^2, E Q_11^4
        self.assertAlmostEqual(r["output_kurtosis_error_bar"] / (3 * np.sqrt((m4 - m2**2) / 4000)), 1, 10)
        self.assertEqual(list(r["moment_order"]), [1, 2, 2, 3, 3, 3, 4, 4, 4, 4, 4])
        self.assertEqual(r["moment_partition"][2].tolist(), [1, 1, 0, 0])
        for ending in ("", "_bartlett"):  # orders 1 and 2: the error bars of the others are not to be trusted
            z = (r["moment_sampled" + ending] - r["moment_exact_finite"]) / r["moment_error_bar" + ending]
            self.assertTrue((abs(z[:3]) < 4).all(), z)
        for name, exact in [("log_q_mean", "exact_finite"), ("log_det_mean", "exact_finite"), ("log_det_variance", "exact_finite")]:
            self.assertLess(abs(r[name] - r[f"{name}_{exact}"]) / r[name + "_error_bar"], 4)
        np.testing.assert_allclose(r["eigen_log_mean"].sum(), r["log_det_mean"], rtol=1e-9)
        tests = dict(zip([t.decode() for t in r["test_name"]], zip(r["test_p_value"], r["test_expected"])))
        for name, expected in [("ks bartlett output infinite", 0), ("ks limit log_det limit", 1), ("ks brute radius widths", 1)]:
            self.assertEqual(tests[name][1], expected, name)
            self.assertEqual(tests[name][0] > 1e-4, bool(expected), name)
        self.assertEqual(harness.attribute(self.place / "mixture.h5", "status"), "complete")

    def test_bias_of_the_pair_scheme_is_known_to_the_tests(self):
        done = self.mixture("-network_width", 20, "-network_depth", 20, "-network_outputs", 10, "-mixture_method", "limit",
                            "-mixture_samples", 20000)
        self.assertEqual(done.code, 0, done.err)
        self.assertRegex(done.out, r"verdict all \d+ tests as expected")
        r = self.result()
        at = [t.decode() for t in r["test_name"]].index("ks limit log_det limit")
        self.assertAlmostEqual(r["test_distance"][at], 0.01416, 4)
        self.assertEqual(r["test_expected"][at], -1)

    def test_one_layer_is_known_to_be_no_mirror_image(self):
        done = self.mixture("-network_width", 10, "-mixture_samples", 4000, "-mixture_method", "bartlett",
                            "-figure", "none")
        self.assertEqual(done.code, 0, done.err)
        self.assertIn("as expected", done.out)
        r = self.result()
        at = [t.decode() for t in r["test_name"]].index("reflection bartlett log_det limit")
        self.assertAlmostEqual(r["test_distance"][at], 0.055037867460722145, 9)  # 1 - 2 P(chi2 < 10 e^-0.1), 10 degrees
        self.assertEqual(r["test_expected"][at], -1)

    def test_reference_rows_through_the_program(self):
        for row in reference("mixture")["moments_limit"]:
            if (row["a"], row["D"]) not in [(0.1, 2), (1.0, 3)]:  # all of them: tests/unit/test_mixture_moments.c
                continue
            done = self.mixture("-network_width", 100, "-mixture_a", row["a"], "-network_outputs", row["D"], "-mixture_method",
                                "limit", "-mixture_samples", 64, "-overwrite")
            self.assertEqual(done.code, 0, done.err)
            r = self.result()
            for key, value in zip(["E_p2", "E_p11", "E_p3", "E_p21", "E_p111", "E_p4", "E_p31", "E_p22", "E_p211", "E_p1111"],
                                  r["moment_exact_limit"][1:]):
                self.assertAlmostEqual(value / row[key], 1, 8, key)
            self.assertAlmostEqual(r["log_det_mean_exact_limit"], row["E_logdet"], 8)
            self.assertAlmostEqual(r["output_correlation_inputs_exact_limit"], row["corr_sq_orthogonal_inputs_same_output"], 8)

    def test_same_bits_on_any_number_of_ranks(self):
        results = []
        for ranks in (1, 2, 3, 4):
            done = self.mixture(*SMALL, "-mixture_method", "brute,bartlett,exact,limit", "-output", f"{ranks}.h5", ranks=ranks)
            self.assertEqual(done.code, 0, done.err)
            results.append(self.result(f"{ranks}.h5"))
        for other in results[1:]:
            self.assertTrue(same_bits(results[0], other))
        self.mixture(*SMALL, "-seed", 2, "-output", "other.h5")
        self.assertFalse(np.array_equal(self.result("other.h5")["log_q_mean"], results[0]["log_q_mean"]))

    def test_killed_and_stopped_runs_resume_to_the_same_bits(self):
        words = ["-network_width", 30, "-network_depth", 30, "-network_outputs", 3, "-mixture_samples", 6000,
                 "-mixture_method", "brute,bartlett,exact,limit"]
        self.assertEqual(self.mixture(*words, "-output", "whole.h5", ranks=2).code, 0)
        whole = self.result("whole.h5")
        for number, code in [(signal.SIGKILL, None), (signal.SIGTERM, 6)]:
            # the second checkpoint: it was begun and went on
            ended, err = harness.interrupt("mixture.h5.chk.0.previous", number, "mixture", *words, "-resume", cwd=self.place)
            self.assertTrue(ended == code if code else ended, err)
            if (self.place / "mixture.h5").exists():
                self.fail("the run was over before it was stopped: make it longer")
            done = self.mixture(*words, "-resume", ranks=3)
            self.assertEqual(done.code, 0, done.err)
            self.assertTrue(same_bits(whole, self.result()))
            (self.place / "mixture.h5").unlink()
            self.assertEqual(list(self.place.glob("mixture.h5.chk*")), [])

    def test_a_stop_is_heard_within_a_sample_of_wide_layers(self):
        words = ["-network_width", 20000, "-network_depth", 6, "-mixture_samples", 9, "-mixture_method", "brute"]
        code, err = harness.interrupt("mixture.h5.lock", signal.SIGTERM, "mixture", *words, cwd=self.place)
        self.assertEqual(code, 6, err)
        self.assertIn("within a sample", err)
        self.assertFalse((self.place / "mixture.h5.lock").exists())

    def test_a_signal_asks_for_a_checkpoint_and_the_run_goes_on(self):
        words = ["-network_width", 30, "-network_depth", 30, "-mixture_samples", 100000, "-mixture_method", "brute"]
        run_now = harness.start("mixture", *map(str, words), ranks=1, cwd=self.place)
        self.assertTrue(harness.wait_for(self.place / "mixture.h5.lock"))  # by now signals are caught
        harness.signal_ranks(self.place, signal.SIGUSR1)
        self.assertTrue(harness.wait_for(self.place / "mixture.h5.chk.0"), "no checkpoint")
        self.assertIsNone(run_now.poll())
        harness.signal_ranks(self.place, signal.SIGKILL)
        run_now.communicate(timeout=300)

    def test_checkpoint_of_other_samples_is_refused(self):
        words = ["-network_width", 30, "-network_depth", 30, "-mixture_samples", 100000, "-mixture_method", "brute"]
        harness.interrupt("mixture.h5.chk.0", signal.SIGKILL, "mixture", *words, ranks=1, cwd=self.place)
        done = self.mixture(*words, "-seed", 5, "-resume")
        self.assertEqual((done.code, len(done.errors)), (2, 1), done.err)

    def test_checkpoint_of_other_data_is_refused(self):
        words = ["-network_width", 30, "-network_depth", 30, "-mixture_samples", 100000, "-mixture_method", "brute",
                 "-data_source", "csv", "-data_path", "data.csv", "-data_train", 2, "-data_test", 0]
        (self.place / "data.csv").write_text("1,2,1\n3,1,-1\n")
        harness.interrupt("mixture.h5.chk.0", signal.SIGKILL, "mixture", *words, ranks=1, cwd=self.place)
        (self.place / "data.csv").write_text("1,2,1\n3,2,-1\n")
        done = self.mixture(*words, "-resume")
        self.assertEqual((done.code, len(done.errors)), (2, 1), done.err)

    def test_scan_of_widths_at_fixed_a(self):
        done = self.mixture("-mixture_a", 0.5, "-scan_network_width", "8,16,32", "-mixture_samples", 1000,
                            "-figure", "overview", ranks=2)
        self.assertEqual(done.code, 0, done.err)
        r = self.result()
        np.testing.assert_allclose(r["a"], 0.5, rtol=1e-12)
        product = r["distance_log_q"] * r["network_width"]
        np.testing.assert_allclose(product, product.mean(), rtol=0.05)
        np.testing.assert_allclose(r["distance_log_q_predicted"] / r["distance_log_q"], 1, rtol=0.1)
        with h5py.File(self.place / "mixture.h5") as file:
            self.assertEqual([list(axis.keys())[0] for axis in file["mixture/test_p_value"].dims], ["network_width", "test_name"])
        self.assertTrue((self.place / "mixture.png").exists())
        for name, code in [("distance", 0), ("density", 0), ("survival", 0), ("eigenvalues", 2), ("nothing", 2)]:
            done = run("plot", "mixture.h5", "-output", f"{name}.svg", "-figure", name, cwd=self.place)
            self.assertEqual((done.code, (self.place / f"{name}.svg").exists()), (code, code == 0), done.err)

    def test_a_law_out_of_reach_is_the_end_of_its_point_alone(self):
        done = self.mixture("-network_width", 50, "-network_depth", 1, "-network_outputs", 2, "-scan_mixture_a", "0.5,500,1e5",
                            "-mixture_samples", 200, "-mixture_method", "bartlett,limit")
        self.assertEqual((done.code, len(done.errors)), (4, 1), done.err)
        self.assertEqual(harness.attribute(self.place / "mixture.h5", "status"), "failed")
        r = self.result()
        self.assertEqual(r["converged"].tolist(), [1, 1, 0])
        self.assertRegex(done.out, r"100000 .* failed\n")
        self.assertEqual(r["test_unexpected"][:2].tolist(), [0, 0])

    def test_outputs_below_the_range_of_doubles_have_their_logarithms(self):
        done = self.mixture("-network_width", 1, "-network_depth", 2000, "-mixture_samples", 1000, "-mixture_method", "bartlett,exact")
        self.assertEqual(done.code, 0, done.err)
        r = self.result()
        tests = dict(zip([t.decode() for t in r["test_name"]], zip(r["test_p_value"], r["test_expected"])))
        self.assertEqual(tests["ks bartlett output widths"][1], 1)
        self.assertGreater(tests["ks bartlett output widths"][0], 1e-4)

    def test_points_of_a_scan_equal_single_runs(self):
        words = ["-network_width", 12, "-network_outputs", 2, "-mixture_samples", 700]
        self.assertEqual(self.mixture(*words, "-scan_network_depth", "3,6", "-output", "scan.h5", ranks=2).code, 0)
        self.assertEqual(self.mixture(*words, "-network_depth", 6, "-output", "one.h5").code, 0)
        scan, one = self.result("scan.h5"), self.result("one.h5")
        for name in ("moment_sampled", "log_det_mean", "test_p_value", "survival_sampled", "eigen_log_mean_limit"):
            np.testing.assert_array_equal(scan[name][1], one[name], name)

    def test_data_give_inputs_and_a_digest(self):
        done = self.mixture("-network_width", 30, "-network_depth", 5, "-mixture_samples", 4000, "-data_source", "glyphs", "-data_encoding", "onehot",
                            "-mixture_inputs", 3, "-network_prior", 2, "-network_bias", 1, "-mixture_moments", 7, "-mixture_method", "brute,bartlett,exact", ranks=2)
        self.assertEqual(done.code, 0, done.err)
        self.assertNotEqual(harness.attribute(self.place / "mixture.h5", "data_digest"), "")
        r = self.result()
        self.assertEqual((r["test_unexpected"], r["eigen_log_mean"].shape), (0, (2,)))
        self.assertEqual(np.isnan(r["moment_error_bar"]).tolist(), (r["moment_order"] > 6).tolist())
        for name in ("same", "inputs", "different"):
            name = f"output_correlation_{name}"
            self.assertLess(abs(r[name] - r[f"{name}_exact_finite"]) / r[f"{name}_error_bar"], 4, name)
            self.assertTrue(np.isnan(r[f"{name}_exact_limit"]), name)

    def test_bottleneck_stays_finite_in_the_limit(self):
        done = self.mixture("-network_width", "40,40,3,40,40", "-mixture_bottleneck", 3, "-network_outputs", 2, "-mixture_samples", 20000)
        self.assertEqual(done.code, 0, done.err)
        r = self.result()
        self.assertAlmostEqual(r["a_limit"], r["a"], 12)
        self.assertLess(r["distance_log_q"], 0.01)
        self.assertAlmostEqual(r["distance_log_q_predicted"] / r["distance_log_q"], 1, 1)
        self.assertEqual(r["test_unexpected"], 0)

    def test_narrow_layers_and_wide_ones(self):
        for words in (["-network_width", "6,2,4", "-network_outputs", 3], ["-network_width", "1,1", "-network_outputs", 1],
                      ["-network_width", 1000000, "-network_outputs", 3], ["-network_width", 5, "-network_depth", 200, "-network_outputs", 2]):
            done = self.mixture(*words, "-mixture_samples", 3000, "-overwrite")
            self.assertEqual(done.code, 0, done.err)
            self.assertEqual(self.result()["test_unexpected"], 0, words)

    def test_bad_input_is_one_line_and_exit_2(self):
        for words, text in [(["-mixture_samples", 0], "mixture_samples"), (["-mixture_samples", -5], "mixture_samples"),
                            (["-mixture_a", -1], "mixture_a"), (["-mixture_a", "nan"], "mixture_a"),
                            (["-mixture_a", "infinity"], "infinity"), (["-mixture_method", "wishart"], "wishart"),
                            (["-network_activation", "erf"], "linear"), (["-network_type", "cnn"], "fc"),
                            (["-mixture_moments", 13], "mixture_moments"), (["-network_bias", 1], "network_bias"),
                            (["-data_source", "glyphs", "-mixture_inputs", 1000], "mixture_inputs"),
                            (["-mixture_bottleneck", 2], "mixture_bottleneck"), (["-network_width", 0], "network_width"),
                            (["-mixture_a", 1e8, "-network_outputs", 3, "-mixture_method", "limit"], "mixture_a"),
                            (["-mixture_sample", 10], "mixture_samples")]:
            done = self.mixture(*words)
            self.assertEqual((done.code, len(done.errors)), (2, 1), (words, done.err))
            self.assertIn(text, done.errors[0])
        self.assertEqual(list(self.place.iterdir()), [])

    def test_too_many_samples_are_refused_before_they_are_drawn(self):
        done = self.mixture("-mixture_samples", 2000000, "-memory", "100M")
        self.assertEqual((done.code, len(done.errors)), (5, 1), done.err)
        self.assertEqual(self.mixture("-mixture_samples", 2000000000).code, 5)

    def test_too_many_inputs_are_refused_before_they_are_made(self):
        for words in (["-mixture_inputs", 20000, "-memory", "2G"], ["-mixture_inputs", 50000, "-memory", "900G"],
                      ["-mixture_inputs", 40000, "-memory", "900G", "-network_outputs", 300]):
            for dry in ([], ["-dry_run"]):
                done = self.mixture("-mixture_samples", 2, *words, *dry)
                self.assertEqual((done.code, len(done.errors)), (5, 1), done.err)
                self.assertIn("mixture_inputs", done.errors[0])
        done = self.mixture("-mixture_samples", 2, "-mixture_inputs", 5000, "-dry_run")
        self.assertRegex(done.out, r"0\.[67]\d* GiB on rank 0")

    def test_outputs_of_the_data_count_before_samples_are_drawn(self):
        words = ["-data_source", "glyphs", "-mixture_samples", 1000000, "-mixture_method", "bartlett", "-memory", 214000000]
        done = self.mixture(*words, "-data_encoding", "onehot")
        self.assertEqual((done.code, len(done.errors)), (5, 1), done.err)
        self.assertIn("mixture_samples", done.errors[0])
        self.assertEqual(self.mixture(*words, "-dry_run").code, 0)

    def test_dry_run_computes_nothing(self):
        done = self.mixture(*SMALL, "-dry_run")
        self.assertEqual(done.code, 0, done.err)
        self.assertIn("random numbers", done.out)
        self.assertIn("network_activation: linear", done.out)
        self.assertEqual(list(self.place.iterdir()), [])


if __name__ == "__main__":
    harness.main()
