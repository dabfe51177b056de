"""Supervision of classifiers from names, metadata and numbers of outputs."""

from __future__ import annotations

import pytest

from ltrp_bench.selectors.base import Supervision
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.vit.supervision import supervision_of, unlabelled


@pytest.mark.parametrize(
    ("name", "outputs", "label_sets"),
    [
        ("vit_small_patch16_224.augreg_in21k_ft_in1k", 1000, "imagenet21k+imagenet1k"),
        ("vit_small_patch16_224.augreg_in1k", 1000, "imagenet1k"),
        ("vit_medium_patch16_reg4_gap_256.sbb_in12k_ft_in1k", 1000, "imagenet12k+imagenet1k"),
        ("vit_base_patch16_clip_224.laion2b_ft_in12k_in1k", 1000, "captions+imagenet12k+imagenet1k"),
        # A classifier of another label set was trained last.
        ("vit_small_patch16_224.augreg_in21k", 1000, "imagenet21k+imagenet1k"),
        ("vit_small_patch16_224.dino", 1000, "imagenet1k"),
        # Without a classifier, the tag alone counts.
        ("vit_small_patch16_224.dino", 0, "self"),
        ("vit_tiny_patch16_224.augreg_in21k_ft_in1k", 0, "imagenet21k+imagenet1k"),
        # The outputs of CLIP are an embedding.
        ("vit_base_patch16_clip_224.openai", 512, "captions"),
    ],
)
def test_the_tag_and_then_the_classifier(name: str, outputs: int, label_sets: str) -> None:
    assert str(supervision_of(name, {}, outputs, None)) == label_sets


@pytest.mark.parametrize(
    ("outputs", "label_set"),
    [(1000, "imagenet1k"), (11821, "imagenet12k"), (11221, "imagenet21k"), (21841, "imagenet21k")],
)
def test_the_number_of_outputs_where_there_is_no_tag(outputs: int, label_set: str) -> None:
    assert supervision_of(None, {}, outputs, None) == Supervision.labels(label_set)


def test_a_classifier_of_unknown_classes_is_asked_for_with_the_tags_label_sets() -> None:
    with pytest.raises(InputError, match=r"37 outputs.*label_set=NAME \(imagenet21k\+imagenet1k\+NAME\)"):
        supervision_of("vit_tiny_patch16_224.augreg_in21k_ft_in1k", {}, 37, None)
    with pytest.raises(InputError, match="classifier with 37 outputs: give label_set=NAME"):
        supervision_of(None, {}, 37, None)


def test_the_users_word_overrides_all_others() -> None:
    name, own = "vit_tiny_patch16_224.augreg_in21k_ft_in1k", {"label_set": "shapes-seen/0"}
    assert supervision_of(name, own, 1000, "imagenet21k+mine") == Supervision.labels("imagenet21k", "mine")
    assert supervision_of(name, own, 1000, "self") == Supervision.self_supervised()
    assert supervision_of(name, own, 1000, "captions") == Supervision.labels("captions")
    assert supervision_of(name, own, 8, None) == Supervision.labels("shapes-seen/0")
    with pytest.raises(UsageError, match="names joined by '[+]'"):
        supervision_of(name, own, 1000, "imagenet1k+")


def test_weights_trained_without_labels_whose_name_says_otherwise() -> None:
    assert unlabelled("vit_small_patch16_224.dino", {}) == Supervision.self_supervised()
    assert unlabelled(None, {}) == unlabelled("vit_tiny_patch16_224.mine", {}) == Supervision.self_supervised()
    with pytest.raises(UsageError, match="supervised=false, but vit_tiny.*captions[+]imagenet1k"):
        unlabelled("vit_tiny_patch16_224.openai_ft_in1k", {})
    with pytest.raises(UsageError, match="the weights were trained with labels .shapes-seen/0."):
        unlabelled(None, {"label_set": "shapes-seen/0"})
