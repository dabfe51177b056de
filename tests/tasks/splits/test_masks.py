"""Splits of data sets with class masks: panoptic COCO, COCO-Stuff and VOC."""

from __future__ import annotations

import build_masks
import pytest
from split_files import IMAGENETS, read_lines, split_path
from wordnet import WORDNET

from ltrp_bench.tasks.data.synsets import imagenet_wnids
from ltrp_bench.tasks.splits.split import load_split


def test_the_split_files_are_what_their_script_makes() -> None:
    if not WORDNET.is_file():
        pytest.skip(f"{WORDNET} is not here: apt-get install wordnet-base")
    made = build_masks.build()
    assert len(made) == 3 * len(IMAGENETS)
    for path, text in made.items():
        assert path.read_text() == text, path.name


@pytest.mark.parametrize("label_set", IMAGENETS)
@pytest.mark.parametrize(("name", "number"), [("cocostuff", 133), ("cocostuff171", 171), ("voc20", 20)])
def test_every_class_has_a_state_and_a_reason(label_set: str, name: str, number: int) -> None:
    rows = read_lines(split_path(label_set, name))
    assert len(rows) == number == len(load_split(f"{label_set}_{name}").states)
    known = set(imagenet_wnids(label_set))
    for row in rows:
        assert row["reason"] and set(row["wnids"].split()) <= known
        assert bool(row["wnids"]) == (row["state"] != "unseen"), row["category"]


def test_things_keep_their_state_and_stuff_is_settled() -> None:
    things = load_split("imagenet1k_coco80").states
    panoptic, stuff = (load_split(f"imagenet1k_{name}").states for name in ("cocostuff", "cocostuff171"))
    assert all(panoptic[name] == stuff[name] == state for name, state in things.items())
    assert {panoptic[c] for c in ("sky-other-merged", "tree-merged", "road", "river", "snow", "banner")} == {"unseen"}
    assert {panoptic[c] for c in ("pillow", "towel", "fruit", "fence-merged", "building-other-merged")} == {"seen"}
    assert {panoptic[c] for c in ("door-stuff", "curtain", "tent", "sea", "bridge", "house")} == {"narrow"}
    assert stuff["napkin"] == "unseen" and stuff["mat"] == "seen"
    voc20 = load_split("imagenet1k_voc20").states
    assert {name for name, state in voc20.items() if state == "narrow"} == {"person", "horse", "sheep"}
    assert voc20["cow"] == voc20["tvmonitor"] == "seen" and "unseen" not in voc20.values()
