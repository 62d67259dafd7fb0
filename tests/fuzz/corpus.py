#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""One small good file of each kind, to start from. usage: corpus.py FOLDER"""
import struct
import sys
from pathlib import Path

folder = Path(sys.argv[1])
good = {
    "idx": b"\0\0\x08\x03" + struct.pack(">3i", 8, 4, 4) + bytes(range(128)),
    "cifar": bytes([i % 10 if j == 0 else (i * j) % 256 for i in range(8) for j in range(3073)]),
    "csv": b"a,b,y\n" + b"0.5,1.5,-1\n1e3,-2,1\n" * 4,
    "yaml": b"# comment\ndata: {train: 20, source: glyphs}\nnetwork:\n  width: [10, 20]\nscan: {temperature: '0.1:1:3'}\n",
    "record": b"", "store": b"", "checkpoint": b"finwidth-chk-01\0" + b"fuzz".ljust(64, b"\0") + struct.pack("<2Q", 0, 0),
    "hdf5": b"",
}
try:
    import io
    import h5py
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["x"], file["y"] = [[float(i * j % 7) for j in range(5)] for i in range(8)], [float(i % 3) for i in range(8)]
    good["hdf5"] = good["store"] = buffer.getvalue()
except ImportError:
    pass
for name, data in good.items():
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / "good").write_bytes(data)
