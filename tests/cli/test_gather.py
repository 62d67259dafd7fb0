# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a scan into one: nothing lost, nothing accepted that should not be, whatever the order or the ranks."""
import hashlib
import os
import random
import shutil
import subprocess
import sys
import time
import unittest
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness
from harness import read, run

SCAN = ["-data_train", 40, "-data_test", 10, "-scan_temperature", "0.1,0.2,0.3", "-scan_network_width", "10,20"]
SOLVER = ("iterations", "residual", "evaluations", "bandwidth")
N_POINT = int(os.environ.get("FINWIDTH_GATHER_POINTS", 144))


def digest(path):
    """Of all arrays with their names and axes: what must not depend on order and ranks."""
    hash_ = hashlib.sha256()
    with h5py.File(path) as file:
        def add(name, item):
            if isinstance(item, h5py.Dataset):
                hash_.update(f"{name} {item.shape} {[list(axis.keys()) for axis in item.dims]}".encode())
                value = item[()]
                hash_.update(b"\0".join(value.ravel()) if value.dtype == object else value.tobytes())  # texts are pointers
        file.visititems(add)
    return hash_.hexdigest()


class Gather(unittest.TestCase):
    def setUp(self):
        self.place = harness.folder().resolve()
        (self.place / "parts").mkdir()

    def point(self, index, name=None, *words):
        done = run("predict", *SCAN, "-scan_index", index, "-output", f"parts/{name or index}.h5", *words, cwd=self.place)
        self.assertEqual(done.code, 0, done.err)

    def gather(self, *words, ranks=1, **more):
        return run("gather", *words, ranks=ranks, cwd=self.place, **more)

    def refused(self, code, message, *words, ranks=1):
        done = self.gather(*words, ranks=ranks)
        self.assertEqual(done.code, code, done.err)
        self.assertEqual(len(done.errors), 1, done.err)
        self.assertIn(message, done.errors[0])
        self.assertFalse((self.place / "out.h5").exists())

    def test_tasks_of_a_job_array_give_the_file_of_one_job(self):
        self.assertEqual(run("predict", *SCAN, "-output", "one.h5", cwd=self.place).code, 0)
        for index in ("0-1", "2", "3,5", "4"):
            self.point(index)
        done = self.gather("out.h5", "parts", ranks=2)
        self.assertEqual(done.code, 0, done.err)
        self.assertEqual(done.lines, [])
        one, out = read(self.place / "one.h5"), read(self.place / "out.h5")
        self.assertEqual(sorted(one), sorted(out))
        for name in one:
            self.assertEqual(one[name].shape, out[name].shape, name)
            if name not in SOLVER:
                np.testing.assert_allclose(out[name], one[name], rtol=1e-12, atol=1e-15, err_msg=name)
        self.assertEqual(harness.attribute(self.place / "out.h5", "status"), "complete")
        self.assertEqual(harness.attribute(self.place / "out.h5", "data_digest"),
                         harness.attribute(self.place / "one.h5", "data_digest"))
        self.assertEqual(run("verify", "out.h5", cwd=self.place).code, 0)
        self.assertEqual(run("plot", "out.h5", "-output", "f.png", cwd=self.place).code, 0)

    def test_missing_points_are_filled_and_listed(self):
        self.point("0")
        self.point("3-4")
        done = self.gather("out.h5", "parts/0.h5", "parts/3-4.h5")
        self.assertEqual(done.code, 0, done.err)
        self.assertIn("3 points are missing (scan_index 1-2,5): ", done.err)
        self.assertEqual(list(read(self.place / "out.h5", "gather")["missing_point"]), [1, 2, 5])
        r = read(self.place / "out.h5")
        np.testing.assert_array_equal(r["temperature"], [0.1, 0.2, 0.3])
        np.testing.assert_array_equal(np.isfinite(r["test_error"]), [[True, False], [False, True], [True, False]])
        self.assertEqual(list(r["converged"].ravel()), [1, -1, -1, 1, 1, -1])
        self.assertEqual(harness.attribute(self.place / "out.h5", "status"), "partial")

    def test_what_was_gathered_can_be_gathered_again_with_the_rest(self):
        self.point("0-2")
        self.assertEqual(self.gather("parts/some.h5", "parts/0-2.h5").code, 0)
        os.remove(self.place / "parts/0-2.h5")
        self.point("3-5")
        done = self.gather("out.h5", "parts")
        self.assertEqual(done.code, 0, done.err)
        self.assertEqual(harness.attribute(self.place / "out.h5", "status"), "complete")
        before = digest(self.place / "out.h5")
        self.assertEqual(self.gather("out.h5", "parts", "out.h5", "-overwrite").code, 0)
        self.assertEqual(digest(self.place / "out.h5"), before)

    def test_a_part_is_not_what_is_written(self):
        for index in ("0-2", "3-5"):
            self.point(index)
        self.refused(2, "part of a scan", "parts/0-2.h5", "parts/3-5.h5", "-overwrite")

    def test_equal_duplicates_are_kept_once_and_different_ones_are_an_error_that_names_both(self):
        for index in ("0-2", "2-5"):
            self.point(index)
        done = self.gather("out.h5", "parts", ranks=3)
        self.assertEqual(done.code, 0, done.err)
        self.assertIn("1 points are in several files", done.out)
        os.remove(self.place / "out.h5")
        forge(self.place / "parts/2-5.h5", self.place / "parts/forged.h5", "predict/test_error", 3, 0.5)
        self.assertEqual(run("verify", "parts/forged.h5", cwd=self.place).code, 0)
        self.refused(2, "different numbers for point 5", "out.h5", "parts", ranks=2)
        done = self.gather("out.h5", "parts")
        for name in ("parts/2-5.h5", "parts/forged.h5"):
            self.assertIn(name, done.errors[0])

    def test_how_a_sampled_point_was_computed_is_not_compared(self):
        done = run("sample", "-data_train", 8, "-data_test", 4, "-network_width", 4, "-scan_temperature", "0.5,1",
                   "-sampler_samples", 10, "-sampler_chains", 2, "-output", "parts/0.h5", cwd=self.place)
        self.assertEqual(done.code, 4, done.err)
        forge(self.place / "parts/0.h5", self.place / "parts/1.h5", "predict/iterations", 1, 77)
        forge(self.place / "parts/0.h5", self.place / "parts/2.h5", "sample/test_error_z_score", 1, 77.0)
        done = self.gather("out.h5", "parts")
        self.assertEqual(done.code, 0, done.err)
        forge(self.place / "parts/0.h5", self.place / "parts/3.h5", "sample/test_error", 1, 77.0)
        done = self.gather("out.h5", "parts", "-overwrite")
        self.assertEqual(done.code, 2, done.err)

    def test_files_that_differ_in_what_no_point_changes_are_named(self):
        for index in range(4):
            self.point(index)
        forge(self.place / "parts/2.h5", self.place / "forged.h5", "predict/layer", 0, 7)
        os.replace(self.place / "forged.h5", self.place / "parts/2.h5")
        for ranks in (1, 2):
            done = self.gather("out.h5", "parts", ranks=ranks)
            self.assertEqual(done.code, 2, done.err)
            self.assertIn("parts/2.h5'", done.errors[0])
            self.assertRegex(done.errors[0], r"'parts/[013]\.h5'")

    def test_damaged_and_foreign_files_are_listed_and_skipped(self):
        for index in range(4):
            self.point(index)
        parts = self.place / "parts"
        data = bytearray((parts / "1.h5").read_bytes())
        data[len(data) // 3] ^= 4
        (parts / "1.h5").write_bytes(data)
        (parts / "2.h5").write_bytes((parts / "2.h5").read_bytes()[:2000])
        (parts / "text.h5").write_text("temperature,error\n")
        (parts / "empty.h5").touch()
        with h5py.File(parts / "foreign.h5", "w") as file:
            file["x"] = [1.0]
        for ranks in (1, 3):
            done = self.gather("out.h5", "parts", "-overwrite", ranks=ranks)
            self.assertEqual(done.code, 0, done.err)
            g = read(self.place / "out.h5", "gather")
            self.assertEqual([name.decode() for name in g["skipped_file"]],
                             [f"parts/{name}.h5" for name in ("1", "2", "empty", "foreign", "text")])
            self.assertIn("checksum", g["skipped_reason"][0].decode())
            self.assertIn(f"5 files were skipped (the first: {g['skipped_reason'][0].decode()})", done.err)
            self.assertEqual(list(g["missing_point"]), [1, 2, 4, 5])

    def test_other_inputs_and_versions_are_refused(self):
        self.point("0")
        self.point("1", None, "-network_depth", 2)
        self.refused(2, "come from different inputs: the second has 'network_depth: 2'", "out.h5", "parts", ranks=2)
        os.remove(self.place / "parts/1.h5")
        forge(self.place / "parts/0.h5", self.place / "parts/old.h5", "program_version", None, "0.0.9")
        self.refused(2, "different versions of the program", "out.h5", "parts")

    def test_other_data_under_the_same_name_are_refused(self):
        rows = np.random.default_rng(5).normal(size=(60, 5))
        data = ["-data_source", "csv", "-data_path", "d.csv", "-data_normalise", "none"]
        np.savetxt(self.place / "d.csv", rows, delimiter=",")
        self.point("0-2", "0", *data)
        self.point("3-4", "1", *data)
        of_parts = harness.attribute(self.place / "parts/0.h5", "files_digest")
        self.assertRegex(of_parts, "^[0-9a-f]{16}$")
        self.assertEqual(self.gather("out.h5", "parts").code, 0)
        self.assertEqual(harness.attribute(self.place / "out.h5", "files_digest"), of_parts)
        self.assertEqual(self.gather("again.h5", "out.h5", "parts").code, 0)
        self.assertEqual(harness.attribute(self.place / "again.h5", "files_digest"), of_parts)
        os.remove(self.place / "out.h5")
        rows[3, 2] += 1.0
        np.savetxt(self.place / "d.csv", rows, delimiter=",")
        self.point("5", "2", *data)
        for ranks in (1, 2):
            self.refused(2, "'parts/0.h5' and 'parts/2.h5' come from different data", "out.h5", "parts", ranks=ranks)

    def test_warnings_of_the_parts_are_those_of_the_whole(self):
        said = {"3": "of both\nof the first", "0": "of the second\nof both"}
        for index, text in said.items():
            self.point(index, f"plain{index}")
            forge(self.place / f"parts/plain{index}.h5", self.place / f"parts/{index}.h5", "warnings", None, text)
            os.remove(self.place / f"parts/plain{index}.h5")
        for ranks in (1, 2):
            done = self.gather("out.h5", "parts", "-overwrite", ranks=ranks)
            self.assertEqual(done.code, 0, done.err)
            warnings = harness.attribute(self.place / "out.h5", "warnings").splitlines()
            self.assertEqual(warnings[:3], ["of the second", "of both", "of the first"])
            self.assertEqual([line for line in warnings if "/gather/missing_point" in line], warnings[3:])
            self.assertIn("finwidth: warning: of the first", done.err)
        self.point("1-2,4-5", "rest")
        self.assertEqual(self.gather("whole.h5", "out.h5", "parts/rest.h5").code, 0)
        self.assertEqual(harness.attribute(self.place / "whole.h5", "warnings").splitlines(), warnings[:3])

    def test_bad_calls(self):
        self.point("0")
        self.refused(2, "usage", "out.h5")
        self.refused(2, "usage", )
        self.refused(2, "no meaning", "out.h5", "parts", "-output", "x.h5")
        self.refused(3, "nowhere.h5", "out.h5", "nowhere.h5")
        self.refused(2, "must end in .h5", "out.txt", "parts")
        (self.place / "empty").mkdir()
        self.refused(3, "no result file", "out.h5", "empty")
        (self.place / "empty/a.h5").write_text("x")
        self.refused(3, "none of 1 files can be used", "out.h5", "empty", ranks=2)
        done = run("predict", "-data_train", 20, "-data_test", 5, "-output", "single.h5", cwd=self.place)
        self.assertEqual(done.code, 0, done.err)
        self.refused(2, "not of a scan", "out.h5", "single.h5")
        (self.place / "exists.h5").write_text("x")
        done = self.gather("exists.h5", "parts")
        self.assertEqual(done.code, 7, done.err)

    def test_many_files_in_any_order_on_any_ranks(self):
        n = int(round(N_POINT ** 0.5))
        maker = subprocess.run([os.environ["FINWIDTH_MAKE_POINTS"], "-output", str(self.place / "parts"), "-scan_temperature",
                                f"0.1:1:{n}", "-scan_network_width", f"1:{n}:{n}"], capture_output=True, text=True)
        self.assertEqual(maker.returncode, 0, maker.stderr)
        bad = random.Random(1).sample(range(n * n), n * n // 20)
        for point in bad:
            path = self.place / f"parts/{point:06}.h5"
            data = bytearray(path.read_bytes())
            data[point % len(data)] ^= 1
            path.write_bytes(data)
        begin = time.time()
        done = self.gather("out.h5", "parts", ranks=2, timeout=600)
        seconds = time.time() - begin
        print(f"{n * n} files, {len(bad)} of them damaged, on 2 ranks: {seconds:.1f} s", flush=True)
        self.assertEqual(done.code, 0, done.err)
        self.assertEqual(list(read(self.place / "out.h5", "gather")["missing_point"]), sorted(bad))
        r = read(self.place / "out.h5")
        point = np.arange(n * n).reshape(n, n)
        good = ~np.isin(point, bad)
        np.testing.assert_array_equal(r["array_01"][good], np.sin(1.0 + point[good] + 0.1))
        self.assertTrue(np.isnan(r["array_01"][~good]).all())
        self.assertEqual(r["array_00"].shape, (n, n, 3))
        np.testing.assert_array_equal(np.isfinite(r["array_00"][good]).sum(axis=-1), 1 + point[good] % 3)
        if n > 30:
            self.assertLess(seconds, 60)
            return
        names = [f"parts/{point:06}.h5" for point in range(n * n)]
        random.Random(2).shuffle(names)
        before = digest(self.place / "out.h5")
        for ranks in (1, 4):
            done = self.gather("out.h5", *names, "-overwrite", ranks=ranks)
            self.assertEqual(done.code, 0, done.err)
            self.assertEqual(digest(self.place / "out.h5"), before)


def forge(source, target, name, place, value):
    """A copy with one number or attribute changed and every checksum right: the file of another, honest, run."""
    import xxhash
    shutil.copy(source, target)
    with h5py.File(target, "r+") as file:
        if place is None:
            file.attrs.modify(name, value)
        else:
            array = file[name][()]
            array.flat[place] = value
            file[name][...] = array
            file[name].attrs.modify("xxh64", xxhash.xxh64(array.tobytes()).hexdigest())
    data = Path(target).read_bytes()
    mark = b"finwidth-end-01\0"
    if data[-32:-16] == mark:
        data = data[:-32]
    Path(target).write_bytes(data + mark + len(data).to_bytes(8, "little") + xxhash.xxh3_64(data).intdigest().to_bytes(8, "little"))


if __name__ == "__main__":
    harness.main()
