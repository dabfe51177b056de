"""The registry of label sets, and the states of categories under them."""

from __future__ import annotations

import pytest

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.vit.supervision import CLASSIFIERS
from ltrp_bench.selectors.vit.timm_tag_table import PARTS
from ltrp_bench.tasks.data.class_lists import VOC_NAMES
from ltrp_bench.tasks.data.shapes.world import CATEGORIES as SHAPES
from ltrp_bench.tasks.data.synsets import imagenet_classes, imagenet_wnids
from ltrp_bench.tasks.splits.label_sets import (
    LABEL_SETS,
    category_lists,
    category_states,
    contains,
    find_label_set,
    find_list,
    implied_split,
    is_open,
    label_sets_for,
    lists_split_by,
    split_for,
)
from ltrp_bench.tasks.splits.split import load_split

COCO = tuple(load_split("imagenet1k_coco80").states)
IMAGENET = imagenet_classes()


def test_the_imagenets_have_the_numbers_of_classes_that_are_registered() -> None:
    for name in ("imagenet1k", "imagenet12k", "imagenet21k"):
        assert len(imagenet_wnids(name)) == len(set(imagenet_wnids(name))) == LABEL_SETS[name].classes
    one, twelve, twenty_one = (set(imagenet_wnids(f"imagenet{n}k")) for n in (1, 12, 21))
    assert one <= twenty_one and twelve <= twenty_one
    assert len(one - twelve) == 7 and "n04399382" in one - twelve


def test_containment_passes_through_label_sets_in_between() -> None:
    assert contains("imagenet21k", "imagenet1k") and contains("imagenet21k", "imagenet12k")
    assert not contains("imagenet12k", "imagenet1k"), "seven of the 1,000 are missing"
    assert contains("cocostuff171", "voc20") and not contains("voc20", "coco80")
    assert contains("captions", "captions") and not contains("captions", "voc20") and contains("mine", "mine")
    assert all(inner in LABEL_SETS for found in LABEL_SETS.values() for inner in found.contains)


def test_label_sets_of_timms_weights_are_known() -> None:
    of_tags = {name for part in PARTS for name in part.label_sets or ()}
    assert of_tags >= {"imagenet1k", "imagenet12k", "imagenet21k", "captions", "hashtags"}
    assert of_tags | set(CLASSIFIERS.values()) <= set(LABEL_SETS)


def test_an_unknown_label_set_is_named_with_the_nearest() -> None:
    assert find_label_set("coco80").classes == 80
    with pytest.raises(UsageError, match="no label set 'imagenet22k'; did you mean 'imagenet21k'"):
        find_label_set("imagenet22k")


def test_the_smallest_list_with_all_categories_is_taken() -> None:
    assert find_list(["person", "cow"]) == "voc20" and find_list(["person", "giraffe"]) == "coco80"
    assert find_list(["giraffe", "sea"]) == "cocostuff" and find_list(["giraffe", "cloth"]) == "cocostuff171"
    assert find_list(["tench", "goldfish"]) == "imagenet1k" and find_list(SHAPES[:3]) == "shapes"
    assert find_list(["person", "unicorn"]) is None and find_list([]) is None


def test_states_are_those_of_the_split_of_the_list() -> None:
    for name, categories in category_lists().items():
        if name not in ("imagenet1k", "shapes"):
            assert category_states("imagenet1k", categories) == load_split(f"imagenet1k_{name}").states
    assert category_states("imagenet1k", ["kite", "person", "cow"]) == {
        "kite": "unseen",
        "person": "narrow",
        "cow": "seen",
    }


def test_a_label_set_has_seen_its_own_categories() -> None:
    assert category_states("coco80", COCO) == dict.fromkeys(COCO, "seen")
    assert category_states("cocostuff171", COCO) == dict.fromkeys(COCO, "seen")
    assert category_states("coco80", VOC_NAMES) == dict.fromkeys(VOC_NAMES, "seen")
    assert category_states("imagenet1k", IMAGENET.values()) == dict.fromkeys(IMAGENET.values(), "seen")


@pytest.mark.parametrize("label_set", ["captions", "hashtags", "jft300m", "imagenet0k", "mine"])
def test_open_and_unknown_label_sets_are_none(label_set: str) -> None:
    assert category_states(label_set, COCO) is None and category_states(label_set, SHAPES) is None


def test_categories_in_no_list_are_none() -> None:
    assert category_states("imagenet1k", ["person", "unicorn"]) is None


def test_classes_of_imagenet_1k_under_other_label_sets() -> None:
    names = tuple(IMAGENET.values())
    assert set(category_states("imagenet21k", names).values()) == {"seen"}
    twelve = category_states("imagenet12k", names)
    assert {name for name, state in twelve.items() if state == "unseen"} == {
        IMAGENET[wnid] for wnid in set(imagenet_wnids()) - set(imagenet_wnids("imagenet12k"))
    }
    coco = category_states("coco80", names)
    # The kite among the 1,000 is a bird, so COCO has labelled it as one.
    expected = {
        "n02403003": "seen",
        "n02412080": "narrow",
        "n03063599": "seen",
        "n01608432": "seen",
        "n01440764": "unseen",
    }
    assert {wnid: coco[IMAGENET[wnid]] for wnid in expected} == expected


