from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle_tools
from toy_data import CLASSES, MASK, colored, mask_folder, save_png

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.data.class_masks.layouts import PANOPTIC, find_stuff, find_voc
from ltrp_bench.tasks.data.class_masks.regions import MaskRegionDataset
from ltrp_bench.tasks.data.decoding import read_mask
from ltrp_bench.tasks.splits.split import SPLITS


def test_a_region_is_all_pixels_of_a_class(tmp_path: Path) -> None:
    dataset = MaskRegionDataset(find_stuff(mask_folder(tmp_path)))
    assert dataset.ids == ("a", "b") and dataset.categories == ("cat", "sky", "sea") and dataset.domain == "photos"
    truth = dataset.truth(dataset.index("b"), masks=True)
    assert (truth.height, truth.width) == (3, 4)
    cat, sky = truth.objects
    assert (cat.category, cat.box, cat.area) == ("cat", (1.0, 0.0, 2.0, 2.0), 3.0)
    assert (sky.category, sky.box, sky.area) == ("sky", (0.0, 0.0, 4.0, 3.0), 4.0)  # two pieces, one region
    np.testing.assert_array_equal(rle_tools.decode(sky.rle), MASK == 7)
    np.testing.assert_array_equal(dataset.pixels(1), colored(MASK))
    assert all(item.rle is None for item in dataset.truth(1).objects)


def test_zero_is_ignored_unless_it_is_listed(tmp_path: Path) -> None:
    unlisted = find_stuff(mask_folder(tmp_path / "one", CLASSES.removeprefix("0: unlabeled\n")))
    assert unlisted.ignored_values == {0} and MaskRegionDataset(unlisted).truth(1).objects[0].category == "cat"
    listed = MaskRegionDataset(find_stuff(mask_folder(tmp_path / "two", CLASSES.replace("unlabeled", "floor"))))
    assert [item.category for item in listed.truth(1).objects] == ["floor", "cat", "sky"]


def test_palette_and_sixteen_bits_are_read_as_values(tmp_path: Path) -> None:
    palette = Image.fromarray(MASK, mode="P")
    palette.putpalette([255 - i // 3 for i in range(768)])
    palette.save(tmp_path / "p.png")
    Image.fromarray(MASK.astype(np.uint16) * 300).save(tmp_path / "w.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "p.png"), MASK)
    np.testing.assert_array_equal(read_mask(tmp_path / "w.png"), MASK.astype(int) * 300)


def bad_size(root: Path) -> None:
    save_png(np.ones((4, 3), np.uint8), root / "masks" / "b.png")


def unknown_value(root: Path) -> None:
    save_png(MASK + 3, root / "masks" / "b.png")


def truncated(root: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 2, (300, 400)).astype(np.uint8)
    save_png(colored(noise), root / "images" / "b.png")
    save_png(noise, root / "masks" / "b.png")
    whole = (root / "masks" / "b.png").read_bytes()
    (root / "masks" / "b.png").write_bytes(whole[: len(whole) // 2])


def colours(root: Path) -> None:
    save_png(colored(MASK) * np.array([1, 2, 3], np.uint8), root / "masks" / "b.png")


def no_image(root: Path) -> None:
    (root / "images" / "b.png").unlink()


def broken_image(root: Path) -> None:
    (root / "images" / "b.png").write_bytes(b"no image")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (bad_size, r"image .*b\.png has 4x3 pixels, its mask .*b\.png has 3x4"),
        (unknown_value, r"mask .*b\.png holds 3, 4, 10, which classes\.txt does not list"),
        (truncated, r"mask .*b\.png is corrupt"),
        (colours, r"mask .*b\.png is an image of mode RGB"),
        (no_image, r"mask .*b\.png has no image: looked for b with \.jpg.* in .*images"),
        (broken_image, r"image .*b\.png is corrupt"),
    ],
)
def test_a_bad_file_is_one_line_and_affects_no_other(
    tmp_path: Path, harm: Callable[[Path], None], message: str
) -> None:
    harm(mask_folder(tmp_path))
    dataset = MaskRegionDataset(find_stuff(tmp_path))
    dataset.pixels(0), dataset.truth(0)
    with pytest.raises(InputError, match=message) as caught:
        dataset.pixels(1), dataset.truth(1)
    assert "\n" not in str(caught.value)


def test_revision_follows_masks_classes_and_images(tmp_path: Path) -> None:
    root = mask_folder(tmp_path)

    def revision(limit: int | None = None) -> str:
        return MaskRegionDataset(find_stuff(root), limit=limit).revision

    whole, first = revision(), revision(1)
    assert whole != first and whole == revision()
    save_png(MASK.T.copy().T[::-1], root / "masks" / "b.png")
    assert revision() != whole and revision(1) == first
    save_png(MASK, root / "masks" / "b.png")
    (root / "classes.txt").write_text(CLASSES.replace("cat", "dog"))
    assert revision() != whole
    with pytest.raises(UsageError, match="limit"):
        revision(0)


def test_genuine_folders(shared_dir: Path) -> None:
    stuff = MaskRegionDataset(find_stuff(shared_dir / "data" / "coco_stuff"))
    assert len(stuff) == 100 and len(stuff.categories) == 129
    names = {category: i for i, category in stuff.folder.names.items()}
    with (SPLITS / f"{PANOPTIC}.csv").open(newline="", encoding="utf-8") as file:
        ids = {row["category"]: int(row["coco_id"]) for row in csv.DictReader(file)}
    assert names.items() <= ids.items()
    devkit = MaskRegionDataset(find_voc(shared_dir / "data" / "voc2012"))
    assert len(devkit) == 93 and len(devkit.categories) == 20
    for dataset in (stuff, devkit):
        truth = dataset.truth(3, masks=True)
        assert dataset.pixels(3).shape == (truth.height, truth.width, 3)
        together = sum(rle_tools.decode(item.rle).astype(int) for item in truth.objects)
        assert together.max() == 1 and together.sum() == sum(item.area for item in truth.objects)


def test_vocs_masks_show_what_its_boxes_say(shared_dir: Path) -> None:
    import xml.etree.ElementTree as ET

    devkit = shared_dir / "data" / "voc2012"
    dataset = MaskRegionDataset(find_voc(devkit))
    for i, stem in enumerate(dataset.ids):
        boxed = {node.text for node in ET.parse(devkit / "Annotations" / f"{stem}.xml").iterfind("object/name")}
        assert {item.category for item in dataset.truth(i).objects} <= boxed, stem
