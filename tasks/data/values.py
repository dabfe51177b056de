"""Strict readers of values that other programs wrote: one for each type, for JSON, XML and CSV alike.

Exporters write numbers as text ("480"), flags as numbers or words ("0", 0.0, "false", "Unspecified") and ids as either.
Each reader accepts every unambiguous form and raises `ValueError` for anything else, with words that complete "a VALUE
that ...".
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

Id: TypeAlias = int | str
"""Id of an image, category or annotation: a whole number, or text that is none."""

_INTEGER: Final = re.compile(r"[+-]?[0-9]+")
_NUMBER: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_DECIMAL: Final = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?")
_MOST_DIGITS: Final = 300
_NO: Final = frozenset({"", "false", "no", "n", "f", "off", "none", "null", "unspecified"})
"""Words for no. labelImg and others write "Unspecified", or nothing, where a flag was not set."""
_YES: Final = frozenset({"true", "yes", "y", "t", "on"})


def read_number(value: object) -> float:
    """A finite number, also as text; `ValueError` for others, and for truth values."""
    if isinstance(value, str):
        text = value.strip()
        if not _NUMBER.fullmatch(text) or len(text) > _MOST_DIGITS:
            comma = " (decimals are written with a point)" if _NUMBER.fullmatch(text.replace(",", ".", 1)) else ""
            raise ValueError(f"must be a number, got {shown(value)}{comma}")
        number = float(text)
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"must be a number, got {shown(value)}")
    else:
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"must be a finite number, got {shown(value)}")
    return number


def read_integer(value: object) -> int:
    """A whole number, also as text or as a float without fraction (3.0); `ValueError` for others."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()) and len(value) <= _MOST_DIGITS:
        return int(value)
    try:
        number = read_number(value)
    except ValueError:
        number = math.nan
    if not number.is_integer():
        raise ValueError(f"must be a whole number, got {shown(value)}")
    return int(number)


def read_flag(value: object) -> bool:
    """Yes or no, as a truth value, 0 or 1, or a word; nothing at all (None, "") is no. `ValueError` for others."""
    if isinstance(value, bool):
        return value
    if value is None:
        return False
    if isinstance(value, str) and (word := value.strip().lower()) in _NO | _YES:
        return word in _YES
    try:
        number = read_number(value)
    except ValueError:
        number = math.nan
    if number not in (0.0, 1.0):
        raise ValueError(f"must be 0 or 1, got {shown(value)}")
    return number == 1.0


def read_id(value: object) -> Id:
    """An id: a whole number, also as text ("7" is 7) or as a float without fraction; any other text as it is.

    `ValueError` for fractions, truth values and empty text.
    """
    if isinstance(value, str):
        text = value.strip()
        if not text:
            raise ValueError("must be a whole number or text, got empty text")
        if not _DECIMAL.fullmatch(text):
            return text
    try:
        return read_integer(value)
    except ValueError:
        raise ValueError(f"must be a whole number or text, got {shown(value)}") from None


def read_name(value: object) -> str:
    """A name as it is compared everywhere: without blanks at its ends, in composed Unicode; numbers become text.

    `ValueError` for what is neither text nor a number, and for empty text.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f"must be a name, got {shown(value)}")
    name = unicodedata.normalize("NFC", str(value)).strip()
    if not name:
        raise ValueError("must be a name, got empty text")
    return name


def member(entry: object, key: str) -> Any:
    """`entry[key]`; `ValueError` if `entry` is no JSON object or lacks the key."""
    if not isinstance(entry, Mapping):
        raise ValueError(f"must be an object {{...}}, got {shown(entry)}")
    if key not in entry:
        raise ValueError(f"has no {key!r}")
    return entry[key]


def id_order(value: Id) -> tuple[bool, int, str]:
    """Sort key of ids: whole numbers in their order, then texts in theirs."""
    return (False, value, "") if isinstance(value, int) else (True, 0, value)


def shown(value: object) -> str:
    """A value for a message: as in Python, at most 60 characters long, in one line."""
    try:
        text = repr(value)
    except ValueError:  # an integer of too many digits
        text = "a number of thousands of digits"
    return text if len(text) <= 60 else f"{text[:57]}..."
