"""Splits of a data set's categories by a label set: seen, unseen, or narrow (in part or through one kind only).

A split belongs to a data set and a label set, not to a selector.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import json
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from ltrp_bench.results.schema.rows import GROUPS
from ltrp_bench.selectors.errors import InputError, UsageError, near_or

State = Literal["seen", "narrow", "unseen"]
NarrowAs = Literal["seen", "unseen"]
"""Group in which narrow categories are counted."""
STATES: tuple[State, ...] = get_args(State)
SPLITS = Path(__file__).parent
"""Folder of the bundled splits."""


@dataclass(frozen=True)
class CategorySplit:
    """The state of every category under one label set.

    Attributes:
        label_set: name, e.g. "imagenet1k" or "shapes-seen/0".
        states: category -> "seen" | "unseen" | "narrow", in the data set's order of categories.
        reasons: category -> reason of its state, where known.
        wnids: category -> classes of the label set that match it, where known: WordNet ids for ImageNet (of 12k and 21k
            the topmost only), names for others.
    """

    label_set: str
    states: Mapping[str, State]
    reasons: Mapping[str, str] = field(default_factory=dict)
    wnids: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def counts(self) -> dict[State, int]:
        """Number of seen, narrow and unseen categories, in this order."""
        return {state: sum(found == state for found in self.states.values()) for state in STATES}

    def groups(self, narrow_as: NarrowAs = "seen") -> dict[str, frozenset[str]]:
        """Group ("all", "seen", "unseen") -> categories; narrow ones count as `narrow_as`."""
        if narrow_as not in ("seen", "unseen"):
            raise UsageError(f"narrow_as must be seen or unseen, got {narrow_as!r}")
        found: dict[str, set[str]] = {group: set() for group in GROUPS}
        for category, state in self.states.items():
            found["all"].add(category)
            found[narrow_as if state == "narrow" else state].add(category)
        return {group: frozenset(names) for group, names in found.items()}

    def check_covers(self, categories: Iterable[str], where: str) -> None:
        """Raise InputError if a category has no state; `where` is the data set or task that the message names."""
        absent = sorted(set(categories) - set(self.states))
        if absent:
            others = f" and {len(absent) - 5} others" if len(absent) > 5 else ""
            by_case = {name.casefold(): name for name in self.states}
            near = [f"{by_case[name.casefold()]!r} for {name!r}" for name in absent if name.casefold() in by_case]
            hint = f", which spells {near[0]}" if near else ""
            raise InputError(
                f"{where}: {', '.join(absent[:5])}{others} not in the split '{self.label_set}' "
                f"({len(self.states)} categories){hint}; "
                "give a CSV with columns category, state and reason with --split FILE"
            )

    def fingerprint(self) -> str:
        """SHA-256 of label set and states; reasons and wnids may change without changing results."""
        text = json.dumps([self.label_set, sorted(self.states.items())], separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def load_split(name: str | Path) -> CategorySplit:
    """Load a bundled split, or one from a CSV file.

    Args:
        name: name of a bundled split, e.g. "imagenet1k_coco80", "imagenet1k" (its own 1,000 classes) or a fold
            "shapes/0"; or a CSV file with one line per category and the columns category and state, optionally reason
            and wnids (separated by spaces) or classes (separated by ";"), as spreadsheets write it: separated by
            commas, semicolons or tabs, in UTF-8 or UTF-16. The name of the label set is the file's name up to the
            first "_".

    Raises:
        InputError: a missing or malformed file. UsageError: neither a file nor a bundled split.
    """
    if str(name) in ("shapes/0", "shapes/1"):
        return shapes_split(int(str(name)[-1]))
    if str(name) == "imagenet1k":
        return imagenet_split()
    path = Path(name).expanduser()
    if not path.suffix and not path.is_file():
        path = SPLITS / f"{name}.csv"
        if not path.is_file():
            hint = near_or(str(name), shipped_splits(), "see `ltrp-bench list label-sets`, or give a CSV")
            raise UsageError(f"no split '{name}'; {hint}")
    return _read(path)


def shipped_splits() -> list[str]:
    """Names of the bundled splits."""
    files = sorted(path.stem for path in SPLITS.glob("*.csv"))
    return ["imagenet1k", *files, "shapes/0", "shapes/1"]


def _read(path: Path) -> CategorySplit:
    states: dict[str, State] = {}
    reasons: dict[str, str] = {}
    wnids: dict[str, tuple[str, ...]] = {}
    for line, row in _rows(path):
        category, state = row.get("category", ""), row.get("state", "").lower()
        if state not in STATES:
            raise InputError(
                f"split file {path}, line {line}: state must be seen, narrow or unseen, got {row.get('state', '')!r}"
            )
        if not category or category in states:
            raise InputError(f"split file {path}, line {line}: category '{category}' is empty or listed twice")
        states[category] = state
        reasons[category] = row.get("reason", "")
        classes = (name.strip() for name in row.get("classes", "").split(";"))
        wnids[category] = (*row.get("wnids", "").split(), *(name for name in classes if name))
    if not states:
        raise InputError(f"split file {path} lists no categories")
    return CategorySplit(path.stem.split("_")[0], states, reasons, wnids)


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Number of the line and column -> text of each row that is not empty; names and texts without blanks around."""
    text = _text(path)
    first = text.partition("\n")[0].strip()
    skipped = 0
    if first.lower().startswith("sep=") and len(first) == 5:  # Excel's own way to name the separator
        text, skipped = text.partition("\n")[2], 1
    for separator in (",", ";", "\t"):
        try:
            reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
            lines = [(reader.line_num, [unicodedata.normalize("NFC", cell).strip() for cell in row]) for row in reader]
        except csv.Error as error:
            raise InputError(f"split file {path} cannot be read as CSV: {error}") from error
        lines = [(number + skipped, row) for number, row in lines if any(row)]
        columns = [name.lower() for name in lines[0][1]] if lines else []
        if {"category", "state"} <= set(columns):
            return [(number, dict(zip(columns, row, strict=False))) for number, row in lines[1:]]
    head = text.partition("\n")[0].strip()
    raise InputError(
        f"split file {path}: its first line must name the columns category and state, separated by commas, semicolons "
        f"or tabs; it is {head[:60]!r}"
    )


def _text(path: Path) -> str:
    """Text of a CSV: UTF-8, or UTF-16 as Excel's "Unicode text", both with or without a byte order mark."""
    try:
        raw = path.read_bytes()
        return raw.decode("utf-16" if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(f"split file {path} does not exist") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"split file {path} is not in UTF-8 ({error.reason} at byte {error.start}): save it as 'CSV UTF-8'"
        ) from error
    except OSError as error:
        raise InputError(f"split file {path} cannot be read: {error.strerror}") from error


def shapes_split(fold: int) -> CategorySplit:
    """Split of `shapes` by the label set `shapes-seen` of fold 0 or 1."""
    from ltrp_bench.tasks.data.shapes.world import CATEGORIES, seen_categories

    seen = seen_categories(fold)
    return CategorySplit(f"shapes-seen/{fold}", {c: "seen" if c in seen else "unseen" for c in CATEGORIES})


def imagenet_split() -> CategorySplit:
    """Split of ImageNet-1K by its own label set: all classes are seen."""
    from ltrp_bench.tasks.data.synsets import imagenet_classes

    classes = imagenet_classes()
    own = {name: (wnid,) for wnid, name in classes.items()}
    return CategorySplit("imagenet1k", dict.fromkeys(own, "seen"), dict.fromkeys(own, "one of the 1,000 classes"), own)
