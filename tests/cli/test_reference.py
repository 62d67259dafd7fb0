# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows of the reference file, computed by independent programs, through the installed program and an HDF5 file."""
import os
import unittest
from pathlib import Path

import numpy as np

import sys
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness

RANKS = int(os.environ.get("FINWIDTH_RANKS", "1"))
BANDWIDTH = os.environ.get("FINWIDTH_BANDWIDTH", "")
ACTIVATIONS = {"id": "linear", "quad": "quadratic"}
REFERENCE = harness.reference("fully_connected")


def make_data(p):
    """The closed formula of the reference file: training rows first."""
    mu = np.arange(1, p["P"] + p["Pt"] + 1)[:, None].astype(float)
    i = np.arange(1, p["N0"] + 1)[None, :].astype(float)
    x = np.sqrt(2.0) * np.sin(0.7 * mu + 1.3 * i + 0.1 * mu * i)
    columns = []
    for d in range(1, p["D"] + 1):
        w = np.cos(0.9 * d * i[0] + 0.5 * (d - 1))
        z = x @ w / np.sqrt(p["N0"])
        columns.append(p["amp"] * (z + 0.5 * np.sin(3 * z)) + p["noise"] * np.sin(2.3 * mu[:, 0] + d - 1))
    return x, np.stack(columns, axis=1)


def options(p, data):
    words = ["-data_source", "hdf5", "-data_path", data, "-data_train", p["P"], "-data_test", p["Pt"],
             "-data_normalise", "none", "-network_width", ",".join(map(str, p["widths"])),
             "-network_activation", ACTIVATIONS.get(p["act"], p["act"]), "-temperature", p["T"],
             "-network_prior", ",".join(map(str, p["lam"])), "-theory_mean", "off", "-save_predictions", "true"]
    if BANDWIDTH:
        words += ["-theory_bandwidth", BANDWIDTH]
    if p.get("sb2"):
        words += ["-network_bias", ",".join(map(str, p["sb2"]))]
    return words


