"""The splits of ADE20K's 150 and Pascal-Context's 59 categories by ImageNet-1K, 12k and 21k."""

from __future__ import annotations

import build_scenes
import pytest
from split_files import IMAGENETS, read_lines, split_path
from wordnet import WORDNET

from ltrp_bench.tasks.data.class_lists import class_list
from ltrp_bench.tasks.data.synsets import imagenet_wnids
from ltrp_bench.tasks.splits.split import load_split


def test_the_split_files_are_what_their_script_makes() -> None:
    if not WORDNET.is_file():
        pytest.skip(f"{WORDNET} is not here: apt-get install wordnet-base")
    made = build_scenes.build()
    assert set(made) == {split_path(label_set, name) for label_set in IMAGENETS for name in ("ade20k", "context59")}
    for path, text in made.items():
        assert path.read_text() == text, path.name


@pytest.mark.parametrize("label_set", IMAGENETS)
@pytest.mark.parametrize(("name", "dataset", "number"), [("ade20k", "ADE20K", 150), ("context59", "Context-59", 59)])
def test_every_category_has_its_value_a_state_and_a_reason(
    label_set: str, name: str, dataset: str, number: int
) -> None:
    lines = read_lines(split_path(label_set, name))
    assert [line["category"] for line in lines] == list(class_list(dataset).names)
    assert [line["value"] for line in lines] == [str(i) for i in range(1, number + 1)]
    known = set(imagenet_wnids(label_set))
    for line in lines:
        assert line["reason"] and line["state"] in ("seen", "narrow", "unseen")
        assert set(line["wnids"].split()) <= known
        assert bool(line["wnids"]) == (line["state"] != "unseen"), line["category"]


def test_a_synset_counts_for_the_narrowest_category_alone() -> None:
    """In nested categories of ADE20K, the wider one keeps the remaining synsets, and is narrow if none remain."""
    ade = load_split("imagenet1k_ade20k")
    desk, pool_table, four_poster = ade.wnids["desk"], ade.wnids["pool table"], ade.wnids["bed"]
    assert len(desk) == len(pool_table) == 1 and four_poster and ade.states["table"] == "seen"
    assert not {*desk, *pool_table} & set(ade.wnids["table"])
    assert not set(ade.wnids["cradle"]) & set(four_poster)
    assert (ade.states["cushion"], ade.states["pillow"]) == ("narrow", "seen")
    assert "in narrower categories (pillow)" in ade.reasons["cushion"]


def test_categories_of_one_meaning_have_one_state_everywhere() -> None:
    ade, context = load_split("imagenet1k_ade20k"), load_split("imagenet1k_context59")
    coco, stuff = load_split("imagenet1k_coco80"), load_split("imagenet1k_cocostuff171")
    assert all(
        context.states[name] == state
        for name, state in load_split("imagenet1k_voc20").states.items()
        if name not in ("diningtable",)
    )
    for ours, theirs in (("sofa", "couch"), ("airplane", "airplane"), ("minibike", "motorcycle"), ("oven", "oven")):
        assert (ade.states[ours], ade.wnids[ours]) == (coco.states[theirs], coco.wnids[theirs])
    for ours, theirs in (("door", "door-stuff"), ("sea", "sea"), ("step", "stairs"), ("stairway", "stairs")):
        assert (ade.states[ours], ade.wnids[ours]) == (stuff.states[theirs], stuff.wnids[theirs])
    assert ade.states["wall"] == context.states["wall"] == "narrow" and ade.states["sky"] == "unseen"
    assert ade.states["screen"] == "unseen" and ade.states["computer"] == ade.states["pier"] == "seen"
