from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.tasks.data.class_masks.layouts import find_ade20k, find_context
from ltrp_bench.tasks.data.class_masks.regions import MaskRegionDataset
from ltrp_bench.tasks.registry import create_task


def ade20k(root: Path, *masks: list[int]) -> Path:
    """A selection of ADE20K; each mask has bands of ten rows of these values."""
    for number, values in enumerate(masks):
        mask = np.repeat(np.array(values, np.uint8), 10)[:, None] * np.ones((1, 8), np.uint8)
        for folder, pixels in (("images", np.zeros((*mask.shape, 3), np.uint8)), ("annotations", mask)):
            (root / folder).mkdir(exist_ok=True, parents=True)
            suffix = "jpg" if folder == "images" else "png"
            Image.fromarray(pixels).save(root / folder / f"{number}.{suffix}")
    return root


def categories(root: Path, zero_based: bool | None = None) -> tuple[set[str], tuple[str, ...]]:
    folder = find_ade20k(root, zero_based=zero_based)
    dataset = MaskRegionDataset(folder)
    assert list(dataset.assumptions) == folder.notes.assumptions
    return {item.category for i in range(len(dataset)) for item in dataset.truth(i).objects}, dataset.assumptions


SCENE = {"wall", "building", "sky"}


@pytest.mark.parametrize(
    ("masks", "line"),
    [
        (
            [[1, 2, 3]],
            "numbered from 1, since none of the pixels looked at is 150 and 0.0% are 0",
        ),
        ([[0, 1, 2, 3, 3, 3, 3, 3]], "numbered from 1, since none .* 12.5% are 0; .*zero_based=true"),
        ([[0, 1, 2] + [255] * 9], "numbered from 0, since 75.0% of the pixels looked at are 255 and none is 150"),
    ],
)
def test_the_masks_decide_and_it_is_said(tmp_path: Path, masks: list[list[int]], line: str) -> None:
    found, said = categories(ade20k(tmp_path, *masks))
    assert found == SCENE and len(said) == 1
    assert re.search(line, said[0])


def test_the_number_of_the_last_class_proves_it(tmp_path: Path) -> None:
    found, said = categories(ade20k(tmp_path, [0, 0, 0, 1], [150]))
    assert found == {"wall", "flag"} and said == ()


def test_many_zeros_need_the_option(tmp_path: Path) -> None:
    root = ade20k(tmp_path, [0, 1, 2])
    assert find_ade20k(root).unclear and not find_ade20k(root, zero_based=True).unclear
    with pytest.raises(UsageError, match=r"may be numbered from 0 or from 1: .* give --task-option zero_based=true"):
        create_task("ade20k-coverage", data=root)
    assert len(create_task("ade20k-coverage", data=root, zero_based=True)) == 1


def test_the_option_decides(tmp_path: Path) -> None:
    root = ade20k(tmp_path, [0, 1, 2])
    assert categories(root, zero_based=True) == (SCENE, ())
    assert categories(root, zero_based=False) == ({"wall", "building"}, ())
    revisions = {MaskRegionDataset(find_ade20k(root, zero_based=value)).revision for value in (True, False)}
    assert len(revisions) == 2


def test_pascal_context_with_void_is_numbered_from_zero(tmp_path: Path) -> None:
    for folder in ("JPEGImages", "SegmentationClassContext"):
        (tmp_path / folder).mkdir()
    mask = np.full((8, 8), 255, np.uint8)
    mask[:2] = 0
    Image.fromarray(mask).save(tmp_path / "SegmentationClassContext" / "a.png")
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "JPEGImages" / "a.jpg")
    folder = find_context(tmp_path)
    dataset = MaskRegionDataset(folder)
    assert [(item.category, item.area) for item in dataset.truth(0).objects] == [("aeroplane", 16)]
    assert "numbered from 0, since 75.0% of the pixels looked at are 255" in folder.notes.assumptions[0]
    mask[0, 0] = 59
    Image.fromarray(mask).save(tmp_path / "SegmentationClassContext" / "a.png")
    assert find_context(tmp_path).notes.assumptions == [] and find_context(tmp_path).names[1] == "aeroplane"
