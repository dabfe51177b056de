"""Masks and images whose names differ, in one folder or two, and the options that name folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from toy_data import CLASSES, MASK, colored, save_png

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.data.class_masks.folders import MaskOptions
from ltrp_bench.tasks.data.class_masks.layouts import find_ade20k, find_stuff, find_voc
from ltrp_bench.tasks.data.class_masks.pairs import bare_mask
from ltrp_bench.tasks.data.class_masks.regions import MaskRegionDataset


def folder(root: Path, image: str, mask: str) -> Path:
    save_png(colored(MASK), root / "images" / image)
    save_png(MASK, root / "masks" / mask)
    (root / "classes.txt").write_text(CLASSES)
    return root


@pytest.mark.parametrize(
    ("name", "bare"),
    [
        ("a_mask", "a"),
        ("x/a-labels", "x/a"),
        ("mask_a", "a"),
        ("a_gtFine_labelIds", "a"),
        ("a_SEG", "a"),
        ("amask", "amask"),
        ("mask", "mask"),
        ("a_jpg.rf.1f_mask", "a_jpg.rf.1f"),
    ],
)
def test_what_exporters_add_to_a_name(name: str, bare: str) -> None:
    assert bare_mask(name) == bare


@pytest.mark.parametrize(
    ("image", "mask", "image_id"),
    [
        ("a.jpg", "a_mask.png", "a"),
        ("x/a.jpg", "x/a_gt.png", "x/a"),
        ("a_leftImg8bit.png", "a_gtFine_labelIds.png", "a_leftImg8bit"),
        ("a.jpg", "mask_a.bmp", "a"),
        ("a.jpg", "a.tif", "a"),
        ("a.jpg", "A.PNG", "A"),
        ("a.jpg", "a.jpg.png", "a.jpg"),
    ],
)
def test_a_mask_of_another_name(tmp_path: Path, image: str, mask: str, image_id: str) -> None:
    dataset = MaskRegionDataset(find_stuff(folder(tmp_path, image, mask)))
    assert dataset.ids == (image_id,) and dataset.pixels(0).shape == (3, 4, 3)
    assert [(item.category, item.area) for item in dataset.truth(0).objects] == [("cat", 3), ("sky", 4)]
    stem, own = Path(image).with_suffix(""), Path(mask).with_suffix("")
    assert bool(dataset.assumptions) == (stem != own and "jpg.png" not in mask)


def test_masks_beside_the_named_ones_are_counted(tmp_path: Path) -> None:
    root = folder(tmp_path, "a.jpg", "a_labelIds.png")
    save_png(MASK, root / "masks" / "a_color.png")
    dataset = MaskRegionDataset(find_stuff(root))
    assert dataset.ids == ("a",)
    assert dataset.omissions()[0].line == "1 of 2 masks left out: no image has their name (first a_color.png)"
    save_png(MASK, root / "masks" / "a_mask.png")
    with pytest.raises(
        InputError, match=r"1 images .* have no mask, first a: .* named otherwise, such as 'a_color\.png'"
    ):
        find_stuff(root)


def test_images_in_folders_below_are_not_lost(tmp_path: Path) -> None:
    root = folder(tmp_path, "a.jpg", "a.png")
    folder(tmp_path, "x/b.jpg", "x/b.png")
    folder(tmp_path, "y/c.jpg", "a.png")
    save_png(MASK, root / "masks" / "drawn" / "a.png")
    dataset = MaskRegionDataset(find_stuff(root))
    assert dataset.ids == ("a", "x/b")
    assert dataset.omissions()[0].line == "1 of 3 images left out: they have no mask (first y/c)"


def test_named_folders(tmp_path: Path) -> None:
    root = folder(tmp_path, "a.jpg", "a.png")
    (root / "images").rename(root / "photos")
    dataset = MaskRegionDataset(find_stuff(root, options=MaskOptions(images="photos")))
    assert dataset.ids == ("a",) and dataset.pixels(0).shape == (3, 4, 3)
    with pytest.raises(InputError, match=r"--task-option images=scans: no such file or folder; looked for"):
        find_stuff(root, options=MaskOptions(images="scans"))
    for find in (find_voc, find_ade20k):
        options = MaskOptions(images=root / "photos", masks="masks")
        assert find(root, options=options).stems == ("a",)


def test_images_and_masks_in_one_folder(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_png(colored(MASK), tmp_path / "all" / f"{name}.jpg")
        save_png(MASK, tmp_path / "all" / f"{name}.png")
    (tmp_path / "classes.txt").write_text(CLASSES)
    dataset = MaskRegionDataset(find_stuff(tmp_path, options=MaskOptions(images="all", masks="all")))
    assert dataset.ids == ("a", "b") and dataset.assumptions == ()
    assert not np.array_equal(dataset.pixels(0), colored(MASK))  # the JPEG


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("img_dir/val", "ann_dir/val"),
        ("images/val", "annotations/val"),
        ("Images/Validation", "Annotations/Validation"),
        ("images/validation", "labels/validation"),
        ("images", "masks"),
    ],
)
def test_other_layouts_of_ade20k(tmp_path: Path, images: str, masks: str) -> None:
    save_png(colored(MASK), tmp_path / images / "a.jpg")
    save_png(MASK, tmp_path / masks / "a.png")
    dataset = MaskRegionDataset(find_ade20k(tmp_path, zero_based=False))
    assert dataset.ids == ("a",)
    assert dataset.assumptions == (f"images are read from {tmp_path / images}, masks from {tmp_path / masks}",)
