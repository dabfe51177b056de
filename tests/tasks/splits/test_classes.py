"""The splits by label sets whose classes have names: those of COCO, VOC, ADE20K, Objects365, Open Images and LVIS."""

from __future__ import annotations

import pytest
from build_classes import BY_HAND, LISTS, build, classes
from build_masks import BY_HAND as STUFF_BY_HAND
from split_files import FIRST, read_lines, split_path

from ltrp_bench.tasks.data.class_lists import VOC_NAMES
from ltrp_bench.tasks.splits.label_sets import LABEL_SETS, contains
from ltrp_bench.tasks.splits.split import load_split

FILES = [(label_set, name) for label_set, names in LISTS.items() for name in names]


def test_the_split_files_are_what_their_script_makes() -> None:
    made = build()
    assert list(made) == [split_path(label_set, name) for label_set, name in FILES]
    for path, text in made.items():
        assert path.read_text() == text, path.name


@pytest.mark.parametrize("label_set", LISTS)
def test_the_class_lists_are_as_long_as_registered(label_set: str) -> None:
    assert len(set(classes(label_set))) == LABEL_SETS[label_set].classes


@pytest.mark.parametrize(("label_set", "name"), FILES)
def test_every_category_has_a_state_a_reason_and_known_classes(label_set: str, name: str) -> None:
    split = load_split(f"{label_set}_{name}")
    assert list(split.states) == list(load_split(f"{FIRST}_{name}").states)
    for category, state in split.states.items():
        assert split.reasons[category] and set(split.wnids[category]) <= set(classes(label_set))
        assert bool(split.wnids[category]) == (state != "unseen"), category


@pytest.mark.parametrize(("label_set", "name"), [pair for pair in FILES if contains(*pair)])
def test_what_is_contained_is_seen(label_set: str, name: str) -> None:
    assert set(load_split(f"{label_set}_{name}").states.values()) == {"seen"}


def test_of_coco_stuff_the_things_are_seen_alone() -> None:
    things = set(load_split("imagenet1k_coco80").states)
    for name in ("cocostuff", "cocostuff171"):
        states = load_split(f"coco80_{name}").states
        assert {category for category, state in states.items() if state == "seen"} == things
        assert "narrow" not in states.values()


def test_wider_classes_and_homographs_are_settled() -> None:
    ade, objects = load_split("coco80_ade20k"), load_split("objects365_coco80")
    assert (ade.states["armchair"], ade.wnids["armchair"]) == ("seen", ("chair", "couch"))
    assert (ade.states["sofa"], ade.states["ship"], ade.states["seat"]) == ("seen", "seen", "narrow")
    assert ade.states["wall"] == ade.states["lamp"] == "unseen"
    assert objects.wnids["teddy bear"] == ("Stuffed Toy",) and objects.wnids["tv"] == ("Moniter/TV",)
    assert load_split("objects365_ade20k").wnids["pot"] == ("Potted Plant",)
    assert load_split("openimages_coco80").wnids["mouse"] == ("Computer mouse",)
    assert load_split("lvis_coco80").states["hot dog"] == "narrow"


def test_voc_has_seen_its_twenty_of_coco() -> None:
    states = load_split("voc20_coco80").states
    assert {category for category, state in states.items() if state == "seen"} == set(VOC_NAMES.values())
    assert list(states.values()).count("unseen") == 60
    ade = load_split("voc20_ade20k")
    assert (ade.states["sofa"], ade.states["bag"], ade.wnids["animal"]) == (
        "seen",
        "unseen",
        ("bird", "cat", "dog", "horse", "sheep", "cow"),
    )


def test_a_list_in_its_own_words_is_copied_as_seen() -> None:
    context = load_split("ade20k_context59")
    assert (context.states["wall"], context.wnids["computer"]) == ("seen", ("computer",))
    assert {name for name in VOC_NAMES if load_split("ade20k_voc20").states[name] != "seen"} == {"train"}


def test_the_panoptic_classes_know_no_dropped_stuff() -> None:
    split = load_split("cocostuff_cocostuff171")
    unseen = {category for category, state in split.states.items() if state == "unseen"}
    dropped = {row["category"] for row in read_lines(STUFF_BY_HAND) if row["panoptic"] == "dropped"}
    assert unseen == dropped and "cloth" in dropped
    assert (split.wnids["branch"], split.wnids["door-stuff"]) == (("tree-merged",), ("door-stuff",))


def test_every_decision_is_used() -> None:
    for row in read_lines(BY_HAND):
        assert (row["label_set"], row["list"]) in FILES, row
        split = load_split(f"{row['label_set']}_{row['list']}")
        assert (split.states[row["category"]], split.reasons[row["category"]]) == (
            row["state"],
            f"by hand: {row['reason']}",
        )
