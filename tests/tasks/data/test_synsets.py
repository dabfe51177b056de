from __future__ import annotations

from ltrp_bench.tasks.data.synsets import imagenet_classes, imagenet_wnids

TENCH, GOLDFISH = "n01440764", "n01443537"


def test_the_thousand_names_are_unique_and_in_timms_order() -> None:
    classes = imagenet_classes()
    assert list(classes) == imagenet_wnids() == sorted(classes) and len(set(classes.values())) == 1000
    assert classes[TENCH] == "tench" and classes["n02012849"] == "crane (n02012849)"
    assert sum("(" in name for name in classes.values()) == 4
