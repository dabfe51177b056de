"""List of the classes of masks, classes.txt: lines "id: name"."""

from __future__ import annotations

import re
from pathlib import Path

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.data.files.text import read_lines

_UNLABELLED = ("unlabeled", "unlabelled", "void")
_LINE = re.compile(r"(\d+)\s*[:,;\t ]\s*(.*\S)")
_HEADING = re.compile(r"(id|value|index|label)\s*[:,;\t ]\s*(name|class|category|label)", re.IGNORECASE)


def read_classes(path: Path) -> tuple[dict[int, str], frozenset[int]]:
    """Classes by mask value, and ignored values: those named unlabelled, and 0 if it is not listed.

    A comma, semicolon, tab or blank may stand for the colon. Lines that begin with # and a heading do not count.

    Raises InputError for any other line, and for a value or name that occurs twice.
    """
    listed: dict[int, str] = {}
    for number, line in enumerate(read_lines(path), start=1):
        if not line or line.startswith("#") or (not listed and _HEADING.fullmatch(line)):
            continue
        found = _LINE.fullmatch(line)
        if found is None:
            raise InputError(f"{path}, line {number}: must be 'id: name', got {line[:60]!r}")
        value, name = int(found[1]), found[2]
        if value in listed or (name in listed.values() and not _is_unlabelled(name)):
            raise InputError(f"{path}, line {number}: id {value} or name {name!r} occurs twice")
        listed[value] = name
    names = {value: name for value, name in sorted(listed.items()) if not _is_unlabelled(name)}
    if not names:
        raise InputError(f"{path} lists no classes: each line must be 'id: name'")
    return names, frozenset({0, *listed}) - set(names)


def _is_unlabelled(name: str) -> bool:
    return name.lower() in _UNLABELLED
