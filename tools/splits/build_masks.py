"""Builds the splits of data sets with class masks: COCO's panoptic classes, COCO-Stuff's, VOC's.

The 80 things keep their state in `imagenet1k_coco80.csv`. Stuff follows the rule of `build_coco80` with one addition: a
synset that counts for one of the 80 things does not count for stuff. `cocostuff_by_hand.csv` holds synsets and
corrections of the 91 stuff classes. Its column `panoptic` gives their fate in the panoptic annotations (Kirillov et
al., CVPR 2019): "dropped", or for a merged class the ids of its members. A merged class has the state of its most seen
member. VOC's 20 classes are COCO's under other names.

    python tools/splits/build_masks.py        # needs Debian's wordnet-base
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence, Set
from pathlib import Path

from build_coco80 import COLUMNS, HERE, SPLIT, ancestors, read_nouns, rule_reason, write_files

from ltrp_bench.tasks.data.class_lists import VOC_NAMES
from ltrp_bench.tasks.data.synsets import imagenet_wnids
from ltrp_bench.tasks.splits.split import SPLITS

BY_HAND = HERE / "cocostuff_by_hand.csv"
PANOPTIC = SPLITS / "imagenet1k_cocostuff.csv"
COCO_STUFF = SPLITS / "imagenet1k_cocostuff171.csv"
VOC = SPLITS / "imagenet1k_voc20.csv"
_LAST_STUFF = 182  # COCO-Stuff's ids end here; the panoptic annotations' merged classes follow
_STATES = ("unseen", "narrow", "seen")

Line = dict[str, str]


def build() -> dict[Path, str]:
    """Text of each split file."""
    things = read_lines(SPLIT)
    by_hand = {row["coco_id"]: row for row in read_lines(BY_HAND)}
    stuff = _stuff(by_hand.values(), {wnid for line in things for wnid in line["wnids"].split()})
    not_panoptic = {i for row in by_hand.values() for i in row["panoptic"].split()}
    not_panoptic |= {i for i, row in by_hand.items() if row["panoptic"] == "dropped"}
    by_name = {line["category"]: line for line in things}
    return {
        PANOPTIC: write_lines(things + [line for i, line in stuff.items() if i not in not_panoptic]),
        COCO_STUFF: write_lines(things + [line for i, line in stuff.items() if int(i) <= _LAST_STUFF]),
        VOC: write_lines({**by_name[coco], "category": name} for name, coco in VOC_NAMES.items()),
    }


def _stuff(by_hand: Iterable[Line], taken: Set[str]) -> dict[str, Line]:
    """id -> line of each stuff class, merged ones included; synsets of `taken` do not count."""
    lemmas, hypernyms = read_nouns()
    known = imagenet_wnids()
    lines = {wnid: ancestors(wnid, hypernyms) for wnid in known}
    out: dict[str, Line] = {}
    for row in by_hand:
        if row["panoptic"] and row["panoptic"] != "dropped":
            out[row["coco_id"]] = _merged(row, [out[i] for i in row["panoptic"].split()])
            continue
        own = row["synset"].split()
        under = [wnid for wnid in known if wnid not in taken and not lines[wnid].isdisjoint(own)]
        state = row["state"] or ("seen" if under else "unseen")
        wnids = row["wnids"].split() or (under if state != "unseen" else [])
        if not set(wnids) <= set(known):
            raise ValueError(f"{row['category']}: {sorted(set(wnids) - set(known))} are not among the 1,000 synsets")
        reason = f"by hand: {row['reason']}" if row["reason"] else rule_reason(own, under, lemmas)
        out[row["coco_id"]] = _line(row, wnids, state, reason)
    return out


def _merged(row: Line, members: Sequence[Line]) -> Line:
    """Line of a class that merges several."""
    state = max((line["state"] for line in members), key=_STATES.index)
    wnids = sorted({wnid for line in members for wnid in line["wnids"].split()})
    names = ", ".join(f"{line['category']} ({line['state']})" for line in members)
    return _line(row, wnids, state, f"merged of {names}")


def _line(row: Line, wnids: Iterable[str], state: str, reason: str) -> Line:
    return {
        "category": row["category"],
        "coco_id": row["coco_id"],
        "wnids": " ".join(wnids),
        "state": state,
        "reason": reason,
    }


def read_lines(path: Path) -> list[Line]:
    """Lines of a CSV file, each as column -> entry."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write_lines(lines: Iterable[Line], columns: Sequence[str] = COLUMNS) -> str:
    """Text of a CSV file with these lines."""
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue()


if __name__ == "__main__":
    write_files(build())
