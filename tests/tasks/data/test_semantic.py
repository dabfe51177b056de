from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.data.class_masks.folders import MaskFolder
from ltrp_bench.tasks.data.semantic import BACKGROUND, MaskSemanticDataset

MASK = np.array([[0, 2, 2], [5, 255, 0]], np.uint8)


def folder(root: Path, mask: np.ndarray = MASK) -> MaskFolder:
    for name, pixels in (("images", np.repeat(mask[..., None], 3, 2)), ("masks", mask)):
        (root / name).mkdir()
        Image.fromarray(pixels).save(root / name / "a.png")
    return MaskFolder(
        images=root / "images",
        masks=root / "masks",
        names={2: "cat", 5: "sky"},
        ignored_values=frozenset({0, 255}),
        listed_in="the list",
        split="none",
        stems=("a",),
    )


def test_values_become_indices_of_classes(tmp_path: Path) -> None:
    dataset = MaskSemanticDataset(folder(tmp_path))
    assert dataset.classes == dataset.categories == ("cat", "sky") and dataset.ids == ("a",)
    found = dataset.semantic(0)
    assert found.dtype == np.int16 and found.tolist() == [[-1, 0, 0], [1, -1, -1]]
    assert dataset.pixels(0).shape == (2, 3, 3) and dataset.domain == "photos"
    assert dataset.revision == dataset.objects.revision


def test_background_is_the_first_class_if_it_counts(tmp_path: Path) -> None:
    dataset = MaskSemanticDataset(folder(tmp_path), background=0)
    assert dataset.classes == (BACKGROUND, "cat", "sky") and dataset.categories == ("cat", "sky")
    assert dataset.semantic(0).tolist() == [[0, 1, 1], [2, -1, 0]]
    # Background is no object, whether or not it is a class.
    assert [item.category for item in dataset.objects.truth(0).objects] == ["cat", "sky"]


def test_an_unknown_value_is_named(tmp_path: Path) -> None:
    dataset = MaskSemanticDataset(folder(tmp_path, MASK + 1))
    with pytest.raises(InputError, match=r"mask .*a\.png holds 1, 3, 6, which the list does not list: correct the"):
        dataset.semantic(0)
