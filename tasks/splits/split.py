"""Splits of a data set's categories by a label set: seen, unseen, or narrow (in part or through one kind only).

A split belongs to a data set and a label set, not to a selector.
"""

from __future__ import annotations

import csv
import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast, get_args

from ltrp_bench.results.schema.rows import GROUPS
from ltrp_bench.selectors.errors import InputError, UsageError

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
            raise InputError(
                f"{where}: {', '.join(absent[:5])}{others} not in the split '{self.label_set}' "
                f"({len(self.states)} categories); give a CSV that lists all of them with --split FILE"
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
            and wnids (separated by spaces) or classes (separated by ";"). The name of the label set is the file's name
            up to the first "_".

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
            near = difflib.get_close_matches(str(name), shipped_splits(), n=3)
            hint = f"; similar: {', '.join(near)}" if near else ""
            raise UsageError(f"no split '{name}'{hint} (see `ltrp-bench list label-sets`, or give a CSV)")
    return _read(path)


def shipped_splits() -> list[str]:
    """Names of the bundled splits."""
    files = sorted(path.stem for path in SPLITS.glob("*.csv"))
    return ["imagenet1k", *files, "shapes/0", "shapes/1"]


def _read(path: Path) -> CategorySplit:
    try:
        # Excel writes a byte order mark before the first column.
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            columns = set(reader.fieldnames or ())
    except FileNotFoundError as error:
        raise InputError(f"split file {path} does not exist") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"split file {path} cannot be read as CSV: {error}") from error
    if not {"category", "state"} <= columns:
        raise InputError(f"split file {path}: its first line must name the columns category and state")
    states: dict[str, State] = {}
    for line, row in enumerate(rows, start=2):
        category, state = (row["category"] or "").strip(), (row["state"] or "").strip()
        if state not in STATES:
            raise InputError(f"split file {path}, line {line}: state must be seen, narrow or unseen, got '{state}'")
        if not category or category in states:
            raise InputError(f"split file {path}, line {line}: category '{category}' is empty or listed twice")
        states[category] = cast(State, state)
    if not states:
        raise InputError(f"split file {path} lists no categories")
    reasons = {row["category"].strip(): (row.get("reason") or "").strip() for row in rows}
    wnids = {
        row["category"].strip(): (
            *(row.get("wnids") or "").split(),
            *(name.strip() for name in (row.get("classes") or "").split(";") if name.strip()),
        )
        for row in rows
    }
    return CategorySplit(path.stem.split("_")[0], states, reasons, wnids)


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
