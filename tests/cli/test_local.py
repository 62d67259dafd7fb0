# SPDX-License-Identifier: GPL-3.0-or-later
"""Convolutional, locally-connected and pooling networks through the installed program: the reference rows of independent
programs, the order of the architectures on tasks whose answer is known, and bad input."""
import os
import unittest
from pathlib import Path

import h5py
import numpy as np

import sys
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness

RANKS = int(os.environ.get("FINWIDTH_RANKS", "1"))
ACTIVATIONS = {"id": "linear"}
REFERENCE = harness.reference("convolutional")


def make_images(shape, n):
    """The closed formula of the reference file."""
    n_input = int(np.prod(shape))
    mu = np.arange(1, n + 1, dtype=np.int64)[:, None]
    p = np.arange(1, n_input + 1, dtype=np.int64)[None, :]
    r = (633907 * mu * p + 774013 * mu + 597537 * p) % 1048573
    x = np.sqrt(2.0) * np.cos(2.0 * np.pi * r / 1048573)
    return x.reshape(n, *shape), 1.2 * np.sin(2.0 * (x[:, 0] + x[:, 1])) + 0.5 * x[:, -1]


def text(value):
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def options(row, data):
    return ["-data_source", "hdf5", "-data_path", data, "-data_train", row["P"], "-data_test", row["Pt"],
            "-data_normalise", "none", "-data_gray", "false", "-network_type", row["arch"], "-network_mask",
            text(row["mask"]), "-network_stride", text(row["stride"]), "-network_width", row["Nc"],
            "-network_activation", ACTIVATIONS.get(row["act"], row["act"]), "-temperature", row["T"], "-network_prior",
            f"{row['l0']},{row['l1']}", "-theory_mean", "off" if row["central"] else "on", "-save_predictions", "true"]


class Folder(unittest.TestCase):
    def setUp(self):
        self.place = harness.folder()

    def run_program(self, *words, ranks=RANKS, code=0):
        done = harness.run("predict", *words, "-output", self.place / "out.h5", "-overwrite", "true", ranks=ranks,
                           cwd=self.place)
        self.assertEqual(done.code, code, done.err)
        return done

    def predict(self, *words, ranks=RANKS):
        self.run_program(*words, ranks=ranks)
        return harness.read(self.place / "out.h5")

    def close(self, name, actual, expected, tolerance=1e-8):
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max(),
                                   err_msg=name)


class ReferenceRows(Folder):
    def check_row(self, row):
        x, y = make_images(row["shape"], row["P"] + row["Pt"])
        words = options(row, harness.write_arrays(self.place / "data.h5", x=x, y=y))
        if row["arch"] == "pool":  # the second-moment kernel; theory_mean on is not for it
            words = [word for word in words if word not in ("-theory_mean", "off")]
        r = self.predict(*words)
        order = r["order_parameter"]
        if row["arch"] == "lcn":
            order = np.diag(order)
        self.close("Q", np.atleast_2d(order), row["Q"])
        for ours, theirs in [("action", "action"), ("train_bias", "train_bias"), ("train_variance", "train_variance"),
                             ("test_bias", "bias"), ("test_variance", "variance"), ("test_error", "loss"),
                             ("infinite_test_bias", "IW_bias"), ("infinite_test_variance", "IW_variance"),
                             ("infinite_test_error", "IW_loss")]:
            self.close(ours, r[ours], row[theirs])
        self.close("test_mean", r["test_mean"][:, 0], row["test_mean"])
        if row["arch"] != "pool":
            self.assertLessEqual(r["residual"], 1e-10)
            self.assertLess(abs(r["sum_rule"]), 1e-9)


for _row in REFERENCE["cases"]:
    setattr(ReferenceRows, f"test_row_{_row['name']}", lambda self, row=_row: self.check_row(row))


def once(test):
    """What does not depend on the number of ranks is tested on one."""
    return unittest.skipUnless(RANKS == 1, "on one rank only")(test)


