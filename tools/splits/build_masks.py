"""Builds the splits of data sets with class masks: COCO's panoptic classes, COCO-Stuff's, VOC's.

The 80 things have the state that `build_coco80` gives them. Stuff follows the rule of `build_coco80` with one addition:
a synset that counts for one of the 80 things does not count for stuff. `cocostuff_by_hand.csv` holds synsets and
corrections of the 91 stuff classes. Its column `panoptic` gives their fate in the panoptic annotations (Kirillov et
al., CVPR 2019): "dropped", or for a merged class the ids of its members. A merged class has the state of its most seen
member. VOC's 20 classes are COCO's under other names.

    python tools/splits/build_masks.py        # needs Debian's wordnet-base
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from pathlib import Path

from build_coco80 import COLUMNS, thing_lines
from split_files import HERE, IMAGENETS, Line, corrected, csv_text, read_lines, shortened, split_path, write_files
from wordnet import label_net

from ltrp_bench.tasks.data.class_lists import VOC_NAMES

BY_HAND = HERE / "cocostuff_by_hand.csv"
PANOPTIC, COCO_STUFF, VOC = "cocostuff", "cocostuff171", "voc20"
_LAST_STUFF = 182  # COCO-Stuff's ids end here; the panoptic annotations' merged classes follow
_STATES = ("unseen", "narrow", "seen")


def build() -> dict[Path, str]:
    """Text of each split file."""
    return {
        split_path(label_set, name): csv_text(shortened(lines, label_set), COLUMNS)
        for label_set in IMAGENETS
        for name, lines in mask_lines(label_set).items()
    }


def mask_lines(label_set: str) -> dict[str, list[Line]]:
    """List -> line of each of its classes, with all synsets that count for it."""
    things = thing_lines(label_set)
    by_hand = {row["coco_id"]: row for row in corrected(read_lines(BY_HAND), COCO_STUFF, label_set)}
    stuff = _stuff(by_hand.values(), {wnid for line in things for wnid in line["wnids"].split()}, label_set)
    panoptic, coco_stuff = panoptic_ids(by_hand.values())
    by_name = {line["category"]: line for line in things}
    return {
        PANOPTIC: things + [line for i, line in stuff.items() if i in panoptic],
        COCO_STUFF: things + [line for i, line in stuff.items() if i in coco_stuff],
        VOC: [{**by_name[coco], "category": name} for name, coco in VOC_NAMES.items()],
    }


def panoptic_ids(by_hand: Iterable[Line]) -> tuple[set[str], set[str]]:
    """Ids of the stuff classes of the panoptic annotations, and of those of COCO-Stuff."""
    rows = list(by_hand)
    merged = {i for row in rows for i in row["panoptic"].split()}
    return (
        {row["coco_id"] for row in rows if row["coco_id"] not in merged and row["panoptic"] != "dropped"},
        {row["coco_id"] for row in rows if int(row["coco_id"]) <= _LAST_STUFF},
    )


def _stuff(by_hand: Iterable[Line], taken: Set[str], label_set: str) -> dict[str, Line]:
    """id -> line of each stuff class, merged ones included; synsets of `taken` do not count."""
    net = label_net(label_set)
    out: dict[str, Line] = {}
    for row in by_hand:
        if row["panoptic"] and row["panoptic"] != "dropped":
            out[row["coco_id"]] = _merged(row, [out[i] for i in row["panoptic"].split()])
            continue
        own = row["synset"].split()
        under = [wnid for wnid in net.under(own) if wnid not in taken]
        state = row["state"] or ("seen" if under else "unseen")
        wnids = row["wnids"].split() or (under if state != "unseen" else [])
        net.check(row["category"], wnids)
        reason = f"by hand: {row['reason']}" if row["reason"] else net.rule_reason(own, under)
        out[row["coco_id"]] = {**row, "wnids": " ".join(wnids), "state": state, "reason": reason}
    return out


def _merged(row: Line, members: Sequence[Line]) -> Line:
    """Line of a class that merges several."""
    state = max((line["state"] for line in members), key=_STATES.index)
    wnids = sorted({wnid for line in members for wnid in line["wnids"].split()})
    names = ", ".join(f"{line['category']} ({line['state']})" for line in members)
    return {**row, "wnids": " ".join(wnids), "state": state, "reason": f"merged of {names}"}


if __name__ == "__main__":
    write_files(build())