def test_shapes_contain_nothing_of_photographs_and_photographs_nothing_of_shapes() -> None:
    assert category_states("shapes-seen/0", COCO) == dict.fromkeys(COCO, "unseen")
    assert category_states("imagenet21k", SHAPES) == dict.fromkeys(SHAPES, "unseen")
    for fold in (0, 1):
        assert category_states(f"shapes-seen/{fold}", SHAPES) == load_split(f"shapes/{fold}").states


def test_a_split_for_some_categories() -> None:
    split = split_for("imagenet1k", ["giraffe", "cat"])
    whole = load_split("imagenet1k_coco80")
    assert split.label_set == "imagenet1k" and dict(split.states) == {"cat": "seen", "giraffe": "unseen"}
    assert split.wnids["cat"] == load_split("imagenet1k_coco80").wnids["cat"]
    assert split_for("imagenet1k", COCO).fingerprint() == whole.fingerprint()


def test_the_lists_that_a_label_set_splits() -> None:
    assert lists_split_by("imagenet1k") == sorted(category_lists())
    assert lists_split_by("openimages") == ["coco80", "shapes", "voc20"] and lists_split_by("captions") == []
    assert set(category_states("objects365", COCO).values()) == {"seen"}
    assert category_states("openimages", category_lists()["ade20k"]) is None


def test_without_a_split_the_choices_are_named() -> None:
    with pytest.raises(UsageError, match="captions is an open label set.*choose from imagenet1k, "):
        split_for("captions", COCO)
    with pytest.raises(UsageError, match="no split of these 1 categories by imagenet1k; there are splits by shapes-"):
        split_for("imagenet1k", ["unicorn"])
    with pytest.raises(UsageError, match="did you mean 'coco80'"):
        split_for("coco8", COCO)


def test_open_label_sets() -> None:
    assert [name for name in LABEL_SETS if is_open(name)] == ["captions", "hashtags", "jft300m", "bamboo", "sa1b"]
    assert not is_open("mine")


def test_a_split_names_its_label_set_and_holds_these_categories_only() -> None:
    names = tuple(IMAGENET.values())
    for label_set in ("imagenet1k", "imagenet12k", "imagenet21k", "coco80", "shapes-seen/1"):
        assert split_for(label_set, names).label_set == label_set
    for categories in (SHAPES[:2], COCO[:2]):
        assert split_for("shapes-seen/1", categories).label_set == "shapes-seen/1"
        assert split_for("cocostuff171", categories).label_set == "cocostuff171"
    some = split_for("imagenet1k", ["giraffe", "cat"])
    assert set(some.states) == set(some.reasons) == set(some.wnids) == {"giraffe", "cat"}
    assert some.reasons["cat"] == load_split("imagenet1k_coco80").reasons["cat"] != ""


def test_drawn_categories_among_others_keep_their_fold() -> None:
    mixed = category_states("shapes-seen/1", (*SHAPES, "cat"))
    assert mixed == {**load_split("shapes/1").states, "cat": "unseen"}


def test_a_class_of_imagenet_has_the_greatest_state_of_the_categories_that_it_counts_for() -> None:
    ranks = {"unseen": 0, "narrow": 1, "seen": 2}
    for label_set in ("voc20", "ade20k", "coco80"):
        split = load_split(f"imagenet1k_{label_set}")
        states = [split] if label_set == "ade20k" else [split, load_split("imagenet1k_voc20")]
        found = category_states(label_set, tuple(IMAGENET.values()))
        for wnid, name in IMAGENET.items():
            known = [one.states[c] for one in states for c, wnids in one.wnids.items() if wnid in wnids]
            assert found[name] == max(known, key=ranks.__getitem__, default="unseen"), (label_set, name)
        assert set(found.values()) == {"seen", "narrow", "unseen"}


def test_splits_that_another_list_implies() -> None:
    own = implied_split("coco80_coco80")
    assert own is not None and own.label_set == "coco80" and own.states == dict.fromkeys(COCO, "seen")
    whole = implied_split("imagenet21k_imagenet1k")
    assert whole is not None and set(whole.states.values()) == {"seen"} and len(whole.states) == 1000
    for name in ("imagenet12k", "imagenet21k", "coco80"):
        assert implied_split(f"{name}_imagenet1k").label_set == name
    twelve = implied_split("imagenet12k_imagenet1k")
    assert twelve.counts() == {"seen": 993, "narrow": 0, "unseen": 7}
    assert implied_split("shapes-seen/1_coco80").label_set == "shapes-seen/1"
    of_shapes = implied_split("imagenet1k_shapes")
    assert of_shapes is not None and of_shapes.states == dict.fromkeys(SHAPES, "unseen")
    for name in ("imagenet1k_coco80", "mine_coco80", "coco80_mine", "captions_coco80", "voc20_ade20k", "coco80"):
        assert implied_split(name) is None, name


def test_label_sets_under_which_states_are_known() -> None:
    assert label_sets_for(["unicorn"]) == ["shapes-seen/0", "shapes-seen/1"]
    assert label_sets_for(["cow", "person"])[:4] == ["imagenet1k", "imagenet12k", "imagenet21k", "coco80"]
    assert not {"captions", "lvis"} <= set(label_sets_for(COCO))