@once
@harness.needs_data
class Teachers(Folder):
    """Errors of the convolutional teachers at n = 4 patches, T = 0.1, as tabulated by an independent program."""

    def scan(self, teacher, *words):
        return self.predict("-data_source", "hdf5", "-data_path", Path(harness.DATA) / "teachers" / f"{teacher}.h5",
                            "-data_normalise", "none", "-data_train", 30, "-data_test", 400, "-network_mask", 4,
                            "-temperature", 0.1, *words)

    def test_sharing_weights_helps_on_the_shared_teacher_and_its_absence_harms(self):
        r = self.scan("shared", "-scan_network_type", "cnn,lcn", "-scan_network_width", "10,20,40")
        np.testing.assert_allclose(r["test_error"], [[.6664, .7335, .7784], [.9276, .8946, .8726]], atol=6e-5)
        np.testing.assert_allclose(r["infinite_test_error"], .8439, atol=6e-5)
        self.assertTrue((r["test_error"][0] < r["infinite_test_error"][0]).all())
        self.assertTrue((r["test_error"][1] > r["infinite_test_error"][1]).all())

    def test_signs_of_the_signed_teacher_are_learnt_without_being_told(self):
        r = self.scan("signed", "-network_type", "cnn", "-network_width", 20)
        self.assertAlmostEqual(r["test_error"], .7947, delta=6e-5)
        signs = np.array([[1, -1, 1, -1], [-1, 1, -1, 1], [1, -1, 1, -1], [-1, 1, -1, 1]])
        self.assertTrue((signs * r["order_parameter"] > 0).all())
        r = self.scan("signed", "-network_type", "lcn", "-network_width", 20)
        self.assertAlmostEqual(r["test_error"], .9306, delta=6e-5)

    def test_the_relevant_patch_is_found(self):
        r = self.scan("onepatch", "-network_type", "cnn", "-network_width", 20)
        self.assertAlmostEqual(r["test_error"], 1.0806, delta=6e-5)
        self.assertAlmostEqual(r["order_parameter"][0, 0], 2.43, delta=6e-3)
        r = self.scan("onepatch", "-network_type", "lcn", "-network_width", 20)
        self.assertAlmostEqual(r["test_error"], 1.0523, delta=6e-5)

    def test_pooling_and_overlap(self):
        r = self.scan("shared", "-network_type", "pool", "-network_width", 20)
        self.assertAlmostEqual(r["test_error"], .2671, delta=6e-5)
        r = self.scan("shared", "-network_type", "cnn", "-network_stride", 2, "-scan_network_width", "9,30")
        np.testing.assert_allclose(r["test_error"], [.7858, .8348], atol=6e-5)

    def test_alignment_with_the_labels_as_tabulated(self):
        for teacher, before, cnn, lcn in (("shared", .216, .264, .218), ("signed", .229, .259, .237),
                                          ("onepatch", .230, .297, .290)):
            r = self.scan(teacher, "-scan_network_type", "cnn,lcn", "-network_width", 20, "-theory_observables", "true")
            np.testing.assert_allclose(r["alignment_before"], before, atol=6e-4)
            np.testing.assert_allclose(r["kernel_alignment"], [cnn, lcn], atol=6e-4)
            if teacher == "shared":
                self.assertAlmostEqual(r["pool_overlap"][0], .403, delta=6e-4)

    def test_architectures_of_one_scan_share_a_file(self):
        r = self.scan("shared", "-scan_network_type", "fc,lcn,cnn", "-network_width", 20)
        self.assertEqual(r["order_parameter"].shape, (3, 4, 4))
        self.assertEqual(np.isfinite(r["order_parameter"]).sum(axis=(1, 2)).tolist(), [1, 4, 16])


    def test_the_best_over_the_readout_prior_is_a_figure_of_three_axes(self):
        axes = ["-scan_network_type", "cnn,fc", "-scan_network_width", "10,40"]
        r = self.scan("shared", *axes, "-scan_network_prior_readout", "0.3:30:9:log", "-theory_average", "false")
        best = r["test_error"].min(axis=2)
        self.assertLess(abs(best[1, 0] / best[1, 1] - 1), 0.02)  # of fc a rescaled kernel: the same at any width
        self.assertLess(best[0, 0], 0.8 * best[0, 1])
        draw = ["plot", "out.h5", "-figure", "best-prior", "-output", "best.svg"]
        done = harness.run(*draw, cwd=self.place)
        self.assertEqual(done.code, 0, done.err)
        self.assertIn("best", (self.place / "best.svg").read_text())
        self.scan("shared", *axes, "-theory_average", "false")
        done = harness.run(*draw, "-overwrite", cwd=self.place)
        self.assertEqual(done.code, 2, done.err)
        self.assertIn("best-prior", done.err)


@once
@harness.needs_data
class Average(Folder):
    """The average over the Gram matrix of the readout: against quadrature, before learning, and against tables."""

    def average(self, teacher, *words, ranks=1):
        return self.predict("-data_source", "hdf5", "-data_path", Path(harness.DATA) / "teachers" / f"{teacher}.h5",
                            "-data_normalise", "none", "-data_train", 30, "-data_test", 400, "-theory_average", "true",
                            *words, ranks=ranks)

    def within(self, r, name, expected, error=0.0, sigma=4.5):
        self.assertLess(abs(r[f"average_{name}"] - expected), sigma * np.hypot(r[f"average_{name}_error_bar"], error))

    def test_one_patch_is_the_quadrature_of_a_fully_connected_network(self):
        fc = self.average("shared", "-network_type", "fc", "-network_width", 5, "-temperature", 0.1)
        for name in ("cnn", "lcn"):
            r = self.average("shared", "-network_type", name, "-network_mask", 8, "-network_width", 5, "-temperature",
                             0.1)
            for error in ("train_error", "test_error", "test_bias", "test_variance"):
                self.within(r, error, fc[f"average_{error}"])
            self.assertLess(r["average_test_error_error_bar"], 0.02)
            self.assertLess(abs(fc["average_test_error"] - fc["infinite_test_error"]), 1.0)
            self.assertGreater(abs(fc["average_test_error"] - fc["infinite_test_error"]),
                               10 * r["average_test_error_error_bar"])  # the negative control

    def test_without_information_the_average_is_the_wishart_mean_even_for_fewer_channels_than_patches(self):
        for width in (2, 9):
            r = self.average("shared", "-network_type", "cnn", "-network_mask", 4, "-network_width", width,
                             "-temperature", 1e6, "-theory_draws", 200)
            z = (r["average_order_parameter"] - np.eye(4)) / r["average_order_parameter_error_bar"]
            self.assertLess(np.abs(z).max(), 6)
            self.assertLess(r["average_order_parameter_error_bar"].max(), 0.1)

    def test_tabulated_averages(self):
        words = ["-network_mask", 4, "-temperature", 0.1]
        self.within(self.average("shared", "-network_type", "cnn", "-network_width", 10, *words), "test_error", .6584,
                    .0052)
        self.within(self.average("shared", "-network_type", "lcn", "-network_width", 10, *words), "test_error", .9331,
                    .0045)
        r = self.average("shared", "-network_type", "cnn", "-network_width", 9, "-network_stride", 2, *words)
        self.within(r, "test_error", .8121, .0073)
        self.assertLess(r["average_rhat"], 1.1)

    def test_draws_do_not_depend_on_the_number_of_ranks(self):
        words = ["-network_type", "cnn", "-network_width", 20, "-network_mask", 4, "-temperature", 0.1,
                 "-theory_draws", 16]
        one, three = self.average("shared", *words), self.average("shared", *words, ranks=3)
        for name in ("average_test_error", "average_order_parameter"):
            np.testing.assert_allclose(one[name], three[name], rtol=1e-7)


