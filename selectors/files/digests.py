"""Hashes of files, without any heavy import."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ltrp_bench.selectors.errors import InputError


def sha256_of(path: str | Path) -> str:
    """Hex SHA-256 of the bytes of a file; `InputError` if it cannot be read."""
    digest = hashlib.sha256()
    try:
        with Path(path).open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except OSError as error:
        raise InputError(f"cannot read weights {path}: {error.strerror}") from None
    return digest.hexdigest()
