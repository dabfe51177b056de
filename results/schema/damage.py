"""Reading of stored files that may be damaged: whatever a parser raises on their bytes becomes one `ResultsError`.

Zip, zlib, NumPy, Parquet and JSON raise a dozen kinds of errors on damaged bytes (`zlib.error`, `NotImplementedError`,
`EOFError`, `struct.error`, `MemoryError` from an absurd size, …). Naming them at each reader always forgets some.
"""

from __future__ import annotations

import contextlib
import io
import math
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import numpy as np

from ltrp_bench.results.schema.record import ResultsError
from ltrp_bench.selectors.errors import BenchError

_HEADERS: Final = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_BLOCK: Final = 1 << 20
_MAX_BYTES: Final = 64 * 2**30
"""Maximum unpacked size of a file."""


@contextlib.contextmanager
def damaged(describe: Callable[[Exception], ResultsError]) -> Iterator[None]:
    """Context for parsing the bytes of a file: any error in it, except those meant for users, is `describe(error)`."""
    try:
        yield
    except BenchError:
        raise
    except Exception as error:
        raise describe(error) from error


def read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Content of a file of an archive. Raises ValueError if it is not of the declared size, which is never exceeded."""
    parts, size = [], 0
    with archive.open(info) as file:
        while block := file.read(_BLOCK):
            parts.append(block)
            size += len(block)
    if size != info.file_size:
        raise ValueError(f"{info.filename} has {size} bytes, not {info.file_size}")
    return b"".join(parts)


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Arrays of an npz file. Nothing is unpickled, and no array is larger than its bytes.

    Raises:
        Exception: of any kind, if the file is missing or damaged; to be called within `damaged`.
    """
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if sum(info.file_size for info in entries) > _MAX_BYTES:
            raise ValueError(f"it unpacks to more than {_MAX_BYTES >> 30} GiB")
        return {info.filename.removesuffix(".npy"): _array(read_member(archive, info)) for info in entries}


def _array(data: bytes) -> np.ndarray:
    file = io.BytesIO(data)
    shape, fortran, dtype = _HEADERS[np.lib.format.read_magic(file)](file)
    size = math.prod(shape)
    if dtype.hasobject or min(shape, default=0) < 0 or size * dtype.itemsize != len(data) - file.tell():
        raise ValueError("an array of other bytes than its header declares")
    flat = np.frombuffer(data, dtype, count=size, offset=file.tell()) if size else np.zeros(0, dtype)
    # Copied, since an array on bytes cannot be written to.
    return flat.reshape(shape, order="F" if fortran else "C").copy()
