"""Grey PNGs of fewer than 8 bits, which Pillow reads but does not write."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np


def save_grey_png(path: Path, values: np.ndarray, bits: int) -> Path:
    """Writes [H, W] uint8 values as grey of 1, 2 or 4 bits; the width must fill whole bytes."""
    rows = b"".join(b"\0" + np.packbits(np.unpackbits(row[:, None], axis=1)[:, -bits:]).tobytes() for row in values)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], bits, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    body = b"".join(struct.pack(">I", len(b)) + t + b + struct.pack(">I", zlib.crc32(t + b)) for t, b in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path
