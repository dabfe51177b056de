"""docs/splits.md agrees with the files of the splits."""

from __future__ import annotations

from pathlib import Path

import build_coco80
import build_masks
import build_scenes
import pytest
from split_files import read_lines
from wordnet import WORDNET, label_net

from ltrp_bench.tasks.splits.split import SPLITS, load_split

PAGE = Path(__file__).resolve().parents[3] / "docs" / "splits.md"
COUNTS = "| categories of | split | all | seen | narrow | unseen | by hand |"
DECISIONS = "| category | list | rule | decided | classes | why |"
LISTS = {
    "COCO": ("imagenet1k_coco80", build_coco80.BY_HAND),
    "COCO-Stuff": ("imagenet1k_cocostuff171", build_masks.BY_HAND),
    "ADE20K": ("imagenet1k_ade20k", build_scenes.ADE20K_BY_HAND),
}
"""List of a decision -> its split and its file by hand."""


def table(header: str) -> list[list[str]]:
    """The cells of the table under a header."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    start = lines.index(header) + 2
    end = next(i for i in range(start, len(lines)) if not lines[i].startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[start:end]]


def test_the_counts_are_those_of_the_files() -> None:
    rows = {row[1].strip("`"): [int(cell) for cell in row[2:]] for row in table(COUNTS)}
    files = sorted(p.stem for p in SPLITS.glob("imagenet1k_*.csv"))
    assert sorted(rows) == files, "every bundled split has a line"
    for name, row in rows.items():
        split = load_split(name)
        by_hand = sum("by hand: " in reason for reason in split.reasons.values())
        assert row == [len(split.states), *split.counts().values(), by_hand], name


def test_contexts_unseen_ten_are_named() -> None:
    states = load_split("imagenet1k_context59").states
    named = ", ".join(name for name, state in states.items() if state == "unseen")
    assert f"all stuff: {named}." in " ".join(PAGE.read_text(encoding="utf-8").split())


def test_each_decision_is_by_hand_and_as_the_files_have_it() -> None:
    rows = table(DECISIONS)
    assert len(rows) == 10 == len({tuple(row[:2]) for row in rows})
    for category, of, _, decided, classes, _ in rows:
        split = load_split(LISTS[of][0])
        assert split.reasons[category].startswith("by hand: "), category
        assert (split.states[category], split.wnids[category]) == (decided, tuple(classes.replace("–", "").split()))


def test_counts_of_the_rule_alone_agree_with_the_page() -> None:
    if not WORDNET.is_file():
        pytest.skip(f"{WORDNET} is not here: apt-get install wordnet-base")
    net = label_net("imagenet1k")
    for category, of, rule, *_ in table(DECISIONS):
        (own,) = (line["synset"].split() for line in read_lines(LISTS[of][1]) if line["category"] == category)
        assert own and rule == ("seen" if net.under(own) else "unseen"), category