class ReferenceRows(unittest.TestCase):
    def close(self, name, actual, expected, tolerance=1e-8):
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=0, err_msg=name)

    def test_data_formula_is_that_of_the_file(self):
        x, y = make_data(dict(P=60, Pt=40, N0=30, D=3, amp=1.0, noise=0.1))
        check = REFERENCE["check"]
        self.close("X[0,0]", x[0, 0], check["X_0_0"], 1e-13)
        self.close("X[59,29]", x[59, 29], check["X_59_29"], 1e-12)
        self.close("y[0]", y[0], check["y_0"], 1e-13)
        self.close("yt[39]", y[99], check["yt_39"], 1e-12)

    def check_row(self, row):
        p, v, place = row["parameters"], row["values"], harness.folder()
        x, y = make_data(p)
        data = harness.write_arrays(place / "data.h5", x=x, y=y[:, 0] if p["D"] == 1 else y)
        done = harness.run("predict", *options(p, data), "-output", place / "out.h5", ranks=RANKS, cwd=place)
        self.assertEqual(done.code, 0, done.err)
        r = harness.read(place / "out.h5")
        self.close("Q", np.prod(r["order_parameter"]), v["Q_product"])
        self.close("Q_layers", r["order_parameter"], v["Q_layers"])
        self.close("S", r["action"], v["S"])
        found = [np.prod(r["order_parameter"])]
        found += [np.prod(q) for q in r["metastable_order_parameter"] if not np.isnan(q).any()]
        self.close("roots", sorted(found), sorted(v["roots_Q_product"]))
        self.close("log_evidence", r["log_evidence"], v["log_evidence_saddle"])
        for ours, theirs in [("train_bias", "train_bias"), ("train_variance", "train_var"), ("test_bias", "test_bias"),
                             ("test_variance", "test_var"), ("infinite_test_bias", "nngp_test_bias"),
                             ("infinite_test_variance", "nngp_test_var"), ("log_evidence_average", "log_evidence_exactQ"),
                             ("log_evidence_laplace", "log_evidence_laplace"),
                             ("average_order_parameter", "Q_posterior_mean"),
                             ("average_test_bias", "mixture_test_bias"), ("average_test_variance", "mixture_test_var")]:
            if theirs in v:
                self.close(ours, r[ours], v[theirs])
        self.close("mean", r["test_mean"][:3, 0], v["test_mean_first3"])
        self.close("variance", r["test_std"][:3, 0] ** 2, v["test_var_first3"])
        self.close("sum", r["test_error"], r["test_bias"] + r["test_variance"], 1e-14)


    def check_composition(self, row, name):
        p, v, place = row["parameters"], row["values"], harness.folder()
        x, y = make_data(p)
        data = harness.write_arrays(place / "data.h5", x=x, y=y[:, 0])
        done = harness.run("predict", *options(p, data), "-theory_composition", name, "-output", place / "out.h5",
                           ranks=RANKS, cwd=place)
        self.assertEqual(done.code, 0, done.err)
        r = harness.read(place / "out.h5")
        self.close("Q_layers", r["order_parameter"], v["Q_layers"])
        self.close("test_bias", r["test_bias"], v["test_bias"])
        self.close("test_variance", r["test_variance"], v["test_var"])
        self.close("mean", r["test_mean"][:3, 0], v["test_mean_first3"])
        if "S" in v:
            self.close("S", r["action"], v["S"])

    def check_zero_temperature(self, row):
        p, v, place = row["parameters"], row["values"], harness.folder()
        x, y = make_data(p)
        data = harness.write_arrays(place / "data.h5", x=x, y=y[:, 0])
        done = harness.run("predict", *options(p, data), "-output", place / "out.h5", ranks=RANKS, cwd=place)
        self.assertEqual(done.code, 0, done.err)
        r = harness.read(place / "out.h5")
        self.close("Q", r["total_order_parameter"], v["Q_product"])
        self.close("test_bias", r["test_bias"], v["test_bias"])
        self.close("test_variance", r["test_variance"], v["test_var"])
        self.close("mean", r["test_mean"][:3, 0], v["test_mean_first3"])
        self.assertLess(r["train_error"], 1e-20)

    def run_outputs(self, row, *words):
        p, place = row["parameters"], harness.folder()
        x, y = make_data(p)
        data = harness.write_arrays(place / "data.h5", x=x, y=y)
        done = harness.run("predict", *options(p, data), *words, "-output", place / "out.h5", ranks=RANKS, cwd=place)
        self.assertEqual(done.code, 0, done.err)
        return harness.read(place / "out.h5")

    def check_matrix(self, row):
        v, r = row["values"], self.run_outputs(row)
        # entries off the diagonal are small: to 1e-8 of the diagonal
        np.testing.assert_allclose(r["order_parameter"], v["Q"], rtol=1e-8, atol=1e-9)
        self.close("S", r["action"], v["S"])
        self.close("test_bias", r["test_bias"], v["test_bias_per_output"])
        self.close("test_variance", r["test_variance"], v["test_var_per_output"])
        self.close("train_bias", np.mean(r["train_bias"]), v["train_bias"])
        self.close("train_variance", np.mean(r["train_variance"]), v["train_var"])
        self.close("mean", r["test_mean"][0], v["test_mean_first"])
        self.close("sum", r["test_error"], r["test_bias"] + r["test_variance"], 1e-14)
        self.close("std", np.mean(r["test_std"] ** 2, axis=0), v["test_var_per_output"])
        self.close("covariance", np.mean(r["test_example_covariance"], axis=0), r["test_covariance"], 1e-12)
        self.assertEqual(r["complete"], 0)  # P = 60 > N = 40: not proved

    def check_zero_temperature_matrix(self, row):
        v, r = row["values"], self.run_outputs(row)
        np.testing.assert_allclose(r["order_parameter"], v["Q"], rtol=1e-8, atol=1e-9)
        self.assertEqual(r["complete"], 1)
        self.assertLess(np.max(r["train_error"]), 1e-20)

    def check_mean(self, row, shift, expected):
        p, place = row["parameters"], harness.folder()
        x, y = make_data(p)
        data = harness.write_arrays(place / "data.h5", x=x, y=y[:, 0] + shift)
        done = harness.run("predict", *options(p, data), "-theory_mean", "on", "-output", place / "out.h5", ranks=RANKS,
                           cwd=place)
        self.assertEqual(done.code, 0, done.err)
        r = harness.read(place / "out.h5")
        self.close("Q", r["total_order_parameter"], expected["Q"])
        self.close("s", r["mean_order_parameter"], expected["s"])
        self.assertEqual(r["mean_terms"], 1)
        self.assertEqual(r["converged"], 1)
        return r

    def check_nonodd(self, row):
        v = row["values"]
        r = self.check_mean(row, 0.0, v)
        self.close("S", r["action"], v["S"])
        self.close("log_evidence", r["log_evidence"], -20.0 * v["S"] - 30.0 * np.log(2.0 * np.pi))
        self.close("test_bias", r["test_bias"], v["test_bias"])
        self.close("test_variance", r["test_variance"], v["test_var"])
        self.close("mean", r["test_mean"][:3, 0], v["test_mean_first3"])
        # labels with a large mean, from the text of the theory note
        self.check_mean(row, 8.0, dict(Q=8.2687577462, s=-0.0108717181))


def add_rows():
    for row in REFERENCE["rows"]:
        kind, name = row["kind"], f"test_row_{row['id']}"
        if kind == "scalar" and row["parameters"]["L"] >= 1:
            setattr(ReferenceRows, name, lambda self, row=row: self.check_row(row))
        elif kind in ("nested", "linearised2"):
            setattr(ReferenceRows, name,
                    lambda self, row=row, word=kind.rstrip("2"): self.check_composition(row, word))
        elif kind == "nonodd":
            setattr(ReferenceRows, name, lambda self, row=row: self.check_nonodd(row))
        elif kind == "matrix":
            setattr(ReferenceRows, name, lambda self, row=row: self.check_matrix(row))
        elif kind == "T0matrix":
            setattr(ReferenceRows, name, lambda self, row=row: self.check_zero_temperature_matrix(row))
        elif kind == "T0":
            setattr(ReferenceRows, name, lambda self, row=row: self.check_zero_temperature(row))


add_rows()
if __name__ == "__main__":
    harness.main()
