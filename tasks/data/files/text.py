"""Text files of data sets, which may begin with a byte order mark, and file names that are not UTF-8."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ltrp_bench.selectors.errors import InputError

_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")


def printable(name: str) -> str:
    """A file name as text that can be stored: bytes that are not UTF-8 become backslash escapes."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def read_text(path: Path, *, names: bool = False) -> str:
    """Text of a file in UTF-8, or UTF-16 with its byte order mark; the mark is removed.

    Args:
        path: the file.
        names: True for a list of files: bytes that are not UTF-8 are kept as in the names that the system gives.

    Raises:
        InputError: the file cannot be read, or is not UTF-8.
    """
    try:
        raw = path.read_bytes()
        if raw.startswith(_UTF16):
            return raw.decode("utf-16")
        return raw.decode("utf-8-sig", "surrogateescape" if names else "strict")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InputError(f"cannot read {path}, line {line}: it is not UTF-8; save it as UTF-8") from None


def read_lines(path: Path, *, names: bool = False) -> list[str]:
    """Lines of a text file, stripped, empty ones included; arguments and errors of `read_text`."""
    return [line.strip() for line in read_text(path, names=names).splitlines()]
