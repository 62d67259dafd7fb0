# SPDX-License-Identifier: GPL-3.0-or-later
"""Scans: the same numbers as single points, on any number of ranks, resumed after any end."""
import functools
import os
import signal
import socket
import subprocess
import sys
import unittest
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness
from harness import read, run

SMALL = ["-data_train", 60, "-data_test", 20]


class Scan(unittest.TestCase):
    def setUp(self):
        self.place = harness.folder().resolve()

    def scan(self, *words, ranks=1, **more):
        return run("predict", *SMALL, *words, ranks=ranks, cwd=self.place, **more)

    def test_points_equal_single_runs(self):
        (self.place / "in.yaml").write_text("network: {width: [30, 30]}\n"
                                            "scan: {temperature: '0.01:1:3:log', network: {width: [20, 40], prior: "
                                            "{readout: [1, 50]}, activation: [erf, relu]}}\n")
        done = run("predict", "in.yaml", *SMALL, "-theory_mean", "off", "-save_predictions", ranks=2, cwd=self.place)
        self.assertEqual(done.code, 0, done.err)
        r = read(self.place / "in.h5")
        self.assertEqual(r["test_error"].shape, (3, 2, 2, 2))
        self.assertEqual([word.decode() for word in r["network_activation"]], ["erf", "relu"])
        for t, n, a, l in [(0, 0, 0, 0), (1, 1, 1, 1), (2, 0, 1, 0)]:
            done = self.scan("-theory_mean", "off", "-temperature", repr(r["temperature"][t]), "-network_depth", 2,
                             "-network_width", int(r["network_width"][n]), "-network_activation", ["erf", "relu"][a],
                             "-network_prior_readout", r["network_prior_readout"][l], "-save_predictions",
                             "-overwrite")
            self.assertEqual(done.code, 0, done.err)
            one = read(self.place / "predict.h5")
            for name in ("action", "test_error", "infinite_test_error", "average_test_error", "log_evidence",
                         "log_evidence_average", "order_parameter", "test_mean", "test_std", "train_error"):
                np.testing.assert_allclose(r[name][t, n, a, l], one[name], rtol=1e-9, atol=1e-12, err_msg=name)

    def test_axes_come_in_the_order_of_the_key_table_with_names(self):
        self.assertEqual(self.scan("-scan_network_width", "10,20", "-scan_temperature", "0.1,0.2,0.3").code, 0)
        with h5py.File(self.place / "predict.h5") as file:
            error = file["predict/test_error"]
            self.assertEqual(error.shape, (3, 2))
            self.assertEqual([list(axis.keys())[0] for axis in error.dims], ["temperature", "network_width"])
            np.testing.assert_array_equal(file["predict/temperature"], [0.1, 0.2, 0.3])

    def test_ranges(self):
        self.assertEqual(self.scan("-scan_temperature", "0.01:1:5:log", "-scan_network_width", "10:100:4:log").code, 0)
        r = read(self.place / "predict.h5")
        np.testing.assert_allclose(r["temperature"], np.logspace(-2, 0, 5), rtol=1e-14)
        np.testing.assert_array_equal(r["network_width"], [10, 22, 46, 100])

    def test_same_numbers_on_any_number_of_ranks(self):
        results = []
        for ranks in (1, 2, 4):
            done = self.scan("-scan_temperature", "0.01:1:3", "-scan_data_train", "40,80,120", "-output",
                             f"{ranks}.h5", ranks=ranks)
            self.assertEqual(done.code, 0, done.err)
            results.append(read(self.place / f"{ranks}.h5"))
        for other in results[1:]:
            for name in results[0]:
                if name not in ("iterations", "residual", "evaluations", "bandwidth"):
                    np.testing.assert_allclose(other[name], results[0][name], rtol=1e-10, atol=1e-12, err_msg=name)

    def test_same_warnings_once_on_any_number_of_ranks(self):
        heard = []
        for ranks, more in [(1, []), (2, []), (3, ["-scan_farm"])]:
            done = self.scan("-scan_network_type", "fc,cnn,lcn", "-network_activation", "relu", "-network_width", 3,
                             "-network_mask", 8, "-data_train", 20, "-overwrite", *more, ranks=ranks)
            self.assertEqual(done.code, 0, done.err)
            self.assertEqual((done.out.count("data    glyphs"), done.out.count("network fc")), (1, 1))
            lines = [line.split("warning: ")[1] for line in done.lines if "warning: " in line]
            kept = harness.attribute(self.place / "predict.h5", "warnings").split("\n")
            self.assertEqual(sorted(lines), sorted(kept))
            heard.append(kept)
        self.assertEqual(len(heard[0]), 2)
        self.assertEqual(heard[1:], heard[:1] * 2)

    def test_scan_index_computes_only_these_points_on_the_grid_that_holds_them(self):
        self.assertEqual(self.scan("-scan_temperature", "0.1:1:10", "-output", "all.h5").code, 0)
        whole = read(self.place / "all.h5")
        for index, points in [("2,5-7", [2, 5, 6, 7]), ("1-9:3", [1, 4, 7])]:
            done = self.scan("-scan_temperature", "0.1:1:10", "-scan_index", index, "-overwrite")
            self.assertEqual(done.code, 0, done.err)
            r = read(self.place / "predict.h5")
            np.testing.assert_array_equal(r["temperature"], whole["temperature"][points])
            np.testing.assert_allclose(r["test_error"], whole["test_error"][points], rtol=1e-12)
            self.assertEqual(harness.attribute(self.place / "predict.h5", "status"), "partial")

    def test_task_of_an_array_draws_a_figure_only_where_it_is_asked_to(self):
        for words, is_drawn in ([], False), (["-figure", "map"], True):
            done = subprocess.run([harness.PROGRAM, "predict", "-data_train", "20", "-data_test", "5", "-scan_temperature", "0.1,1",
                                   "-scan_index", "1", "-overwrite", "true", *words], cwd=self.place, capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual("no figure" in done.stderr, is_drawn, done.stderr)
            self.assertFalse((self.place / "predict.png").exists())

    def test_points_of_a_part_that_were_not_chosen_are_missing(self):
        done = self.scan("-scan_temperature", "0.1,0.2,0.3", "-scan_network_width", "10,20,30", "-scan_index", "1,6")
        self.assertEqual(done.code, 0, done.err)
        self.assertIn("scan    2 temperature x 2 network_width, 2 of 4 points; above is the first\n", done.out)
        r = read(self.place / "predict.h5")
        np.testing.assert_array_equal(r["temperature"], [0.1, 0.3])
        np.testing.assert_array_equal(r["network_width"], [10, 20])
        np.testing.assert_array_equal(np.isfinite(r["test_error"]), [[False, True], [True, False]])

    def test_farm_gives_the_same_numbers(self):
        words = ["-scan_data_train", "40,80,120,60,100", "-scan_temperature", "0.1,1"]
        self.assertEqual(self.scan(*words, "-output", "rounds.h5").code, 0)
        for ranks, more in ((1, []), (2, []), (3, []), (4, ["-scan_ranks", 3]), (3, ["-scan_ranks", 9])):
            done = self.scan(*words, "-scan_farm", *more, "-overwrite", ranks=ranks)
            self.assertEqual(done.code, 0, done.err)
            farm, rounds = read(self.place / "predict.h5"), read(self.place / "rounds.h5")
            for name in rounds:
                if name not in ("iterations", "residual", "evaluations", "bandwidth"):
                    np.testing.assert_allclose(farm[name], rounds[name], rtol=1e-9, atol=1e-12, err_msg=name)

    def test_error_in_a_farm_ends_it_with_one_message_and_keeps_what_is_done(self):
        words = ["-scan_data_train", "40,50,60,70,80,90,100,1000000", "-scan_farm"]
        done = self.scan(*words, ranks=3)
        self.assertEqual(done.code, 5, done.err)
        self.assertEqual(len(done.errors), 1, done.err)
        self.assertTrue((self.place / "predict.h5.chk").exists())
        self.assertFalse((self.place / "predict.h5").exists())

    def test_failed_point_is_exit_4_and_the_others_are_kept(self):
        x = np.random.default_rng(1).normal(size=(8, 3))
        harness.write_arrays(self.place / "d.h5", x=x, y=x[:, 0])
        done = run("predict", "-data_source", "hdf5", "-data_path", "d.h5", "-data_train", 6, "-data_test", 2,
                   "-network_activation", "linear", "-scan_temperature", "0,0.1", ranks=2, cwd=self.place)
        self.assertEqual(done.code, 4, done.err)
        r = read(self.place / "predict.h5")
        self.assertEqual(list(r["converged"]), [0, 1])
        self.assertTrue(np.isnan(r["test_error"][0]) and r["test_error"][1] > 0)
        self.assertEqual(harness.attribute(self.place / "predict.h5", "status"), "failed")

    def test_failed_point_on_a_kernel_of_its_own_leaves_the_others(self):
        x = np.random.default_rng(1).normal(size=(8, 3))
        harness.write_arrays(self.place / "d.h5", x=x, y=x[:, 0])
        for ranks in (1, 3):
            done = run("predict", "-data_source", "hdf5", "-data_path", "d.h5", "-scan_data_train", "2,6,3", "-data_test", 2,
                       "-network_activation", "linear", "-temperature", 0, "-overwrite", ranks=ranks, cwd=self.place)
            self.assertEqual(done.code, 4, done.err)
            r = read(self.place / "predict.h5")
            self.assertEqual(list(r["converged"]), [1, 0, 1])
            self.assertEqual(list(np.isnan(r["test_error"])), [False, True, False])

    def test_result_that_is_there_is_left_and_checkpoints_beside_it_go(self):
        for words, status in ((["-scan_temperature", "0.1,1"], "is complete:"),
                              (["-scan_temperature", "0.1,1", "-scan_index", 1], "is complete as a part of the scan:")):
            self.assertEqual(self.scan(*words, "-overwrite").code, 0)
            before = sorted(os.listdir(self.place))
            others = ["predict.h5.check", "x.h5.chk"]
            for name in ("predict.h5.chk", "predict.h5.chk.previous", "predict.h5.chk.kernel-0", *others):
                (self.place / name).write_text("")
            (self.place / "predict.h5.lock").write_text(f"host {socket.gethostname()}\npid 4194303\ntime then\nstart 1\n")  # is gone
            done = self.scan(*words, "-resume", "-output", f"{self.place}/predict.h5")
            self.assertEqual(done.code, 0, done.err)
            self.assertIn(status, done.out)
            self.assertEqual(sorted(os.listdir(self.place)), sorted({*before, *others}))
        words = ["-scan_temperature", "0.2,1", "-resume", "-output", f"{self.place}/predict.h5"]
        self.assertEqual(self.scan(*words).code, 2)
        self.assertEqual(self.scan(*words, "-overwrite").code, 0)
        np.testing.assert_array_equal(read(self.place / "predict.h5")["temperature"], [0.2, 1])

    def test_run_that_begins_anew_sets_the_checkpoints_of_another_aside(self):
        words = ["-scan_temperature", "0.1,1"]
        for name in ("predict.h5.chk", "predict.h5.chk.previous", "predict.h5.aside-1.0"):
            (self.place / name).write_text(name)
        (self.place / "predict.h5.chk.kernel-0.tmp").write_text("half")
        done = self.scan(*words, ranks=2)
        self.assertEqual(done.code, 0, done.err)
        self.assertIn("predict.h5.aside-2", done.out)
        self.assertEqual(sorted(os.listdir(self.place)),
                         ["predict.h5", "predict.h5.aside-1.0", "predict.h5.aside-2", "predict.h5.aside-2.previous"])
        self.assertEqual((self.place / "predict.h5.aside-2").read_text(), "predict.h5.chk")
        (self.place / "predict.h5.aside-2").replace(self.place / "predict.h5.chk")
        self.assertEqual(self.scan(*words, "-resume", "-output", "predict.h5").code, 0)  # there is a result

    def test_bad_scans_are_refused_before_anything_is_computed(self):
        for words, message in [(("-scan_temperature", "1:2"), "want first:last:count"),
                               (("-scan_temperature", "1:2:3:lin"), "want first:last:count"),
                               (("-scan_temperature", "-1:2:3:log"), "must be positive"),
                               (("-scan_temperature", "0.1,-1"), ">= 0"),
                               (("-scan_network_width", "10,0"), ">= 1"),
                               (("-scan_network_activation", "erf,swish"), "one of"),
                               (("-scan_temprature", "1,2"), "scan_temprature"),
                               (("-scan_output", "a,b"), "cannot be scanned"),
                               (("-scan_temperature", "1,2", "-scan_index", "2"), "from 0 to 1"),
                               (("-scan_temperature", "1,2", "-scan_index", "x"), "scan_index"),
                               (("-scan_network_type", "fc,cnn", "-network_bias", 0.1), "network_bias"),
                               (("-network_type", "cnn", "-network_depth", 2, "-theory_composition", "nested"),
                                "theory_composition"),
                               (("-network_activation", "relu", "-network_depth", 2, "-theory_mean", "on",
                                 "-theory_average", "true"), "theory_average")]:
            done = self.scan(*words)
            self.assertEqual(done.code, 2, (words, done.err))
            self.assertEqual(len(done.errors), 1)
            self.assertIn(message, done.errors[0])
            self.assertEqual(os.listdir(self.place), [])

    def test_saved_decomposition_serves_other_runs(self):
        words = ["-theory_decomposition", "kernel.h5"]
        self.assertEqual(self.scan(*words, "-output", "a.h5", ranks=2).code, 0)
        done = self.scan(*words, "-output", "b.h5", "-scan_temperature", "0.01,0.1", "-network_prior_readout", 3)
        self.assertEqual(done.code, 0, done.err)
        done = self.scan("-output", "c.h5", "-scan_temperature", "0.01,0.1", "-network_prior_readout", 3)
        self.assertEqual(done.code, 0, done.err)
        b, c = read(self.place / "b.h5"), read(self.place / "c.h5")
        for name in ("test_error", "total_order_parameter", "log_evidence", "average_test_error"):
            np.testing.assert_allclose(b[name], c[name], rtol=1e-9, err_msg=name)
        done = self.scan(*words, "-output", "d.h5", "-seed", 9)
        self.assertEqual(done.code, 3)
        self.assertIn("another kernel", done.errors[0])
        done = self.scan(*words, "-output", "d.h5", "-scan_network_activation", "erf,relu")
        self.assertEqual(done.code, 2)
        data = bytearray((self.place / "kernel.h5").read_bytes())
        data[len(data) // 2] ^= 1
        (self.place / "kernel.h5").write_bytes(data)
        self.assertEqual(self.scan(*words, "-output", "d.h5").code, 3)

    def test_semaphore_that_a_killed_run_left_holds_nobody_up(self):
        left = Path("/dev/shm/sem.OMPIO_held.h5.tmp")
        try:
            left.write_bytes(bytes(32))  # as glibc keeps a semaphore that is taken
        except OSError:
            self.skipTest("no semaphores here")
        self.addCleanup(left.unlink, missing_ok=True)
        done = self.scan("-theory_decomposition", "held.h5", ranks=2, timeout=60)
        self.assertEqual(done.code, 0, done.err)

    def test_saved_decomposition_is_refused_for_other_new_inputs_and_other_depths(self):
        for name in ("a", "b"):
            harness.write_arrays(self.place / f"{name}.h5", x=np.random.default_rng(ord(name)).normal(size=(3, 256)))
        for one, other in [(["-data_predict", "a.h5"], ["-data_predict", "b.h5"]),
                           (["-network_depth", 140], ["-network_depth", 200])]:
            words = ["-theory_decomposition", "kernel.h5", "-theory_model", "infinite", "-network_activation", "linear",
                     "-data_size", 16, "-network_prior", 0.99, "-overwrite"]
            self.assertEqual(self.scan(*words, *one).code, 0)
            self.assertEqual(self.scan(*words, *one).code, 0)
            done = self.scan(*words, *other)
            self.assertEqual(done.code, 3)
            self.assertIn("another kernel", done.errors[0])
            (self.place / "kernel.h5").unlink()

    def write_csv(self, offset):
        """60 examples of 10 inputs, labels with a mean."""
        x = np.random.default_rng(5).normal(size=(60, 11))
        x[:, -1] += offset
        np.savetxt(self.place / "d.csv", x, delimiter=",")
        return ["-data_source", "csv", "-data_path", "d.csv", "-data_train", 40, "-overwrite"]

    def test_width_without_mean_terms_beside_one_with(self):
        csv = self.write_csv(5.0)
        for widths in ("50,1", "1,50"):
            done = self.scan(*csv, "-network_activation", "relu", "-scan_network_width", widths)
            self.assertEqual(done.code, 0, done.err)
            r = read(self.place / "predict.h5")
            self.assertEqual(list(r["mean_terms"]), [int(width == "50") for width in widths.split(",")])
            self.assertTrue(np.all(np.isfinite(r["test_error"])))

    def test_point_without_a_prediction_leaves_the_others(self):
        csv = self.write_csv(0.0)
        for words, good in [(["-network_activation", "linear", "-scan_temperature", "0.1,1e-18", "-network_depth", 2,
                              "-theory_composition", "nested"], [1, 0]),
                            (["-network_activation", "quadratic", "-scan_network_depth", "60,1"], [0, 1]),
                            (["-network_activation", "quadratic", "-network_depth", 60], 0)]:
            done = self.scan(*csv, *words)
            self.assertEqual(done.code, 4, (words, done.err))
            self.assertIn("warning: no prediction: the ", done.err)
            r = read(self.place / "predict.h5")
            np.testing.assert_array_equal(r["converged"], good)
            if good:
                np.testing.assert_array_equal(np.isfinite(r["test_error"]), good)
            self.assertEqual(harness.attribute(self.place / "predict.h5", "status"), "failed")

    def test_prediction_stands_without_its_observables(self):
        csv = self.write_csv(0.0)
        for words in (["-temperature", 1e-18], ["-scan_temperature", "0.1,1e-18"]):
            done = self.scan(*csv, "-network_activation", "linear", "-theory_observables", *words, ranks=2)
            self.assertEqual(done.code, 4, done.err)
            self.assertIn("warning: no observables: the ", done.err)
            self.assertIn("finwidth: error: the predicted observables are not to be had", done.err)
            r = {name: np.atleast_1d(value) for name, value in read(self.place / "predict.h5").items()}
            self.assertTrue(r["converged"].all() and np.isfinite(r["test_error"]).all())
            self.assertEqual(r["observables_converged"][-1], 0)
            self.assertTrue(np.isnan(r["hidden_trace_after"][-1]) and np.isnan(r["alignment_before"][-1]))
            self.assertEqual(harness.attribute(self.place / "predict.h5", "status"), "failed")
        self.assertEqual(r["observables_converged"][0], 1)
        self.assertTrue(np.isfinite(r["hidden_trace_after"][0]))

    def test_bandwidths_agree(self):
        results = []
        for bandwidth in (0, 1, 64):
            done = self.scan("-theory_bandwidth", bandwidth, "-scan_temperature", "0.01,1", "-network_bias", "0.1,0.3",
                             "-overwrite", "-data_train", 150, ranks=2)
            self.assertEqual(done.code, 0, done.err)
            results.append(read(self.place / "predict.h5"))
            self.assertEqual(list(results[-1]["bandwidth"]), [bandwidth] * 2)
        for other in results[1:]:
            for name in ("test_error", "order_parameter", "log_evidence", "log_evidence_average", "average_test_error",
                         "train_error", "infinite_test_error"):
                np.testing.assert_allclose(other[name], results[0][name], rtol=1e-9, err_msg=name)

    LONG = [*map(str, SMALL), "-data_train", "400", "-theory_bandwidth", "0", "-scan_seed", "1:60:60", "-output", "out.h5", "-theory_average",
            "false"]

    def start(self, *words, env=None):
        return harness.start("predict", *self.LONG, *words, ranks=2, cwd=self.place,
                             env={"FINWIDTH_CHECKPOINT_SECONDS": "0", **(env or {})})

    def interrupt(self, number):
        return harness.interrupt("out.h5.chk", number, "predict", *self.LONG, cwd=self.place)

    def wait_for(self, name):
        return harness.wait_for(self.place / name)

    def test_usr2_stops_a_farm_through_mpirun_and_it_resumes(self):
        run_ = self.start("-scan_farm")
        self.assertTrue(self.wait_for("out.h5.chk"))
        run_.send_signal(signal.SIGUSR2)
        _, err = run_.communicate(timeout=300)
        self.assertEqual(run_.returncode, 6, err)
        self.check_resumed("-scan_farm")

    def test_usr1_writes_a_checkpoint_and_goes_on(self):
        run_ = self.start(env={"FINWIDTH_CHECKPOINT_SECONDS": "1000"})
        self.assertTrue(self.wait_for("out.h5.lock"))  # by now signals are caught
        self.assertFalse((self.place / "out.h5.chk").exists())
        run_.send_signal(signal.SIGUSR1)
        self.assertTrue(self.wait_for("out.h5.chk"))
        run_.communicate(timeout=300)
        self.assertEqual(run_.returncode, 0)

    @classmethod
    @functools.cache
    def whole(cls):
        place = harness.folder()
        done = run("predict", *cls.LONG, "-output", "whole.h5", ranks=2, cwd=place)
        assert done.code == 0, done.err
        return read(place / "whole.h5")

    def check_resumed(self, *words):
        done = run("predict", *self.LONG, *words, "-resume", ranks=2, cwd=self.place)
        self.assertEqual(done.code, 0, done.err)
        self.assertEqual(sorted(name for name in os.listdir(self.place) if name.endswith((".chk", ".lock", ".tmp"))), [])
        resumed, whole = read(self.place / "out.h5"), self.whole()
        for name in whole:
            np.testing.assert_array_equal(resumed[name], whole[name], err_msg=name)

    def test_term_is_exit_6_and_resumes_to_the_same_bits(self):
        code, err = self.interrupt(signal.SIGTERM)
        self.assertEqual(code, 6, err)
        self.assertIn("-resume", err)
        self.assertFalse((self.place / "out.h5").exists())
        self.check_resumed()

    def test_kill_resumes_to_the_same_bits(self):
        self.interrupt(signal.SIGKILL)
        self.assertFalse((self.place / "out.h5").exists())
        self.check_resumed()

    def test_checkpoint_of_another_input_is_refused(self):
        self.interrupt(signal.SIGTERM)
        done = run("predict", *self.LONG, "-resume", "-temperature", 0.5, ranks=2, cwd=self.place)
        self.assertEqual(done.code, 2, done.err)
        self.assertIn("another input", done.errors[0])

    def test_resume_knows_the_data_by_their_contents(self):
        x = np.random.default_rng(4).normal(size=(460, 9))
        for name in ("here", "there"):
            (self.place / name).mkdir()

        def go_on(where, *words, **more):
            return run("predict", *self.LONG, "-data_source", "csv", "-data_path", "d.csv", "-data_shuffle", "-resume",
                       *words, cwd=self.place / where, **more)

        np.savetxt(self.place / "here" / "d.csv", x, delimiter=",")
        self.assertEqual(go_on("here", "-walltime", "00:00:01").code, 6)
        for name in ("out.h5.chk", "d.csv"):
            (self.place / "there" / name).write_bytes((self.place / "here" / name).read_bytes())
        np.savetxt(self.place / "here" / "d.csv", x[::-1], delimiter=",")
        self.assertIn("other data", "".join(go_on("here").errors))
        for _ in range(2):  # goes on, then is complete
            done = go_on("there", ranks=2)
            self.assertEqual(done.code, 0, done.err)
        self.assertIn("nothing to do", done.out)
        np.savetxt(self.place / "there" / "d.csv", x[::-1], delimiter=",")
        done = go_on("there")
        self.assertEqual(done.code, 2, done.err)
        self.assertIn("other data", done.errors[0])

    def test_walltime_stops_with_a_checkpoint(self):
        done = run("predict", *self.LONG, "-walltime", "00:00:01", ranks=1, cwd=self.place)
        self.assertEqual(done.code, 6, done.err)
        self.check_resumed()


if __name__ == "__main__":
    harness.main()
