"""Hashes of files, without any heavy import."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ltrp_bench.selectors.errors import InputError


def sha256_of(path: str | Path) -> str:
    """Hex SHA-256 of the bytes of a file; `InputError` if it cannot be read."""
    return _hex_of(path, "sha256")


def md5_of(path: str | Path) -> str:
    """Hex MD5 of the bytes of a file, for comparison with a published one; `InputError` if it cannot be read."""
    return _hex_of(path, "md5")


def _hex_of(path: str | Path, algorithm: str) -> str:
    digest = hashlib.new(algorithm, usedforsecurity=False)
    try:
        with Path(path).open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except OSError as error:
        raise InputError(f"cannot read weights {path}: {error.strerror}") from None
    return digest.hexdigest()
