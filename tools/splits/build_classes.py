"""Builds the splits by label sets of boxes and masks, whose classes have names and no synsets.

Open Images and LVIS split COCO-80 and VOC-20, the others all lists. The rule: a category is seen if a class has its
name, apart from capitals and "_". `classes_by_hand.csv` holds all other decisions, each with the classes that count and
the reason: classes with another name, wider classes (all armchairs are chairs to COCO) and homographs. A category of
which neither says anything is unseen: all were looked through.

What the lists have in common is decided once, as in `build_masks` and `build_scenes`. As there, a class that counts for
one of the 80 things does not count for stuff.

    python tools/splits/build_classes.py
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

from build_coco80 import BY_HAND as THINGS_BY_HAND
from build_coco80 import LIST as COCO80
from build_masks import BY_HAND as STUFF_BY_HAND
from build_masks import COCO_STUFF, PANOPTIC, VOC, panoptic_ids
from build_scenes import ADE20K, ADE20K_BY_HAND, CONTEXT, CONTEXT_BY_HAND, official
from split_files import FIRST, HERE, Line, csv_text, read_lines, split_path, write_files

from ltrp_bench.tasks.data.class_lists import VOC_NAMES, class_list
from ltrp_bench.tasks.models.openmmlab import setup

BY_HAND = HERE / "classes_by_hand.csv"
COLUMNS = ("category", "classes", "state", "reason")
LISTS = {
    "coco80": (COCO_STUFF, PANOPTIC, ADE20K, CONTEXT),
    "voc20": (COCO80, COCO_STUFF, PANOPTIC, ADE20K, CONTEXT),
    "cocostuff171": (ADE20K, CONTEXT),
    "cocostuff": (COCO_STUFF, ADE20K, CONTEXT),
    "ade20k": (COCO80, VOC, COCO_STUFF, PANOPTIC, CONTEXT),
    "objects365": (COCO80, VOC, COCO_STUFF, PANOPTIC, ADE20K, CONTEXT),
    "openimages": (COCO80, VOC),
    "lvis": (COCO80, VOC),
}
"""Label set -> lists that it splits. Those that it contains with all their categories have no file."""
PARTS = {"voc20": "coco80", "cocostuff": "cocostuff171"}
"""Label set -> a larger one whose decisions hold for it as far as its classes go."""
NAMED_STUFF = ("cocostuff171", "ade20k")
"""Label sets with stuff, for which the rule of equal names holds for stuff too."""


def build() -> dict[Path, str]:
    """Text of each split file."""
    return {
        split_path(label_set, name): csv_text(class_lines(label_set)[name], COLUMNS)
        for label_set, names in LISTS.items()
        for name in names
    }


@cache
def classes(label_set: str) -> tuple[str, ...]:
    """Class names of a label set, as mmdet and mmseg spell them; those of VOC under their names in COCO."""
    if label_set in ("coco80", "cocostuff", "cocostuff171"):
        return tuple(row["category"] for row in read_lines(split_path(FIRST, label_set)))
    if label_set == "voc20":
        return tuple(VOC_NAMES.values())
    if label_set == "ade20k":
        return class_list("ADE20K").names
    setup.setup("mmdet")
    from mmdet.datasets.lvis import LVISV1Dataset
    from mmdet.datasets.objects365 import Objects365V2Dataset
    from mmdet.evaluation.functional.class_names import oid_v6_classes

    found = {
        "objects365": Objects365V2Dataset.METAINFO["classes"],
        "openimages": oid_v6_classes(),
        "lvis": LVISV1Dataset.METAINFO["classes"],
    }
    return tuple(found[label_set])


@cache
def class_lines(label_set: str) -> Mapping[str, Sequence[Line]]:
    """List -> line of each of its categories, for the lists that are decided."""
    if label_set in PARTS:
        whole = class_lines(PARTS[label_set])
        return {name: [_in_part(line, label_set) for line in lines] for name, lines in whole.items()}
    things = [_line(label_set, COCO80, row["category"]) for row in read_lines(THINGS_BY_HAND)]
    by_name = {line["category"]: line for line in things}
    made: dict[str, Sequence[Line]] = {
        COCO80: things,
        VOC: [{**by_name[coco], "category": name} for name, coco in VOC_NAMES.items()],
    }
    if CONTEXT not in LISTS[label_set]:
        return made
    stuff: dict[str, Line] = {}
    for row in read_lines(STUFF_BY_HAND):
        merged = row["panoptic"] if row["panoptic"] != "dropped" else ""
        members = [stuff[i] for i in merged.split()]
        stuff[row["coco_id"]] = (
            _merged(row["category"], members) if members else _line(label_set, COCO_STUFF, row["category"])
        )
    panoptic, coco_stuff = panoptic_ids(read_lines(STUFF_BY_HAND))
    made[PANOPTIC] = things + [line for i, line in stuff.items() if i in panoptic]
    made[COCO_STUFF] = things + [line for i, line in stuff.items() if i in coco_stuff]
    lines = {line["category"]: {**line, "of": "COCO"} for line in made[COCO_STUFF]}
    for name, by_hand, dataset in ((ADE20K, ADE20K_BY_HAND, "ADE20K"), (CONTEXT, CONTEXT_BY_HAND, "Context-59")):
        made[name] = [
            _copied(row["category"], lines[row["like"]]) if row["like"] else _line(label_set, name, row["category"])
            for row in official(dataset, by_hand)
        ]
        lines = {**{line["category"]: {**line, "of": dataset} for line in made[name]}, **lines}
    return made


@cache
def _by_hand() -> Mapping[tuple[str, str, str], Line]:
    return {(row["label_set"], row["list"], row["category"]): row for row in read_lines(BY_HAND)}


def _line(label_set: str, name: str, category: str) -> Line:
    """Line of a category by hand or by name."""
    known = classes(label_set)
    row = _by_hand().get((label_set, name, category))
    if row is not None:
        unknown = set(row["classes"].split("; ")) - set(known)
        if unknown:
            raise ValueError(f"{category}: {sorted(unknown)} are not among the {len(known):,} classes of {label_set}")
        return {**row, "reason": f"by hand: {row['reason']}"}
    # By label sets of things, stuff is decided by hand alone.
    by_name = name in (COCO80, label_set) or (name == COCO_STUFF and label_set in NAMED_STUFF)
    own = [text for text in known if text.lower().replace("_", " ") == category] if by_name else []
    reason = f"by name: {own[0]} is one of the {len(known):,} classes" if own else f"none of the {len(known):,} classes"
    return {
        "category": category,
        "classes": "; ".join(own),
        "state": "seen" if own else "unseen",
        "reason": reason,
    }


def _merged(category: str, members: Sequence[Line]) -> Line:
    """Line of a class that merges several."""
    state = max((line["state"] for line in members), key=("unseen", "narrow", "seen").index)
    names = ", ".join(f"{line['category']} ({line['state']})" for line in members)
    return {
        "category": category,
        "classes": _joined(line["classes"] for line in members),
        "state": state,
        "reason": f"merged of {names}",
    }


def _joined(classes: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(name for text in classes if text for name in text.split("; ")))


def _copied(category: str, line: Line) -> Line:
    """Line of another list under the name of a category of this one."""
    return {**line, "category": category, "reason": f"as {line['of']}'s {line['category']}: {line['reason']}"}


def _in_part(line: Line, label_set: str) -> Line:
    """Line by a part of a label set: the same as far as the classes are in it."""
    whole, known = len(classes(PARTS[label_set])), classes(label_set)
    merged = _merged_names() if label_set == PANOPTIC else {}
    names = [name for name in line["classes"].split("; ") if merged.get(name, name) in known]
    left = list(dict.fromkeys(merged.get(name, name) for name in names))
    if not left:
        return {**line, "classes": "", "state": "unseen", "reason": f"none of the {len(known)} classes"}
    reason = line["reason"].replace(f"the {whole} classes", f"the {len(known)} classes")
    if "by name" in reason and left != names:
        reason = f"by name: it is merged into {left[0]}"
    return {**line, "classes": "; ".join(left), "reason": reason}


@cache
def _merged_names() -> Mapping[str, str]:
    """Class of COCO-Stuff -> class of the panoptic annotations that merges it with others."""
    rows = read_lines(STUFF_BY_HAND)
    names = {row["coco_id"]: row["category"] for row in rows}
    return {names[i]: row["category"] for row in rows if row["panoptic"] != "dropped" for i in row["panoptic"].split()}


if __name__ == "__main__":
    write_files(build())
