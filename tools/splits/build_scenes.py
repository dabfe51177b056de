"""Builds the splits of data sets of whole scenes: ADE20K's 150 categories and Pascal-Context's 59.

The categories are those of mmseg's METAINFO, in the order of the mask values. `ade20k_by_hand.csv` and
`context59_by_hand.csv` hold for each category either its synsets or, in the column `like`, a category of COCO,
COCO-Stuff or ADE20K with the same meaning, whose line is copied; and corrections, as in `build_coco80`.

The rule is that of `build_coco80` with one addition, since categories overlap: chair and armchair, cushion and pillow.
A synset counts for the narrowest category alone. If none is left for the wider category, its state is narrow.

    python tools/splits/build_scenes.py        # needs Debian's wordnet-base
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from build_coco80 import BY_HAND as THINGS_BY_HAND
from build_masks import BY_HAND as STUFF_BY_HAND
from build_masks import COCO_STUFF, mask_lines
from split_files import HERE, IMAGENETS, Line, corrected, csv_text, read_lines, shortened, split_path, write_files
from wordnet import LabelNet, label_net

from ltrp_bench.tasks.data.class_lists import class_list

ADE20K, CONTEXT = "ade20k", "context59"
ADE20K_BY_HAND = HERE / "ade20k_by_hand.csv"
CONTEXT_BY_HAND = HERE / "context59_by_hand.csv"
COLUMNS = ("category", "value", "wnids", "state", "reason")
"""Columns of the split files; `value` is the category's value in the masks."""


def build() -> dict[Path, str]:
    """Text of each split file."""
    return {
        split_path(label_set, name): csv_text(shortened(lines, label_set), COLUMNS)
        for label_set in IMAGENETS
        for name, lines in scene_lines(label_set).items()
    }


def scene_lines(label_set: str) -> dict[str, list[Line]]:
    """List -> line of each of its categories, with all synsets that count for it."""
    lines = {line["category"]: line for line in mask_lines(label_set)[COCO_STUFF]}
    synsets = {row["category"]: row["synset"].split() for row in read_lines(STUFF_BY_HAND) + read_lines(THINGS_BY_HAND)}
    made: dict[str, list[Line]] = {}
    for name, by_hand, dataset in ((ADE20K, ADE20K_BY_HAND, "ADE20K"), (CONTEXT, CONTEXT_BY_HAND, "Context-59")):
        rows = corrected(official(dataset, by_hand), name, label_set)
        own = {row["category"]: row["synset"].split() or list(synsets.get(row["like"], ())) for row in rows}
        made[name] = _lines(rows, own, lines, label_net(label_set))
        # Context may copy a line of ADE20K; a line of COCO with the same name takes precedence.
        lines = {**{line["category"]: {**line, "of": dataset} for line in made[name]}, **lines}
        synsets = {**own, **synsets}
    return made


def _lines(rows: Sequence[Line], own: Mapping[str, list[str]], others: Mapping[str, Line], net: LabelNet) -> list[Line]:
    """Lines of a split in the order of `rows`.

    Args:
        rows: categories and corrections by hand.
        own: category -> its synsets.
        others: category -> line of other splits, which may be copied.
        net: WordNet and the label set.
    """
    given = {r["category"]: others[r["like"]]["wnids"].split() if r["like"] else r["wnids"].split() for r in rows}
    kept = {n: {w for w in net.under(own[n]) if w in set(given[n]) or not given[n]} for n in own}
    out = []
    for value, row in enumerate(rows, start=1):
        name = row["category"]
        if row["like"]:
            line = _copied(name, others[row["like"]])
        else:
            narrower = {n: kept[n] for n in own if n != name and net.below(own[n], own[name])}
            line = _decided(row, own[name], narrower, net)
        out.append({**line, "value": str(value)})
    return out


def official(dataset: str, by_hand: Path) -> list[Line]:
    """Lines by hand in the official order; ValueError unless they have exactly the official categories."""
    rows = {row["category"]: row for row in read_lines(by_hand)}
    names = class_list(dataset).names
    if set(rows) != set(names):
        raise ValueError(f"{by_hand.name} and mmseg's {dataset} differ: {sorted(set(rows) ^ set(names))}")
    return [rows[name] for name in names]


def _copied(name: str, line: Line) -> Line:
    """Line of another split under the name of a category of this one."""
    origin = f"{line.get('of', 'COCO')}'s {line['category']}"
    return {
        "category": name,
        "wnids": line["wnids"],
        "state": line["state"],
        "reason": f"as {origin}: {line['reason']}",
    }


def _decided(row: Line, own: Sequence[str], narrower: Mapping[str, Collection[str]], net: LabelNet) -> Line:
    """Line by the rule, or as corrected by hand.

    Args:
        row: category and corrections by hand.
        own: its synsets.
        narrower: narrower category -> wnids that count for it.
        net: WordNet and the label set.
    """
    found = net.under(own)
    left = [wnid for wnid in found if not any(wnid in theirs for theirs in narrower.values())]
    state = row["state"] or ("seen" if left else "narrow" if found else "unseen")
    wnids = row["wnids"].split() or ((left or found) if state != "unseen" else [])
    net.check(row["category"], wnids)
    if row["reason"]:
        reason = f"by hand: {row['reason']}"
    elif found and not left:
        names = ", ".join(n for n, theirs in narrower.items() if theirs)
        reason = f"{net.rule_reason(own, found)}; all of them in narrower categories ({names})"
    else:
        reason = net.rule_reason(own, left)
    return {"category": row["category"], "wnids": " ".join(wnids), "state": state, "reason": reason}


if __name__ == "__main__":
    write_files(build())
