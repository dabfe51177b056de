from __future__ import annotations

import pytest

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.tasks.data.class_lists import VOC_NAMES, class_list
from ltrp_bench.tasks.splits.split import load_split


@pytest.mark.parametrize(
    ("dataset", "count", "first", "color"),
    [
        ("ADE20K", 150, "wall", (120, 120, 120)),
        ("Context-59", 59, "aeroplane", (180, 120, 120)),
        ("VOC", 21, "background", (0, 0, 0)),
        ("COCO-Stuff", 171, "person", (0, 192, 64)),
    ],
)
def test_lists_are_mmsegs(dataset: str, count: int, first: str, color: tuple[int, int, int]) -> None:
    found = class_list(dataset)
    assert len(found.names) == len(found.palette) == len(set(found.names)) == count
    assert found.names[0] == first and found.palette[0] == color
    assert all(name == name.strip() for name in found.names)


def test_vocs_classes_in_their_order_with_cocos_names() -> None:
    assert class_list("VOC").names[1:] == tuple(VOC_NAMES)
    assert set(VOC_NAMES.values()) <= set(load_split("imagenet1k_coco80").states)
    assert (VOC_NAMES["sofa"], VOC_NAMES["tvmonitor"]) == ("couch", "tv")


def test_an_unknown_list_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"^no class list 'Cityscapes': there are ADE20K, Context-59, VOC, COCO-Stuff$"
    ):
        class_list("Cityscapes")
