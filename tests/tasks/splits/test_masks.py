"""Splits of data sets with class masks: panoptic COCO, COCO-Stuff and VOC."""

from __future__ import annotations

import csv

import build_coco80
import build_masks
import pytest

from ltrp_bench.tasks.splits.split import SPLITS, load_split


def test_the_split_files_are_what_their_script_makes() -> None:
    if not build_coco80.WORDNET.is_file():
        pytest.skip(f"{build_coco80.WORDNET} is not here: apt-get install wordnet-base")
    for path, text in build_masks.build().items():
        assert path.read_text() == text, path.name


@pytest.mark.parametrize(("name", "number"), [("cocostuff", 133), ("cocostuff171", 171), ("voc20", 20)])
def test_every_class_has_a_state_and_a_reason(name: str, number: int) -> None:
    with (SPLITS / f"imagenet1k_{name}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == number == len(load_split(f"imagenet1k_{name}").states)
    known = set(build_coco80.imagenet_wnids())
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
