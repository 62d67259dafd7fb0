#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""One small good file of each kind, to start from. usage: corpus.py FOLDER PROGRAM"""
import struct
import subprocess
import sys
from pathlib import Path

folder, program = Path(sys.argv[1]).resolve(), sys.argv[2]


def a_result():
    """A result of the program itself."""
    path = folder / "result.h5"
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run([program, "predict", "-data_train", "4", "-data_test", "2", "-data_size", "8", "-figure", "none",
                    "-output", path, "-overwrite"], check=True, stdout=subprocess.DEVNULL)
    return path.read_bytes()


good = {
    "idx": b"\0\0\x08\x03" + struct.pack(">3i", 8, 4, 4) + bytes(range(128)),
    "cifar": bytes([i % 10 if j == 0 else (i * j) % 256 for i in range(8) for j in range(3073)]),
    "csv": b"a,b,y\n" + b"0.5,1.5,-1\n1e3,-2,1\n" * 4,
    "yaml": b"# comment\ndata: {train: 20, source: glyphs}\nnetwork:\n  width: [10, 20]\nscan: {temperature: '0.1:1:3'}\n",
    "record": b"",
    "store": a_result(),
    "checkpoint": b"finwidth-chk-01\0" + b"fuzz".ljust(64, b"\0") + struct.pack("<2Q", 8, 0) + b"the body",
    "hdf5": b"",
}
try:
    import io
    import h5py
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["x"], file["y"] = [[float(i * j % 7) for j in range(5)] for i in range(8)], [float(i % 3) for i in range(8)]
    good["hdf5"] = buffer.getvalue()
except ImportError:
    pass
for name, data in good.items():
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / "good").write_bytes(data)