class SeveralOutputs(Folder):
    """Three outputs against plain matrices of D P rows, at the program's own order parameter."""
    P, PT, D, N, WIDTH, T = 90, 30, 3, 3, 20, 0.1

    def predict_three(self, kind):
        self.x, _ = make_images((1, 1, 12), self.P + self.PT)
        x = self.x[:, 0, 0]
        self.y = np.stack([np.sin(2 * (x[:, 0] + x[:, 1])), np.sin(x[:, 3] + 2 * x[:, 7]), x[:, 5] * x[:, 9]], axis=1)
        data = harness.write_arrays(self.place / "data.h5", x=self.x, y=self.y)
        return self.predict("-data_source", "hdf5", "-data_path", data, "-data_train", self.P, "-data_test", self.PT,
                            "-data_normalise", "none", "-network_type", kind, "-network_width", self.WIDTH,
                            "-temperature", self.T, "-save_predictions", "true")

    def kernels(self):
        """K_ij / (lambda_1 n) of erf between all images: [n, n, P + PT, P + PT]."""
        patch = self.x.reshape(self.P + self.PT, self.N, 4)
        c = np.einsum("aim,bjm->ijab", patch, patch) / 4
        a = 1 + 2 * np.einsum("iiaa->ia", c)
        return 2 / np.pi * np.arcsin(2 * c / np.sqrt(a[:, None, :, None] * a[None, :, None, :])) / self.N

    def check(self, kind):
        r, k, d, n, p = self.predict_three(kind), self.kernels(), self.D, self.N, self.P
        self.assertEqual(r["order_parameter"].shape, (d, n, d, n))
        q, m = r["order_parameter"], d * n
        full = np.einsum("diej,ijab->adbe", q, k)
        a = full[:p, :, :p].reshape(p * d, p * d) + self.T * np.eye(p * d)
        y, inverse, q = self.y[:p].ravel(), np.linalg.inv(a), q.reshape(m, m)
        solved = inverse @ y
        fit = np.linalg.slogdet(a)[1] + y @ solved
        self.close("S", r["action"], np.trace(q) - np.linalg.slogdet(q)[1] + fit / self.WIDTH, 1e-11)
        slope = np.einsum("adbe,ijab->diej", (inverse - np.outer(solved, solved)).reshape(p, d, p, d), k[:, :, :p, :p])
        if kind == "lcn":
            slope = slope * np.eye(n)[:, None]
        slope = np.eye(m) - np.linalg.inv(q) + slope.reshape(m, m) / self.WIDTH
        self.assertLess(np.abs(slope).max(), 1e-9)
        cross = full[:p, :, p:].reshape(p * d, -1)
        mean = (cross.T @ solved).reshape(-1, d)
        covariance = full[p:, :, p:].reshape(cross.shape[1], -1) - cross.T @ inverse @ cross
        covariance = np.einsum("tdte->tde", covariance.reshape(self.PT, d, self.PT, d))
        self.close("mean", r["test_mean"], mean)
        self.close("covariance", r["test_example_covariance"], covariance)
        self.close("bias", r["test_bias"], np.mean((mean - self.y[p:]) ** 2, axis=0))
        self.close("train bias", r["train_bias"], np.mean((self.T * solved.reshape(p, d)) ** 2, axis=0))
        trace = np.diag(inverse).reshape(p, d).mean(axis=0)
        self.close("train variance", r["train_variance"], self.T - self.T ** 2 * trace)

    def test_cnn(self):
        self.check("cnn")

    def test_lcn(self):
        self.check("lcn")


