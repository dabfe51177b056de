"""Hand-written and built CSV files of the splits."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from wordnet import label_net

from ltrp_bench.tasks.splits.split import SPLITS

HERE = Path(__file__).parent
FIRST = "imagenet1k"
"""The label set whose corrections stand beside the synsets in the files by hand."""
LARGER = ("imagenet12k", "imagenet21k")
LARGER_BY_HAND = HERE / "imagenet21k_by_hand.csv"
"""Corrections of the splits by `LARGER`."""
IMAGENETS = (FIRST, *LARGER)

Line = dict[str, str]


def split_path(label_set: str, name: str) -> Path:
    """Path of the split of a category list, e.g. "coco80"."""
    return SPLITS / f"{label_set}_{name}.csv"


def corrected(rows: Iterable[Line], name: str, label_set: str) -> list[Line]:
    """Rows of a file by hand, with the state, wnids and reason that were decided for a label set.

    Args:
        rows: categories with their synsets, and corrections for ImageNet-1K.
        name: category list that they are of.
        label_set: one of `IMAGENETS`.
    """
    if label_set == FIRST:
        return list(rows)
    decided = {
        row["category"]: row
        for row in read_lines(LARGER_BY_HAND)
        if row["list"] == name and label_set in row["label_sets"].split()
    }
    none = {"state": "", "wnids": "", "reason": ""}
    return [{**row, **{column: decided.get(row["category"], none)[column] for column in none}} for row in rows]


def shortened(lines: Iterable[Line], label_set: str) -> list[Line]:
    """The lines as they are written: with all classes of ImageNet-1K; of larger sets, where a person has thousands of
    kinds, only with those that lie under no other.
    """
    if label_set == FIRST:
        return list(lines)
    topmost = label_net(label_set).topmost
    return [{**line, "wnids": " ".join(topmost(line["wnids"].split()))} for line in lines]


def read_lines(path: Path) -> list[Line]:
    """Lines of a CSV file, each as column -> entry."""
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


def csv_text(lines: Iterable[Line], columns: Sequence[str]) -> str:
    """Text of a CSV file with these lines."""
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue()


def write_files(texts: Mapping[Path, str]) -> None:
    """Writes each text to its path, replacing the file at once."""
    for path, text in texts.items():
        fresh = path.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(path)
