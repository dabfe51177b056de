"""All bytes that a shared file holds, unpacked: members of archives, Parquet tables, embedded images."""

from __future__ import annotations

import base64
import gzip
import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
from PIL import Image

EMBEDDED = re.compile(rb"[A-Za-z0-9+/]{40,}={0,2}")


def unpacked(data: bytes, where: str) -> Iterator[tuple[str, bytes]]:
    """(where it stands, bytes) of a file and of everything that is packed in it."""
    yield where, data
    if data.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                yield f"{where}: name of {name}", name.encode()
                yield from unpacked(archive.read(name), f"{where}: {name}")
    elif data.startswith(b"PAR1"):
        file = pq.ParquetFile(io.BytesIO(data))
        yield f"{where} (metadata)", str(file.schema_arrow.metadata).encode() + str(file.metadata.metadata).encode()
        yield f"{where} (rows)", str(file.read().to_pylist()).encode()
    elif data.startswith(b"\x1f\x8b"):
        yield from unpacked(gzip.decompress(data), f"{where} (unzipped)")
    elif data.startswith((b"\x89PNG", b"RIFF")):
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            yield f"{where} (image metadata)", str(image.info).encode()
    elif data.lstrip()[:9].lower() == b"<!doctype":
        for number, found in enumerate(EMBEDDED.findall(data)):
            try:
                inside = base64.b64decode(found, validate=True)
            except ValueError:
                continue
            if inside.startswith((b"\x1f\x8b", b"RIFF", b"\x89PNG")):
                yield from unpacked(inside, f"{where}: embedded {number}")


def leaks(paths: list[Path], words: tuple[str, ...]) -> list[str]:
    """Where one of the words stands in the files, whatever its case."""
    out = []
    for path in paths:
        for where, data in unpacked(path.read_bytes(), path.name):
            out += [f"{word} in {where}" for word in words if word.lower().encode() in data.lower()]
    return out
