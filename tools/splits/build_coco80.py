"""Builds `*_coco80.csv`: which COCO categories the labels of ImageNet-1K, 12k and 21k contain, and why.

The rule: a category is seen if one of the label set's synsets is the category's synset or one of its hyponyms in
WordNet 3.0. `coco80_by_hand.csv` holds each category's synset, chosen by hand to exclude homographs, and corrections
for ImageNet-1K where the rule is misleading: a state or the wnids that count, with the reason. The corrections for the
two larger label sets are in `imagenet21k_by_hand.csv`.

    python tools/splits/build_coco80.py        # needs Debian's wordnet-base
"""

from __future__ import annotations

from pathlib import Path

from split_files import HERE, IMAGENETS, Line, corrected, csv_text, read_lines, shortened, split_path, write_files
from wordnet import label_net

BY_HAND = HERE / "coco80_by_hand.csv"
LIST = "coco80"
COLUMNS = ("category", "coco_id", "wnids", "state", "reason")


def build() -> dict[Path, str]:
    """Text of each split file."""
    return {
        split_path(label_set, LIST): csv_text(shortened(thing_lines(label_set), label_set), COLUMNS)
        for label_set in IMAGENETS
    }


def thing_lines(label_set: str) -> list[Line]:
    """Line of each category, with all classes that count for it."""
    net = label_net(label_set)
    out = []
    for row in corrected(read_lines(BY_HAND), LIST, label_set):
        own = row["synset"].split()
        under = net.under(own)
        state = row["state"] or ("seen" if under else "unseen")
        wnids = row["wnids"].split() or (under if state != "unseen" else [])
        net.check(row["category"], wnids)
        reason = f"by hand: {row['reason']}" if row["reason"] else net.rule_reason(own, under)
        out.append({**row, "wnids": " ".join(wnids), "state": state, "reason": reason})
    return out


if __name__ == "__main__":
    write_files(build())
