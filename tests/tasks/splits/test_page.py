"""docs/splits.md agrees with the files of the splits."""

from __future__ import annotations

from pathlib import Path

import build_classes
import build_coco80
import build_masks
import build_scenes
import pytest
from split_files import IMAGENETS, read_lines
from wordnet import WORDNET, label_net

from ltrp_bench.tasks.splits.split import SPLITS, load_split

PAGE = Path(__file__).resolve().parents[3] / "docs" / "splits.md"
COUNTS = "| categories of | split | all | seen | narrow | unseen | by hand |"
DECISIONS = "| category | list | rule | decided | classes | why |"
OTHER_DECISIONS = "| category | list | label set | rule | decided | classes | why |"
LISTS = {
    "COCO": ("coco80", build_coco80.BY_HAND),
    "COCO-Stuff": ("cocostuff171", build_masks.BY_HAND),
    "ADE20K": ("ade20k", build_scenes.ADE20K_BY_HAND),
}
"""List of a decision -> its name in those of splits, and its file by hand."""


def table(header: str) -> list[list[str]]:
    """The cells of the table under a header."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    assert lines.count(header) == 1
    start = lines.index(header) + 2
    end = next(i for i in range(start, len(lines)) if not lines[i].startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[start:end]]


def test_the_counts_are_those_of_the_files() -> None:
    rows = {row[1].strip("`"): [int(cell) for cell in row[2:]] for row in table(COUNTS)}
    files = sorted(p.stem for p in SPLITS.glob("*.csv"))
    assert sorted(rows) == files, "every bundled split has a line"
    for name, row in rows.items():
        split = load_split(name)
        by_hand = sum("by hand: " in reason for reason in split.reasons.values())
        assert row == [len(split.states), *split.counts().values(), by_hand], name


def test_contexts_unseen_ten_are_named() -> None:
    states = load_split("imagenet1k_context59").states
    named = ", ".join(name for name, state in states.items() if state == "unseen")
    assert f"all stuff: {named}." in " ".join(PAGE.read_text(encoding="utf-8").split())


def decisions() -> list[tuple[str, str, str, str, str, list[str]]]:
    """(category, list, label set, rule, decided, classes) of both tables."""
    first = [[category, of, "imagenet1k", *others] for category, of, *others in table(DECISIONS)]
    rows = [*first, *table(OTHER_DECISIONS)]
    assert len(first) == 10 and len(rows) == 20 == len({tuple(row[:3]) for row in rows})
    return [
        # Names of classes may hold spaces, wnids are separated by them.
        (*row[:5], row[5].replace("–", "").split() if row[2] in IMAGENETS else [row[5]])  # type: ignore[misc]
        for row in rows
    ]


def test_each_decision_is_by_hand_and_as_the_files_have_it() -> None:
    for category, of, label_set, _, decided, known in decisions():
        split = load_split(f"{label_set}_{LISTS[of][0]}")
        assert split.reasons[category].startswith("by hand: "), category
        assert (split.states[category], list(split.wnids[category])) == (decided, known), category


def test_what_is_left_by_imagenet_21k_is_named() -> None:
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    states = load_split("imagenet21k_ade20k").states
    assert f"seven categories remain: {', '.join(name for name, state in states.items() if state == 'unseen')}." in text
    before, after = (load_split(f"imagenet{n}k_coco80") for n in (1, 21))
    found = [name for name, state in before.states.items() if state == "unseen" and after.states[name] == "seen"]
    assert f"({', '.join(name for name in found if name != 'fork')})" in text and len(found) == 12


def test_counts_of_the_rule_alone_agree_with_the_page() -> None:
    if not WORDNET.is_file():
        pytest.skip(f"{WORDNET} is not here: apt-get install wordnet-base")
    for category, of, label_set, rule, *_ in decisions():
        if label_set in IMAGENETS:
            (own,) = (line["synset"].split() for line in read_lines(LISTS[of][1]) if line["category"] == category)
            found = bool(own and label_net(label_set).under(own))
        else:
            found = category in {name.lower().replace("_", " ") for name in build_classes.classes(label_set)}
        assert rule == ("seen" if found else "unseen"), category
