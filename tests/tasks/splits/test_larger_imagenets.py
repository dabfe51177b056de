"""The splits by ImageNet-12k and 21k, held against those by ImageNet-1K and against each other."""

from __future__ import annotations

import pytest
from split_files import LARGER, LARGER_BY_HAND, read_lines

from ltrp_bench.tasks.splits.split import load_split

LISTS = ("coco80", "cocostuff", "cocostuff171", "voc20", "context59", "ade20k")
RANKS = {"unseen": 0, "narrow": 1, "seen": 2}
LESS_SEEN = {("imagenet1k", "imagenet12k"): {"teddy bear"}}
"""Categories that the first label set has seen more of: ImageNet-12k lacks the teddy bear of ImageNet-1K."""


def states(label_set: str, name: str) -> dict[str, str]:
    return dict(load_split(f"{label_set}_{name}").states)


@pytest.mark.parametrize(
    ("smaller", "larger"),
    [("imagenet1k", "imagenet12k"), ("imagenet12k", "imagenet21k"), ("imagenet1k", "imagenet21k")],
)
@pytest.mark.parametrize("name", LISTS)
def test_a_larger_label_set_has_seen_no_less(name: str, smaller: str, larger: str) -> None:
    first, second = states(smaller, name), states(larger, name)
    assert list(first) == list(second)
    less = {category for category in first if RANKS[first[category]] > RANKS[second[category]]}
    assert less == LESS_SEEN.get((smaller, larger), set()) & set(first)


def test_what_is_left_of_cocos_sixteen() -> None:
    before = {name for name, state in states("imagenet1k", "coco80").items() if state == "unseen"}
    split = load_split("imagenet21k_coco80")
    assert len(before) == 16
    assert {name for name in before if split.states[name] == "unseen"} == {"fire hydrant"}
    assert {name for name in before if split.states[name] == "narrow"} == {"kite", "surfboard", "cake"}
    # Eleven by their own synset (giraffe, …), the fork by its kinds.
    assert split.wnids["giraffe"] == ("n02439033",) and split.wnids["donut"] == ("n07639069",)
    assert split.wnids["fork"] == ("n02973805", "n04380255", "n04442582")


def test_the_unseen_are_few_and_named() -> None:
    unseen = {
        (label_set, name): {category for category, state in states(label_set, name).items() if state == "unseen"}
        for label_set in LARGER
        for name in LISTS
    }
    assert unseen["imagenet12k", "coco80"] == {"fire hydrant", "teddy bear"}
    assert unseen["imagenet21k", "cocostuff"] == {"fire hydrant"}
    assert unseen["imagenet21k", "cocostuff171"] == {"fire hydrant", "fog", "mud", "solid-other"}
    assert unseen["imagenet21k", "voc20"] == unseen["imagenet21k", "context59"] == set()
    assert unseen["imagenet21k", "ade20k"] == {
        *("kitchen island", "dirt track", "escalator", "poster", "waterfall", "trade name", "screen")
    }
    assert unseen["imagenet12k", "ade20k"] - unseen["imagenet21k", "ade20k"] == {"bulletin board"}


def test_only_the_topmost_classes_are_listed() -> None:
    assert load_split("imagenet21k_coco80").wnids["person"] == ("n00007846",)
    assert load_split("imagenet12k_coco80").wnids["toilet"] == ("n03371875", "n03993053")


def test_every_correction_is_used_and_has_a_reason() -> None:
    rows = read_lines(LARGER_BY_HAND)
    assert len(
        {(row["list"], row["category"], label_set) for row in rows for label_set in row["label_sets"].split()}
    ) == sum(len(row["label_sets"].split()) for row in rows)
    for row in rows:
        for label_set in row["label_sets"].split():
            assert label_set in LARGER
            split = load_split(f"{label_set}_{row['list']}")
            assert split.states[row["category"]] == row["state"]
            assert split.reasons[row["category"]] == f"by hand: {row['reason']}"
            assert set(split.wnids[row["category"]]) <= set(row["wnids"].split())


def test_stuff_has_none_of_the_synsets_of_things() -> None:
    """COCO's food-other is what its ten foods leave; of the donut's synset nothing is left."""
    split = load_split("imagenet21k_cocostuff171")
    things = {wnid for name in states("imagenet21k", "coco80") for wnid in split.wnids[name]}
    food = set(split.wnids["food-other"])
    assert food and not food & things and "n07639069" in things
