# SPDX-License-Identifier: GPL-3.0-or-later
"""MNIST and CIFAR-10: the same numbers on any number of ranks. FINWIDTH_IMAGE_SIZES chooses P, FINWIDTH_RANKS the numbers."""
import os
import sys
import unittest
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness

SIZES = [int(word) for word in os.environ.get("FINWIDTH_IMAGE_SIZES", "500").split()]
RANKS = [int(word) for word in os.environ.get("FINWIDTH_RANKS", "1 3").split()]
CASES = [("mnist", "0,1"), ("mnist", "3,8"), ("cifar10", "0,1")]


@harness.needs_data
class Images(unittest.TestCase):
    def check(self, source, classes, n_train):
        place, results = harness.folder(), []
        for ranks in RANKS:
            done = harness.run("predict", "-data_source", source, "-data_classes", classes, "-data_train", n_train,
                               "-data_test", 400, "-network_width", 200, "-save_predictions", "-output", f"{ranks}.h5",
                               ranks=ranks, cwd=place)
            self.assertEqual(done.code, 0, done.err)
            results.append(harness.read(place / f"{ranks}.h5"))
        for other in results[1:]:
            for name in ("order_parameter", "action", "log_evidence", "log_evidence_average", "train_error",
                         "test_bias", "test_variance", "average_test_bias", "average_test_variance",
                         "infinite_test_error"):
                np.testing.assert_allclose(other[name], results[0][name], rtol=1e-10, err_msg=name)
            np.testing.assert_allclose(other["test_mean"], results[0]["test_mean"], rtol=0, atol=1e-10)
        self.assertGreater(results[0]["accuracy"], 0.6)  # CIFAR-10 in gray at P = 500 has 0.685


for _source, _classes in CASES:
    for _size in SIZES:
        setattr(Images, f"test_{_source}_{_classes.replace(',', '_')}_at_{_size}",
                lambda self, s=_source, c=_classes, n=_size: self.check(s, c, n))

if __name__ == "__main__":
    harness.main()