class Deep(Folder):
    """Two and three layers of patches against plain loops over paths, at the program's own order parameters."""
    P, PT, T, MASK, WIDTH, PRIOR = 20, 8, 0.1, 4, [15, 12, 9], [1.1, 0.9, 1.2, 0.8]

    def predict_deep(self, depth, activation, *words, width=None, kind="cnn", outputs=1, mask=None, ranks=RANKS):
        x, y = make_images((1, 1, 16), self.P + self.PT)
        self.x, self.y = x[:, 0, 0], np.stack([y, np.sin(x[:, 0, 0, 1]) - 0.5 * y], axis=1)[:, :outputs]
        data = harness.write_arrays(self.place / "data.h5", x=x, y=self.y[:, 0] if outputs == 1 else self.y)
        return self.predict("-data_source", "hdf5", "-data_path", data, "-data_train", self.P, "-data_test", self.PT,
                            "-data_normalise", "none", "-network_type", kind, "-network_depth", depth,
                            *([] if kind == "fc" else ["-network_mask", mask or self.MASK]), "-network_width",
                            width or text(self.WIDTH[:depth]), "-network_prior", text(self.PRIOR[:depth + 1]),
                            "-network_activation", activation, "-temperature", self.T, "-save_predictions", "true", *words,
                            ranks=ranks)

    def layers(self, depth, activation, stride):
        """K^l between positions and K^l / C^l, and the positions under each of the two taps."""
        patch = self.x.reshape(len(self.x), -1, self.MASK)
        c = np.einsum("aim,bjm->ijab", patch, patch) / self.MASK / self.PRIOR[0]
        kernel, gain, taps = [], [], [None]
        for layer in range(depth):
            if layer:
                n = (len(c) - 2) // stride + 1
                taps.append([[u * stride, u * stride + 1] for u in range(n)])
                below = kernel[-1] / (2 * self.PRIOR[layer])
                c = np.array([[sum(below[a, b] for a, b in zip(taps[-1][u], taps[-1][v])) for v in range(n)]
                              for u in range(n)])
            a = 1 + 2 * np.einsum("iiaa->ia", c)
            erf = 2 / np.pi * np.arcsin(2 * c / np.sqrt(a[:, None, :, None] * a[None, :, None, :]))
            kernel.append(c if activation == "linear" else erf)
            gain.append(kernel[-1] / c)
        return kernel, gain, taps

    def family(self, depth, activation, stride, kind):
        """Between rows of Q of one output, and the kernel of infinite width."""
        kernel, gain, taps = self.layers(depth, activation, stride)
        paths = [(u,) for u in range(len(kernel[-1]))]
        for layer in range(depth - 1, 0, -1):
            paths = [(taps[layer][p[0]][t],) + p for t in range(2) for p in paths]
        product = np.array([[kernel[0][p[0], q[0]] * np.prod([gain[k][p[k], q[k]] for k in range(1, depth)], axis=0)
                             for q in paths] for p in paths])
        infinite = np.einsum("uuab->ab", kernel[-1]) / len(kernel[-1]) / self.PRIOR[depth]
        if kind == "lcn":
            product *= np.eye(len(paths))[:, :, None, None]
        if kind == "pool":  # positions of the last layer are the last index of a path
            n, size = len(kernel[-1]), len(self.x)
            product = product.reshape(-1, n, len(paths) // n, n, size, size).mean(axis=(1, 3))
            infinite = kernel[-1].mean(axis=(0, 1)) / self.PRIOR[depth]
        return product / (len(product) * np.prod(self.PRIOR[1:depth + 1])), infinite

    def full(self, q, family):
        """The covariance of all examples, output by output within: [a, d, b, e] as a matrix."""
        a = np.einsum("diej,ijab->adbe", q, family)
        return a.reshape(a.shape[0] * a.shape[1], -1)

    def data_part(self, q, family):
        n = self.P * len(q)
        a, y = self.full(q, family)[:n, :n] + self.T * np.eye(n), self.y[:self.P].ravel()
        return np.linalg.slogdet(a)[1] + y @ np.linalg.solve(a, y)

    def action(self, orders, family):
        total = self.data_part(orders[0], family)
        for layer, q in enumerate(orders):
            n = q.shape[0] * q.shape[1]
            above = np.eye(n)
            if layer + 1 < len(orders):  # a path is a tap and a path of the layer above
                above = np.einsum("diej,ts->dtiesj", orders[layer + 1], np.eye(q.shape[1] // orders[layer + 1].shape[1]))
            ratio = np.linalg.solve(above.reshape(n, n), q.reshape(n, n))
            total += self.WIDTH[layer] * (np.trace(ratio) - np.linalg.slogdet(ratio)[1])
        return total / self.WIDTH[len(orders) - 1]

    def check_predictions(self, r, q, family):
        kernel, n, d = self.full(q, family), self.P * len(q), len(q)
        a, cross = kernel[:n, :n] + self.T * np.eye(n), kernel[:n, n:]
        self.close("mean", r["test_mean"].reshape(-1, d), (cross.T @ np.linalg.solve(a, self.y[:self.P].ravel())).reshape(-1, d))
        variance = np.diag(kernel[n:, n:] - cross.T @ np.linalg.solve(a, cross))
        self.close("deviation", r["test_std"].reshape(-1, d), np.sqrt(variance).reshape(-1, d))

    def check_stationary(self, action, orders, allowed=1.0):
        """Along a random direction of each order parameter; `allowed`: of lcn between equal paths alone."""
        random = np.random.default_rng(1)
        for layer, q in enumerate(orders):
            way = random.normal(size=q.shape)
            way = (way + way.transpose(2, 3, 0, 1)) * (np.eye(q.shape[1])[:, None] if allowed is None else allowed)
            step = [np.zeros(other.shape) for other in orders]
            step[layer] = 1e-5 * way
            up, down = ([q + sign * s for q, s in zip(orders, step)] for sign in (1, -1))
            self.assertLess(abs(action(up) - action(down)) / 2e-5, 1e-6)

    def check_alignments(self, r, q, family):
        """Of the kernels before and after learning; the hidden layer has no prediction."""
        y = self.y[:self.P, 0]
        for name, order in (("alignment_before", np.eye(len(q))), ("kernel_alignment", q)):
            kernel = np.einsum("ij,ijab->ab", order, family)[:self.P, :self.P]
            self.close(name, r[name], y @ kernel @ y / np.linalg.norm(kernel) / (y @ y))
        self.assertNotIn("alignment_after", r)

    def orders(self, r, depth, kind, outputs):
        """Of all layers, each as [output, path, output, path]."""
        found = [r["order_parameter" if k == 0 else f"order_parameter_{k + 1}"] for k in range(depth)]
        if kind == "lcn" and outputs == 1:
            found = [np.diag(q) for q in found]
        return [q if outputs > 1 else q[None, :, None, :] for q in found]

    def check_paths(self, depth, activation, stride, kind="cnn", outputs=1):
        with_kernels = outputs == 1 and kind != "pool"
        r = self.predict_deep(depth, activation, "-network_upper_mask", 2, "-network_upper_stride", stride,
                              *(["-theory_observables", "true"] if with_kernels else []), kind=kind, outputs=outputs)
        family, infinite = self.family(depth, activation, stride, kind)
        self.close("infinite width", np.einsum("ppab->ab", family), infinite, 1e-13)
        orders = self.orders(r, depth, kind, outputs)
        n, q = orders[-1].shape[1], orders[0]
        positions = np.mean([q[:, t:t + n, :, t:t + n] for t in range(0, q.shape[1], n)], axis=0)
        places = np.einsum("diei->die", positions) if kind == "lcn" and outputs == 1 else positions
        self.close("on positions", r["position_order_parameter"].ravel(), places.ravel(), 1e-13)
        self.close("S", r["action"], self.action(orders, family), 1e-11)
        self.check_stationary(lambda q: self.action(q, family), orders, None if kind == "lcn" else 1.0)
        self.check_predictions(r, q, family)
        if with_kernels:
            self.check_alignments(r, q[0, :, 0, :], family)
        self.assertLess(abs(r["sum_rule"]), 1e-9)
        self.assertEqual(r["exact_for_linear"], 1)
        return r

    def test_paths_without_overlap(self):
        self.check_paths(2, "erf", 2)

    def test_paths_that_overlap_in_three_layers(self):
        self.check_paths(3, "linear", 1)
        self.check_paths(3, "erf", 1)

    def test_paths_of_a_locally_connected_network(self):
        r = self.check_paths(3, "erf", 2, "lcn")
        self.assertEqual(r["order_parameter"].shape, (4,))
        np.testing.assert_array_equal(r["readout_order_parameter"], r["order_parameter_3"])
        self.check_paths(2, "erf", 2, "lcn", outputs=2)

    def test_paths_of_a_pooling_network_are_its_taps(self):
        self.assertEqual(self.check_paths(3, "erf", 1, "pool")["order_parameter"].shape, (4, 4))
        self.check_paths(2, "erf", 2, "pool", outputs=2)

    def test_paths_of_two_outputs(self):
        r = self.check_paths(2, "erf", 1, outputs=2)
        self.assertEqual(r["order_parameter"].shape, (2, 6, 2, 6))
        self.assertEqual(r["order_parameter_2"].shape, (2, 3, 2, 3))
        self.check_paths(3, "linear", 2, outputs=2)

    def test_outputs_have_no_order(self):
        words = ["-network_upper_mask", 2, "-data_source", "hdf5"]
        one = self.predict_deep(2, "erf", *words, outputs=2)
        data = harness.write_arrays(self.place / "turned.h5", x=self.x[:, None, None], y=self.y[:, ::-1])
        two = self.predict_deep(2, "erf", *words, "-data_path", data, outputs=2, ranks=1)
        self.close("Q", two["order_parameter"], one["order_parameter"][::-1, :, ::-1])
        self.close("error", two["test_error"], one["test_error"][::-1])

    def test_one_patch_is_a_fully_connected_network(self):
        for outputs in (1, 2):
            fc = self.predict_deep(2, "erf", kind="fc", outputs=outputs, width="15,15", ranks=1)
            for kind in ("cnn", "lcn", "pool"):
                for closure, ranks in (("paths", RANKS if outputs == 2 else 1), ("stacked", 1)):
                    one = self.predict_deep(2, "erf", "-network_upper_mask", 1, "-theory_closure", closure, mask=16, kind=kind,
                                            outputs=outputs, width="15,15", ranks=ranks)
                    for name in ("action", "test_error", "test_bias", "train_error", "infinite_test_error", "log_evidence"):
                        self.close(f"{kind} {closure} {name}", one[name], fc[name])

    def test_wide_paths_are_the_infinite_network_of_every_closure(self):
        for kind in ("cnn", "lcn", "pool"):
            words = dict(kind=kind, width="10000000,10000000")
            paths, stacked = (self.predict_deep(2, "erf", "-network_upper_mask", 2, "-theory_closure", closure, **words, ranks=1)
                              for closure in ("paths", "stacked"))
            infinite = self.predict_deep(2, "erf", "-network_upper_mask", 2, "-theory_model", "infinite", kind=kind)
            for r in (paths, stacked):
                self.close(kind, r["test_error"], infinite["test_error"], 1e-5)

    def check_stacked(self, kind):
        r = self.predict_deep(2, "erf", "-theory_closure", "stacked", width=15, kind=kind)
        kernel = self.layers(2, "erf", 2)[0][-1]
        family = kernel / (len(kernel) * self.PRIOR[2])
        q = r["order_parameter"]
        if kind == "lcn":
            q, family = np.diag(q), family * np.eye(len(q))[:, :, None, None]
        if kind == "pool":
            family = kernel.mean(axis=(0, 1))[None, None] / self.PRIOR[2]
        q = q[None, :, None, :]

        def action(orders):
            value = np.linalg.eigvalsh(orders[0][0, :, 0, :])
            return 2 * np.sqrt(value).sum() - np.log(value).sum() + self.data_part(orders[0], family) / 15

        self.close("S", r["action"], action([q]), 1e-11)
        self.check_stationary(action, [q], None if kind == "lcn" else 1.0)
        self.check_predictions(r, q, family)
        self.assertEqual(r["exact_for_linear"], 0)

    def test_stacked(self):
        for kind in ("cnn", "lcn", "pool"):
            self.check_stacked(kind)

    def test_wide_layers_above_are_one_hidden_layer_of_a_linear_network(self):
        """With mask 1 above and N_2 infinite, Q_2 = 1 and the first layer is alone."""
        words = ["-network_upper_mask", 1, "-network_prior", 1]
        deep = self.predict_deep(2, "linear", *words, width="15,100000000")
        flat = self.predict_deep(1, "linear", "-network_prior", 1, width=15, ranks=1)
        self.close("Q", deep["order_parameter"], flat["order_parameter"], 1e-6)
        self.close("error", deep["test_error"], flat["test_error"], 1e-6)


@once
class Scrambled(Folder):
    """Controls: what an order of the pixels or of the labels cannot change, and what it must."""
    P, PT = 30, 20

    def both(self, how, kind, *words):
        """Predictions from plain and from scrambled data."""
        x, y = make_images((2, 4, 6), self.P + self.PT)
        data = harness.write_arrays(self.place / "data.h5", x=x, y=y)
        new = harness.write_arrays(self.place / "new.h5", x=x[:7])
        words = ["-data_source", "hdf5", "-data_path", data, "-data_train", self.P, "-data_test", self.PT,
                 "-data_normalise", "none", "-data_predict", new, "-network_type", kind, "-network_width", 10,
                 "-temperature", 0.1, "-save_predictions", "true", *words]
        mask = ["-network_mask", "2,3"]
        return (self.predict(*words, *(mask if kind != "fc" else [])),
                self.predict(*words, *(mask if kind != "fc" or how == "patches" else []), "-data_scramble", how))

    def same(self, plain, scrambled, *prefixes):
        for prefix in prefixes:
            for name in ("train_error", "test_bias", "test_variance"):
                self.close(prefix + name, scrambled[prefix + name], plain[prefix + name], 1e-10)
        for name in ("test_mean", "test_std", "new_mean", "new_std"):
            if "" in prefixes:
                self.close(name, scrambled[name], plain[name], 1e-10)

    def differs(self, plain, scrambled):
        self.assertGreater(np.abs(scrambled["test_mean"] - plain["test_mean"]).max(), 1e-2)

    def test_an_order_in_each_patch_is_nothing_to_lcn_and_to_infinite_width(self):
        self.same(*self.both("patches", "lcn"), "", "infinite_")
        plain, scrambled = self.both("patches", "cnn")
        self.same(plain, scrambled, "infinite_")
        self.differs(plain, scrambled)
        self.differs(*self.both("patches", "pool"))

    def test_an_order_of_the_image_is_nothing_to_fc(self):
        self.same(*self.both("pixels", "fc"), "", "infinite_")
        self.same(*self.both("patches", "fc"), "", "infinite_")
        self.differs(*self.both("pixels", "lcn"))

    def test_labels_dealt_out_anew_keep_the_kernel(self):
        plain, scrambled = self.both("labels", "cnn")
        self.close("variance", scrambled["infinite_test_variance"], plain["infinite_test_variance"], 1e-12)
        self.differs(plain, scrambled)


@once
class Learnt(Folder):
    """Order parameters learnt on validation examples, against plain matrices at the program's own."""
    P, PT, PV, T, PRIOR = 30, 20, 40, 0.1, 1.3

    def learn(self, kind, *words, ranks=1):
        self.x, self.y = make_images((1, 1, 12), self.P + self.PT + self.PV)
        data = harness.write_arrays(self.place / "data.h5", x=self.x, y=self.y)
        return self.predict("-data_source", "hdf5", "-data_path", data, "-data_train", self.P, "-data_test", self.PT,
                            "-data_validation", self.PV, "-data_normalise", "none", "-network_type", kind,
                            "-network_width", 10, "-temperature", self.T, "-network_prior", f"1,{self.PRIOR}",
                            *(["-network_mask", 4] if kind != "fc" else []), *words, ranks=ranks)

    def kernels(self, kind):
        """B_ij of erf between all images; of fc and pool the one kernel."""
        patch = self.x.reshape(len(self.x), 1 if kind == "fc" else 3, -1)
        c = np.einsum("aim,bjm->ijab", patch, patch) / patch.shape[2]
        a = 1 + 2 * np.einsum("iiaa->ia", c)
        k = 2 / np.pi * np.arcsin(2 * c / np.sqrt(a[:, None, :, None] * a[None, :, None, :])) / self.PRIOR
        return k.mean(axis=(0, 1), keepdims=True) if kind == "pool" else k / len(k)

    def errors(self, q, kernel):
        """Bias and variance on test and on validation examples."""
        full = np.einsum("ij,ijab->ab", q, kernel)
        a, cross = full[:self.P, :self.P] + self.T * np.eye(self.P), full[:self.P, self.P:]
        square = (cross.T @ np.linalg.solve(a, self.y[:self.P]) - self.y[self.P:]) ** 2
        variance = np.diag(full)[self.P:] - np.einsum("av,av->v", cross, np.linalg.solve(a, cross))
        return [part.mean() for both in (square, variance) for part in (both[:self.PT], both[self.PT:])]

    def check(self, kind):
        r, k = self.learn(kind), None
        k = self.kernels(kind)
        for prefix in ("", "learnt_", "infinite_"):
            q = np.atleast_1d(np.ones(len(k)) if prefix == "infinite_" else r[prefix + "order_parameter"])
            expected = self.errors(q if q.ndim == 2 else np.diag(q), k)
            for name, value in zip(("test_bias", "validation_bias", "test_variance", "validation_variance"), expected):
                self.close(prefix + name, r[prefix + name], value, 1e-7)
            self.close(prefix, r[prefix + "validation_error"], expected[1] + expected[3], 1e-7)
        self.assertLess(r["learnt_validation_bias"], min(r["validation_bias"], r["infinite_validation_bias"]))
        self.assertEqual(r["learnt_converged"], 1)
        self.assertEqual(r["learnt_order_parameter"].shape, r["order_parameter"].shape)
        return r, k

    def test_cnn(self):
        r, k = self.check("cnn")
        random = np.random.default_rng(1)
        for _ in range(5):  # nothing near is much better: of first order the slope, which is 1e-4 of L
            w = np.eye(3) + 0.03 * random.normal(size=(3, 3))
            bias = self.errors(w @ r["learnt_order_parameter"] @ w.T, k)[1]
            self.assertGreater(bias, r["learnt_validation_bias"] * (1 - 1e-3))

    def test_lcn(self):
        r, _ = self.check("lcn")
        other = self.learn("lcn", ranks=3)
        self.close("L", other["learnt_validation_bias"], r["learnt_validation_bias"], 1e-3)

    def test_pool_and_fc_learn_a_scale(self):
        for kind in ("pool", "fc"):
            r, k = self.check(kind)
            scales = [self.errors(q * np.ones((1, 1)), k)[1] for q in r["learnt_order_parameter"] * [0.7, 1.4]]
            self.assertGreater(min(scales), r["learnt_validation_bias"])

    def test_examples_for_validation_change_nothing_else(self):
        with_them = self.learn("cnn")
        without = self.learn("cnn", "-data_validation", 0, ranks=3)
        for name in ("test_error", "infinite_test_error", "action", "order_parameter"):
            self.close(name, with_them[name], without[name], 1e-10)
        self.assertNotIn("learnt_test_bias", without)
        self.assertNotEqual(with_them["data_digest"], without["data_digest"])


@once
@harness.needs_data
class Classes(Folder):
    def test_three_digits_have_accuracy_and_a_pool_network_too(self):
        for kind in ("cnn", "pool"):
            r = self.predict("-data_source", "mnist", "-data_classes", "0,1,2", "-data_train", 60, "-data_test", 60,
                             "-network_type", kind, "-network_mask", 14, "-network_width", 50)
            self.assertGreater(r["accuracy"], 0.85)
            self.assertEqual(r["test_covariance"].shape, (3, 3))


SMALL = ["-data_train", 20, "-data_test", 5, "-data_size", 8]


@once
class BadInput(Folder):
    def refused(self, words, *rest, code=2):
        done = self.run_program(*SMALL, *rest, code=code)
        self.assertEqual(len(done.errors), 1, done.err)
        self.assertIn(words, done.errors[0])
        self.assertFalse((self.place / "out.h5").exists())

    def test_what_cannot_be(self):
        cnn = ["-network_type", "cnn"]
        self.refused("network_mask", *cnn, "-network_mask", 9)
        self.refused("network_mask", *cnn, "-network_mask", "4,9")
        self.refused("network_mask", *cnn, "-network_mask", "1,2,3")
        self.refused("network_stride", *cnn, "-network_stride", 0)
        self.refused("network_stride", *cnn, "-network_stride", -1)
        self.refused("network_bias", *cnn, "-network_bias", 0.1)
        self.refused("ntk", *cnn, "-theory_model", "ntk")
        self.refused("theory_decomposition", *cnn, "-theory_decomposition", "d.h5")
        self.refused("memory", *cnn, "-memory", "1M", code=5)
        deep = [*cnn, "-network_depth", 2]
        self.refused("theory_average", *deep, "-theory_average", "true", "-theory_closure", "stacked")
        self.refused("network_upper_mask", *deep, "-network_upper_mask", 3)
        self.refused("network_upper_mask", *deep, "-network_upper_mask", "2,2")
        self.refused("network_upper_stride", *deep, "-network_upper_stride", 0)
        self.refused("widths equal", *deep, "-network_width", "10,20", "-theory_closure", "stacked")
        self.refused("'paths' needs odd", *deep, "-network_activation", "relu")
        self.refused("do not overlap", "-network_type", "lcn", "-network_depth", 2, "-network_mask", 2,
                     "-network_upper_mask", 2, "-network_upper_stride", 1)
        self.refused("do not overlap", *cnn, "-network_stride", 3, "-data_scramble", "patches")
        self.refused("data_scramble", *cnn, "-data_scramble", "rows")
        learn = ["-data_validation", 10]
        self.refused("'renormalised' only", *cnn, *learn, "-theory_model", "infinite")
        self.refused("one hidden layer", *learn, "-network_depth", 2)
        self.refused("network_bias", *learn, "-network_bias", 0.1)
        self.refused("data_validation", *cnn, "-data_validation", -1)

    def test_what_is_worth_a_warning(self):
        done = self.run_program(*SMALL, "-network_type", "cnn", "-network_mask", 3, "-network_width", 3)
        self.assertIn("28 of 64 pixels", done.err)
        self.assertIn("4 patches are more than 3 channels", done.err)
        done = self.run_program(*SMALL, "-network_type", "cnn", "-network_activation", "relu")
        self.assertIn("relu is not odd", done.err)

    def test_labels_that_are_all_zero_have_no_alignment(self):
        data = harness.write_arrays(self.place / "zero.h5", x=make_images((1, 4, 4), 20)[0], y=np.zeros(20))
        for kind in (["cnn", "-network_mask", 2], ["fc"]):
            done = self.run_program("-data_source", "hdf5", "-data_path", data, "-data_train", 20, "-data_test", 0,
                                    "-data_normalise", "none", "-theory_observables", "true", "-network_type", *kind)
            self.assertIn("labels are all zero", done.err)
            r = harness.read(self.place / "out.h5")
            self.assertTrue(np.isnan(r["alignment_after"]))
            self.assertGreater(r["hidden_trace_after"], 0.0)

    def test_average_whose_chains_have_not_mixed_fails_and_is_kept(self):
        words = ["-network_type", "cnn", "-network_mask", 2, "-network_width", 3, "-theory_average", "true"]
        done = self.run_program(*SMALL, *words, "-scan_temperature", "0.0001,1", "-theory_draws", 24, code=4)
        r = harness.read(self.place / "out.h5")
        np.testing.assert_array_equal(r["average_converged"], [0, 1], str(r["average_rhat"]))
        self.assertIn(f"has not converged at 1 of 2 points (R-hat up to {r['average_rhat'][0]:.2f}", done.err)
        self.assertIn("the average did not converge at some points", done.err)
        self.assertTrue(np.isfinite(r["average_test_error"]).all())
        with h5py.File(self.place / "out.h5") as file:
            self.assertEqual(file.attrs["status"], "failed")

    def test_average_of_few_draws_fails(self):
        words = ["-network_type", "cnn", "-network_mask", 4, "-network_width", 5, "-theory_average", "true"]
        done = self.run_program(*SMALL, *words, "-theory_draws", 4, code=4)
        self.assertIn("less than 8 draws of a chain", done.err)
        done = self.run_program(*SMALL, *words, "-theory_draws", 100)
        self.assertNotIn("has not converged", done.err)
        self.assertEqual(harness.read(self.place / "out.h5")["average_converged"], 1)

    def test_patches_without_any_signal_do_no_harm(self):
        x = np.random.default_rng(1).normal(size=(25, 1, 8, 8))
        x[:, :, :4, :4] = 0.0
        data = harness.write_arrays(self.place / "data.h5", x=x, y=x[:, 0, 7, 7])
        for activation in ("relu", "erf", "linear"):
            r = self.predict("-data_source", "hdf5", "-data_path", data, "-data_train", 20, "-data_test", 5,
                             "-data_normalise", "none", "-network_type", "cnn", "-network_activation", activation)
            self.assertTrue(np.isfinite(r["test_error"]))
            self.assertAlmostEqual(r["order_parameter"][0, 0], 1.0, delta=1e-9)

    def test_a_point_without_a_posterior_does_not_take_the_others_with_it(self):
        words = ["-data_train", 100, "-data_test", 5, "-data_size", 8, "-network_type", "lcn", "-network_mask", 4,
                 "-network_activation", "linear"]
        for theory in ("infinite", "renormalised"):
            done = self.run_program(*words, "-theory_model", theory, "-scan_temperature", "1e-18,0.1,1", code=4)
            self.assertIn("not positive definite" if theory == "infinite" else "temperature", done.err)
            r = harness.read(self.place / "out.h5")
            self.assertEqual(np.isfinite(r["test_error"]).tolist(), [False, True, True])
            self.assertEqual(r["converged"].tolist(), [0, 1, 1])

    def test_a_dry_run_says_what_is_kept(self):
        done = self.run_program(*SMALL, "-network_type", "cnn", "-dry_run")
        self.assertIn("100 % kept", done.out)
        for kind in ("fc", "pool", "cnn"):
            done = self.run_program(*SMALL, "-network_type", kind, "-data_validation", 20, "-dry_run")
            self.assertRegex(done.out, "learning +[0-9.e+]+ flops")
        self.assertNotIn("learning ", self.run_program(*SMALL, "-dry_run").out)


@once
class Stop(Folder):
    def test_a_stopped_scan_keeps_its_finished_points_and_ends_with_the_same_bits(self):
        words = ["predict", *SMALL, "-network_type", "cnn", "-network_mask", 4, "-theory_average", "true",
                 "-theory_draws", 40, "-scan_temperature", "0.1:1:40", "-output"]
        done = harness.run(*words, "out.h5", "-walltime", "00:00:01", cwd=self.place)
        self.assertEqual(done.code, 6, done.err)
        for name, more in (("out.h5", ["-resume"]), ("whole.h5", [])):
            done = harness.run(*words, name, *more, cwd=self.place)
            self.assertEqual(done.code, 0, done.err)
        resumed, whole = harness.read(self.place / "out.h5"), harness.read(self.place / "whole.h5")
        for name in whole:
            np.testing.assert_array_equal(resumed[name], whole[name], err_msg=name)


@once
class SeveralMinima(Folder):
    """Labels in weak directions of a linear network, strong ones without labels: two minima, which one order parameter can be
    proved to have."""

    def predict_toy(self, square, *words):
        strength = np.array([10.0] * 40 + [0.05] * 5)
        y = np.where(strength < 1, np.sqrt(square / 5), 0.0)
        data = harness.write_arrays(self.place / "toy.h5", x=np.diag(np.sqrt(45 * strength)).reshape(45, 1, 1, 45), y=y)
        return self.predict("-data_source", "hdf5", "-data_path", data, "-data_normalise", "none", "-data_train", 45,
                            "-data_test", 0, "-network_activation", "linear", "-network_width", 1, "-temperature", 0.1,
                            *words)

    def test_starts_find_the_minima_that_bisection_proves(self):
        for square in (30, 60):
            proved = self.predict_toy(square, "-network_type", "fc")
            self.assertEqual(proved["metastable_count"], 1)
            for name in ("cnn", "lcn"):
                r = self.predict_toy(square, "-network_type", name, "-network_mask", 45, "-theory_starts", 12)
                self.assertEqual(r["metastable_count"], 1)
                self.close("lowest", r["action"], proved["action"], 1e-9)
                self.close("other", r["metastable_action"], proved["metastable_action"], 1e-9)

    def test_every_start_of_a_stiff_problem_converges(self):
        r = self.predict_toy(60, "-network_type", "cnn", "-network_mask", 9, "-theory_starts", 12)
        self.assertEqual(r["converged"], 1)
        self.assertLess(r["residual"], 1e-7)


@once
class Memory(Folder):
    def test_features_that_do_not_fit_are_computed_again_to_the_same_bits(self):
        words = ["-data_train", 200, "-data_test", 20, "-network_type", "cnn", "-network_mask", 4, "-data_size", 16]
        kept = self.predict(*words)
        done = self.run_program(*words, "-memory", "67M")
        self.assertNotIn("100 % kept", done.out)
        again = harness.read(self.place / "out.h5")
        for name in ("order_parameter", "test_error", "action"):
            np.testing.assert_array_equal(kept[name], again[name])


if __name__ == "__main__":
    harness.main()
