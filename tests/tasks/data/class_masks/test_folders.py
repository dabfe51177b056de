"""Layouts of data sets with class masks, each found by its own function."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from toy_data import MASK, colored, mask_folder, save_png

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.data.class_masks.folders import MaskOptions
from ltrp_bench.tasks.data.class_masks.layouts import find_stuff, find_voc
from ltrp_bench.tasks.data.class_masks.regions import MaskRegionDataset


@pytest.mark.parametrize("images", ["val2017", "images/val2017"])
@pytest.mark.parametrize("maps", ["stuffthingmaps", "stuffthingmaps_trainval2017", "annotations"])
def test_coco_stuffs_values_are_its_ids_minus_one(tmp_path: Path, images: str, maps: str) -> None:
    values = np.array([[0, 181], [155, 255]], np.uint8)
    save_png(values, tmp_path / maps / "val2017" / "000000000139.png")
    save_png(values, tmp_path / maps / "val2017" / "000000000139_labelTrainIds.png")  # a converter's, beside them
    save_png(colored(values), tmp_path / images / "000000000139.jpg")
    folder = find_stuff(tmp_path)
    dataset = MaskRegionDataset(folder)
    assert dataset.ids == ("000000000139",) and len(dataset.categories) == 171 and folder.split.endswith("171")
    assert [item.category for item in dataset.truth(0).objects] == ["person", "shelf", "wood"]
    with pytest.raises(InputError, match="train2017"):
        find_stuff(tmp_path, "train2017")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat\n", "line 1: must be 'id: name'"),
        ("1: cat\nid: name\n", "line 2: must be 'id: name'"),
        ("1: cat\n\nx: dog\n", "line 3"),
        ("1: cat\n1: dog\n", "line 2.*twice"),
        ("1: cat\n2: cat\n", "line 2.*twice"),
        ("0: unlabeled\n", "lists no classes"),
    ],
)
def test_a_bad_list_of_classes_is_reported_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_stuff(mask_folder(tmp_path, text))


def test_errors_name_what_is_missing_and_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--data DIR"):
        find_stuff(None)
    with pytest.raises(InputError, match="no folder"):
        find_stuff(tmp_path / "nowhere")
    with pytest.raises(InputError) as caught:
        find_stuff(tmp_path)
    for part in ("masks", "classes.txt", "stuffthingmaps/val2017", "annotations/val2017", "github.com/nightrome"):
        assert part in str(caught.value)
    with pytest.raises(InputError, match=r"JPEGImages.*SegmentationClass.*VOCdevkit.*VOCtrainval"):
        find_voc(tmp_path)


def test_images_without_masks_and_masks_of_nothing(tmp_path: Path) -> None:
    root = mask_folder(tmp_path)
    save_png(colored(MASK), root / "images" / "c.png")
    dataset = MaskRegionDataset(find_stuff(root))
    assert dataset.ids == ("a", "b")
    assert [one.line for one in dataset.omissions()] == ["1 of 3 images left out: they have no mask (first c)"]
    with pytest.raises(InputError, match=r"1 images in .*images have no mask, first c: looked for .*c\.png.*--strict"):
        find_stuff(root, options=MaskOptions(strict=True))
    for file in (*root.glob("masks/*"), *root.glob("images/*")):
        file.unlink()
    with pytest.raises(InputError, match="no masks"):
        find_stuff(root)
    save_png(colored(MASK), root / "images" / "c.png")
    with pytest.raises(InputError, match=r"1 images .* have no mask, first c: .*--task-option masks=DIR"):
        find_stuff(root)


def test_images_that_differ_in_their_suffix_only(tmp_path: Path) -> None:
    root = mask_folder(tmp_path)
    save_png(colored(MASK), root / "images" / "b.jpg")
    dataset = MaskRegionDataset(find_stuff(root))
    assert dataset.ids == ("a", "b") and dataset.pixels(1).shape == (3, 4, 3)
    assert dataset.assumptions[0].endswith("'b': b.jpg is used, not b.png")


def voc(root: Path, lists: dict[str, str] | None = None) -> Path:
    mask = np.array([[0, 1, 20], [255, 1, 1]], np.uint8)
    for name in ("x", "y"):
        save_png(mask, root / "SegmentationClass" / f"{name}.png")
        save_png(colored(mask), root / "JPEGImages" / f"{name}.jpg")
    save_png(colored(mask), root / "JPEGImages" / "boxes_only.jpg")
    for subset, text in (lists or {}).items():
        path = root / "ImageSets" / "Segmentation" / f"{subset}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize("below", [".", "VOC2012", "VOCdevkit/VOC2012"])
def test_a_voc_devkit_whole_and_by_its_lists(tmp_path: Path, below: str) -> None:
    voc(tmp_path / below)
    dataset = MaskRegionDataset(find_voc(tmp_path))
    assert dataset.ids == ("x", "y")
    assert [(o.category, o.area) for o in dataset.truth(0).objects] == [("aeroplane", 3.0), ("tvmonitor", 1.0)]
    voc(tmp_path / below, {"val": "y\n", "train": "x\nz\n"})
    assert find_voc(tmp_path).stems == ("y",)
    train = MaskRegionDataset(find_voc(tmp_path, "train"))
    assert train.ids == ("x",) and "1 of 2 images left out: they have no mask" in train.omissions()[0].line
    with pytest.raises(InputError, match=r"train\.txt lists z, which has no file in .*SegmentationClass \(--strict\)"):
        find_voc(tmp_path, "train", MaskOptions(strict=True))
    with pytest.raises(UsageError, match="there are train, val"):
        find_voc(tmp_path, "test")
