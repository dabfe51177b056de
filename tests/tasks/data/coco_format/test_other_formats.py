from __future__ import annotations

from typing import Any

import pytest

from ltrp_bench.tasks.data.coco_format.other_formats import what_is_wrong

LISTS: dict[str, Any] = {"images": [], "annotations": [], "categories": []}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([{"image_id": 1, "score": 0.5}], "a model's detections"),
        ([{"id": 1, "data": {}, "annotations": []}], "Label Studio's own JSON"),
        ([{"image": "a.jpg", "annotations": []}], "CreateML"),
        ([], "it is a list"),
        (3, "a single value"),
        ({"shapes": [], "imagePath": "a.jpg"}, "labelme2coco"),
        ({"a.jpg12": {"regions": []}}, "VGG's Image Annotator"),
        ({"_via_img_metadata": {}}, "VGG's Image Annotator"),
        ({**LISTS, "annotations": [{"caption": "a cat"}]}, "captions"),
        ({**LISTS, "annotations": [{"segments_info": []}]}, "panoptic"),
        ({**LISTS, "categories": {"1": "cat"}}, "'categories' is no list"),
        ({"images": []}, "no list 'annotations'"),
    ],
)
def test_other_formats_are_named(content: Any, words: str) -> None:
    assert words in (what_is_wrong(content) or "")


def test_cocos_own_format() -> None:
    assert what_is_wrong(LISTS) is None
    assert what_is_wrong({**LISTS, "annotations": [{"bbox": [], "caption": "x"}]}) is None
