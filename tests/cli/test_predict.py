# SPDX-License-Identifier: GPL-3.0-or-later
"""`finwidth predict`, `plot`, `verify` and `help` as a user meets them."""
import os
import re
import sys
import unittest
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness
from harness import SOURCE, read, run

QUICKSTART = SOURCE / "inputs" / "quickstart.yaml"
SMALL = ["-data_train", 60, "-data_test", 20]


class Predict(unittest.TestCase):
    def setUp(self):
        self.place = harness.folder()

    def predict(self, *words, **more):
        return run("predict", *SMALL, *words, cwd=self.place, **more)

    def test_quickstart_prints_a_table_and_writes_file_and_picture(self):
        done = run("predict", QUICKSTART, "-figure", "overview", ranks=2, cwd=self.place)
        self.assertEqual(done.code, 0, done.err)
        for word in ["saddle point", "exact average", "infinite", "test error", "variance", "accuracy", "log evidence"]:
            self.assertIn(word, done.out)
        self.assertEqual(done.errors, [])
        r = read(self.place / "quickstart.h5")
        self.assertGreater(r["accuracy"], 0.9)
        self.assertAlmostEqual(r["test_error"], r["test_bias"] + r["test_variance"], 14)
        self.assertEqual((self.place / "quickstart.png").read_bytes()[:4], b"\x89PNG")
        self.assertEqual(sorted(os.listdir(self.place)), ["quickstart.h5", "quickstart.png"])

    def test_average_with_biases_between_hidden_layers_is_not_called_exact(self):
        words = ["-network_activation", "linear", "-network_depth", 2, "-network_width", 20, "-overwrite"]
        for bias, is_exact in (("1,0,1", True), ("0,1,0", False)):
            done = self.predict(*words, "-network_bias", bias)
            self.assertEqual(done.code, 0, done.err)
            self.assertEqual("exact average" in done.out, is_exact)
            self.assertEqual("product form" in done.err, not is_exact)
            self.assertEqual(read(self.place / "predict.h5").get("exact_for_linear"), None if is_exact else 0)
        self.assertNotIn("product form", self.predict(*words, "-network_bias", "0,1,0", "-theory_composition", "nested").err)

    def test_result_says_where_it_comes_from(self):
        self.assertEqual(self.predict("-seed", 5).code, 0)
        out = self.place / "predict.h5"
        self.assertEqual(harness.attribute(out, "status"), "complete")
        self.assertIn("-seed 5", harness.attribute(out, "command_line"))
        self.assertIn("data_train: 60\n", harness.attribute(out, "input"))
        self.assertRegex(harness.attribute(out, "data_digest"), "^[0-9a-f]{16}$")
        self.assertIn("petsc", harness.attribute(out, "libraries"))
        with h5py.File(out, "r") as file:
            for name, item in file["predict"].items():
                self.assertIn("units", item.attrs, name)
                self.assertIn("long_name", item.attrs, name)
                for axis in item.dims:
                    self.assertEqual(len(axis), 0 if h5py.h5ds.is_scale(item.id) else 1, name)

    def test_resolved_input_gives_the_same_numbers_again(self):
        self.assertEqual(self.predict("-network_width", "30,40", "-seed", 3).code, 0)
        text = harness.attribute(self.place / "predict.h5", "input")
        (self.place / "again.yaml").write_text(text)
        self.assertEqual(run("predict", "again.yaml", cwd=self.place).code, 0)
        self.assertEqual(read(self.place / "predict.h5")["action"], read(self.place / "again.h5")["action"])

    def test_temperature_below_round_off_leaves_predictions_as_they_are(self):
        done = self.predict("-data_train", 100, "-network_activation", "linear", "-scan_temperature", "1e-9,1e-18")
        self.assertEqual(done.code, 0, done.err)
        errors = np.array(read(self.place / "predict.h5")["test_error"])
        np.testing.assert_allclose(errors[1], errors[0], rtol=1e-6)

    def test_keys_without_a_use_are_named(self):
        done = self.predict("-theory_draws", 9, "-network_mask", 7, "-theory_closure", "stacked")
        self.assertEqual(done.code, 0, done.err)
        for key in ("theory_draws", "network_mask", "theory_closure"):
            self.assertIn(f"{key} has no meaning here", done.err)
        (self.place / "in.yaml").write_text("data: {train: 20, inputs: z}\nteacher: {width: 7, kind: linear}\nnetwork: {mask: 7}\n"
                                            "sampler: {samples: 20}\noptimal: {beta: 3}\n")  # keys of other commands are theirs
        done = run("predict", "in.yaml", "-dry_run", cwd=self.place)
        self.assertEqual([line.split()[2] for line in done.err.splitlines()], ["data_inputs", "teacher_width", "network_mask"], done.err)
        done = run("predict", "in.yaml", "-data_source", "teacher", "-scan_teacher_kind", "linear,one-layer", "-dry_run", cwd=self.place)
        self.assertEqual(done.err.count("no meaning"), 2, done.err)

    def test_resolved_input_of_patches_chooses_nothing(self):
        self.assertEqual(self.predict("-network_type", "cnn", "-network_width", 20).code, 0)
        (self.place / "again.yaml").write_text(harness.attribute(self.place / "predict.h5", "input"))
        done = run("predict", "again.yaml", cwd=self.place)
        self.assertEqual((done.code, done.err), (0, ""))
        self.assertNotIn("average_test_bias", read(self.place / "again.h5"))

    def test_observables_are_not_mixed_with_another_theory(self):
        done = self.predict("-theory_model", "ntk", "-theory_observables", "true")
        self.assertEqual(done.code, 2)
        self.assertIn("theory_observables", done.err)
        done = self.predict("-network_activation", "relu", "-theory_mean", "on", "-theory_observables", "true")
        self.assertEqual(done.code, 0, done.err)
        self.assertIn("alignment_before alone", done.out)
        r = read(self.place / "predict.h5")
        self.assertTrue(np.isfinite(r["alignment_before"]) and np.isnan(r["hidden_trace_after"]))

    def test_same_numbers_on_any_number_of_ranks(self):
        results = []
        for ranks in (1, 2, 3, 4):
            done = self.predict("-output", f"{ranks}.h5", "-data_train", 201, "-save_predictions", ranks=ranks)
            self.assertEqual(done.code, 0, done.err)
            results.append(read(self.place / f"{ranks}.h5"))
        for other in results[1:]:
            for name in results[0]:
                if name not in ("iterations", "residual", "evaluations", "bandwidth"):
                    np.testing.assert_allclose(other[name], results[0][name], rtol=1e-10, atol=1e-12, err_msg=name)
        self.assertEqual(len({harness.attribute(self.place / f"{n}.h5", "data_digest") for n in (1, 2, 3, 4)}), 1)

    def test_existing_result_is_kept_unless_told_otherwise(self):
        self.assertEqual(self.predict().code, 0)
        before = (self.place / "predict.h5").read_bytes()
        done = self.predict("-seed", 2)
        self.assertEqual(done.code, 7)
        self.assertIn("predict.h5", done.errors[0])
        self.assertEqual((self.place / "predict.h5").read_bytes(), before)
        self.assertEqual(self.predict("-resume").code, 0)
        self.assertEqual((self.place / "predict.h5").read_bytes(), before)
        self.assertEqual(self.predict("-seed", 2, "-overwrite").code, 0)
        self.assertNotEqual((self.place / "predict.h5").read_bytes(), before)

    def test_solver_that_did_not_converge_is_exit_4_and_keeps_a_failed_result(self):
        done = self.predict("-snes_max_it", 0, ranks=2)
        self.assertEqual(done.code, 4, done.err)
        self.assertEqual(len(done.errors), 1)
        self.assertIn("did not converge", done.errors[0])
        self.assertEqual(harness.attribute(self.place / "predict.h5", "status"), "failed")
        self.assertEqual(read(self.place / "predict.h5")["converged"], 0)

    def test_several_minima_are_exit_0_with_a_warning(self):
        done = run("predict", SOURCE / "inputs" / "two-minima.yaml", cwd=self.place)
        self.assertEqual(done.code, 0, done.err)
        self.assertTrue(any("2 minima" in line for line in done.lines), done.err)
        self.assertIn("metastable", done.out)
        r = read(self.place / "two-minima.h5")
        self.assertLess(r["action"], r["metastable_action"][0])
        self.assertIn("2 minima", harness.attribute(self.place / "two-minima.h5", "warnings"))

    def test_infinite_width_alone(self):
        self.assertEqual(self.predict("-output", "finite.h5").code, 0)
        done = self.predict("-theory_model", "infinite")
        self.assertEqual(done.code, 0, done.err)
        r, finite = read(self.place / "predict.h5"), read(self.place / "finite.h5")
        self.assertEqual(r["order_parameter"], [1.0])
        np.testing.assert_allclose(r["test_error"], finite["infinite_test_error"], rtol=1e-12)

    def test_no_test_examples_is_legal(self):
        done = self.predict("-data_test", 0)
        self.assertEqual(done.code, 0, done.err)
        self.assertTrue(np.isnan(read(self.place / "predict.h5")["test_error"]))
        self.assertGreater(read(self.place / "predict.h5")["train_error"], 0)

    def test_one_example_and_zero_temperature(self):
        done = self.predict("-data_train", 1, "-temperature", 0)
        self.assertEqual(done.code, 0, done.err)
        self.assertLess(read(self.place / "predict.h5")["train_error"], 1e-20)

    def test_dry_run_computes_nothing(self):
        done = self.predict("-dry_run")
        self.assertEqual(done.code, 0, done.err)
        self.assertIn("temperature: 0.01", done.out)
        self.assertEqual(os.listdir(self.place), [])

    def test_every_figure_and_format_can_be_drawn(self):
        self.assertEqual(self.predict("-save_predictions", "-figure", "none").code, 0)
        self.assertEqual(os.listdir(self.place), ["predict.h5"])
        done = self.predict("-overwrite", "-figure", "map")
        self.assertEqual(done.code, 0)
        self.assertIn("no figure", done.err)
        self.assertEqual(self.predict("-overwrite", "-save_predictions", "-figure", "errors").code, 0)
        self.assertTrue((self.place / "predict.png").exists())
        (self.place / "it's").mkdir()
        (self.place / "it's/a.svg").write_text("my own words\n")
        done = run("plot", "predict.h5", "-output", "it's/a.svg", cwd=self.place)
        self.assertEqual((done.code, (self.place / "it's/a.svg").read_text()), (7, "my own words\n"), done.err)
        done = run("plot", "predict.h5", "-output", "it's/x'\ny.png", cwd=self.place)
        self.assertEqual(done.code, 0, done.err)
        self.assertEqual(sorted(os.listdir(self.place / "it's")), ["a.svg", "x'\ny.png"])
        for name, start in [("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.pdf", b"%PDF")]:
            done = run("plot", "predict.h5", "-output", name, cwd=self.place)
            self.assertEqual(done.code, 0, done.err)
            self.assertTrue((self.place / name).read_bytes().startswith(start), name)
        for figure in ("action", "prediction", "errors", "overview"):
            done = run("plot", "predict.h5", "-output", "b.png", "-figure", figure, cwd=self.place)
            self.assertEqual(done.code, 0, done.err)

    def test_verify_finds_one_changed_byte(self):
        self.assertEqual(self.predict().code, 0)
        done = run("verify", "predict.h5", cwd=self.place)
        self.assertEqual(done.code, 0, done.err)
        self.assertIn("complete", done.out)
        data = bytearray((self.place / "predict.h5").read_bytes())
        data[len(data) // 2] ^= 4
        (self.place / "predict.h5").write_bytes(data)
        done = run("verify", "predict.h5", cwd=self.place)
        self.assertEqual(done.code, 3)
        self.assertEqual(len(done.errors), 1)

    def test_help_names_every_key_and_an_example(self):
        done = run("help")
        self.assertEqual(done.code, 0)
        self.assertIn("predict", done.out)
        for words in (["help", "predict"], ["predict", "-help"], ["predict", "--help"]):
            done = run(*words)
            self.assertEqual(done.code, 0, done.err)
            self.assertIn("example:", done.out)
            self.assertIn("-network_width", done.out)
        self.assertEqual(run("version").code, 0)
        self.assertIn("petsc", run("version").out)

    def test_page_of_keys_is_that_of_the_program(self):
        table, page = run("help", "keys").out, (SOURCE / "docs" / "keys.md").read_text()
        self.assertTrue(table in page, "docs/keys.md is not that of `finwidth help keys`")

    def test_inputs_without_labels_are_predicted_as_test_examples_are(self):
        rng = np.random.default_rng(3)
        x = rng.normal(size=(90, 12))
        y = x @ rng.normal(size=12)
        harness.write_arrays(self.place / "d.h5", x=x, y=y)
        harness.write_arrays(self.place / "new.h5", x=x[60:])
        for form in ("product", "nested", "linearised"):
            done = run("predict", "-data_source", "hdf5", "-data_path", "d.h5", "-data_train", 60, "-data_test", 30,
                       "-data_predict", "new.h5", "-save_predictions", "-network_width", "40,40", "-theory_composition",
                       form, "-overwrite", ranks=3, cwd=self.place)
            self.assertEqual(done.code, 0, done.err)
            r = read(self.place / "predict.h5")
            np.testing.assert_allclose(r["new_mean"], r["test_mean"], rtol=1e-12, err_msg=form)
            np.testing.assert_allclose(r["new_std"], r["test_std"], rtol=1e-10, err_msg=form)
        harness.write_arrays(self.place / "bad.h5", x=x[:, :5])
        done = run("predict", "-data_source", "hdf5", "-data_path", "d.h5", "-data_train", 60, "-data_test", 30,
                   "-data_predict", "bad.h5", "-overwrite", ranks=2, cwd=self.place)
        self.assertEqual(done.code, 2)
        self.assertIn("bad.h5", done.errors[0])

    def test_nested_and_product_agree_for_relu(self):
        results = []
        for name in ("product", "nested"):
            done = self.predict("-network_width", "50,50", "-network_activation", "relu", "-theory_mean", "off",
                                "-theory_composition", name, "-overwrite", ranks=2)
            self.assertEqual(done.code, 0, done.err)
            results.append(read(self.place / "predict.h5"))
        for name in ("test_error", "train_error", "log_evidence", "action"):
            np.testing.assert_allclose(results[1][name], results[0][name], rtol=1e-7, err_msg=name)

    def test_tangent_kernel_and_observables(self):
        done = self.predict("-theory_model", "ntk", "-network_width", "50,50", "-overwrite")
        self.assertEqual(done.code, 0, done.err)
        self.assertIn("NTK", done.out)
        done = self.predict("-theory_observables", "-overwrite")
        self.assertEqual(done.code, 0, done.err)
        r = read(self.place / "predict.h5")
        self.assertGreater(r["alignment_after"], r["alignment_before"])
        self.assertEqual(len(r["weight_eigenvalue"]), 256)

    def test_columns_of_other_sizes_are_warned_of_and_scaled_each_for_itself(self):
        x = np.random.default_rng(7).standard_normal((40, 4))
        np.savetxt(self.place / "constant.csv", np.column_stack([np.full(40, 7.0), 1000.0 * x]), delimiter=",")
        self.assertNotIn("drown", run("predict", "-data_source", "csv", "-data_path", "constant.csv", "-data_train", 30,
                                      "-data_test", 10, "-temperature", 10, "-output", "c.h5", cwd=self.place).err)
        np.savetxt(self.place / "one.csv", x, delimiter=",")
        np.savetxt(self.place / "two.csv", x * [1.0, 1000.0, 1.0, 1.0] + [0.0, 300.0, 0.0, 0.0], delimiter=",")
        results = []
        for name, ranks in (("one", 1), ("two", 3)):
            words = ["predict", "-data_source", "csv", "-data_path", f"{name}.csv", "-data_train", 30, "-data_test", 10, "-overwrite"]
            done = run(*words, "-data_normalise", "columns", cwd=self.place, ranks=ranks)
            self.assertEqual((done.code, done.err.count("warning"), done.out.count("columns")), (0, 0, 1), done.err)
            results.append(read(self.place / "predict.h5"))
            self.assertEqual("drown" in run(*words, cwd=self.place).err, name == "two")
        np.testing.assert_allclose(results[0]["test_error"], results[1]["test_error"], rtol=1e-10)

    def test_three_ranks_give_the_same_bits_every_time(self):
        """Sums of three ranks depend on their order, which must not be that of arrival."""
        results = []
        for _ in range(4):
            done = run("predict", "-data_train", 300, "-data_test", 100, "-network_depth", 2, "-network_width", 200, "-overwrite",
                       "-figure", "none", cwd=self.place, ranks=3)
            self.assertEqual(done.code, 0, done.err)
            results.append([read(self.place / "predict.h5")[name] for name in ("test_error", "log_evidence")])
        np.testing.assert_array_equal(results[1:], [results[0]] * 3)

    def test_labels_whose_mean_an_odd_network_cannot_have_are_warned_of(self):
        teacher = ["predict", "-data_source", "teacher", "-teacher_inputs", 30, "-data_train", 120, "-data_test", 60, "-overwrite"]
        errors = []
        for words, is_warned in [(["-scan_temperature", "0.1,0.01"], True), (["-network_bias", "0,9"], False),
                                 (["-data_source", "glyphs", "-data_encoding", "onehot"], False)]:  # inputs have a mean
            done = run(*teacher, "-teacher_offset", 3, *words, "-figure", "none", cwd=self.place)
            self.assertEqual((done.code, done.err.count("have mean")), (0, is_warned), (words, done.err))
            errors.append(read(self.place / "predict.h5")["test_error"])
            if is_warned:
                self.assertRegex(done.err, r"mean (2\.9|3\.0)\S* and deviation .*: subtract .*: network_bias 0,(8|9)")
        self.assertLess(20 * errors[1], errors[0][1])  # what is advised helps

    def test_cold_linear_network_with_more_examples_than_inputs_converges(self):
        """Its kernel has modes that are zero, which bands of some size do not see."""
        done = run("predict", "-data_train", 600, "-data_test", 20, "-data_size", 16, "-network_activation", "linear",
                   "-temperature", 1e-7, cwd=self.place)
        self.assertEqual(done.code, 0, done.err)

    def test_petsc_options_pass_through(self):
        done = self.predict("-snes_monitor", "-snes_converged_reason")
        self.assertEqual(done.code, 0, done.err)
        self.assertIn("SNES Function norm", done.out)

    def test_log_view_names_the_stages(self):
        (self.place / "in.yaml").write_text("log_view: ':log.txt'\n")
        done = run("predict", "in.yaml", *SMALL, cwd=self.place)
        self.assertEqual(done.code, 0, done.err)
        self.assertRegex((self.place / "log.txt").read_text(), "decomposition")


if __name__ == "__main__":
    harness.main()
