"""The same pixels under every loader, whatever the files are called and however they are stored."""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_png import save_grey_png

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.tasks.data.base import ImageDataset
from ltrp_bench.tasks.data.class_masks.layouts import find_ade20k, find_stuff, find_voc
from ltrp_bench.tasks.data.class_masks.regions import MaskRegionDataset
from ltrp_bench.tasks.data.coco import CocoDataset
from ltrp_bench.tasks.data.imagenet import find_labelled
from ltrp_bench.tasks.data.nuswide import NusWideDataset
from ltrp_bench.tasks.data.voc import VocDataset

PIXELS = np.arange(32 * 16, dtype=np.uint16).reshape(16, 32) // 2  # 32 wide, 16 high
EIGHT_BITS = PIXELS.astype(np.uint8)
XML = (
    "<annotation><size><width>{}</width><height>{}</height></size><object><name>dog</name><bndbox><xmin>1</xmin>"
    "<ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object></annotation>"
)


def save(path: Path, orientation: int | None = None, pixels: np.ndarray = EIGHT_BITS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
    return path


def coco(root: Path, images: dict[str, tuple[int, int]]) -> CocoDataset:
    entries = [{"id": i, "file_name": name, "width": w, "height": h} for i, (name, (w, h)) in enumerate(images.items())]
    content = {"images": entries, "annotations": [], "categories": [{"id": 1, "name": "cat"}]}
    (root / "ann.json").write_text(json.dumps(content))
    return CocoDataset(root)


def voc(root: Path, images: dict[str, tuple[int, int]]) -> VocDataset:
    (root / "Annotations").mkdir(exist_ok=True)
    for name, size in images.items():
        (root / "Annotations" / f"{Path(name).stem}.xml").write_text(XML.format(*size))
    if not (root / "JPEGImages").exists():
        (root / "images").rename(root / "JPEGImages")
    return VocDataset(root)


def masks(root: Path, images: dict[str, tuple[int, int]]) -> MaskRegionDataset:
    for name, (w, h) in images.items():
        save(root / "masks" / f"{Path(name).stem}.png", pixels=np.ones((h, w), np.uint8))
    (root / "classes.txt").write_text("\ufeff1: cat\n", encoding="utf-8")
    return MaskRegionDataset(find_stuff(root))


ANNOTATED = [coco, voc, masks]


@pytest.mark.parametrize("make", ANNOTATED)
def test_half_turns_follow_the_other_images(tmp_path: Path, make: Callable[..., ImageDataset]) -> None:
    for kind, size in (("stored", (32, 16)), ("turned", (16, 32))):
        root = tmp_path / kind
        save(root / "images" / "half.png", 3)
        save(root / "images" / "sideways.png", 6)
        dataset = make(root, {"half.png": (32, 16), "sideways.png": size})
        pixels = dataset.pixels(0)[..., 0]
        expected = PIXELS[::-1, ::-1] if kind == "turned" else PIXELS
        assert np.array_equal(pixels, expected)
        assert np.array_equal(dataset.pixels(1)[..., 0], np.rot90(PIXELS, -1) if kind == "turned" else PIXELS)
        assert len(dataset.assumptions) == 1 and "exif=" in dataset.assumptions[0]


@pytest.mark.parametrize("make", ANNOTATED)
def test_16_bits_are_scaled_and_have_another_revision(tmp_path: Path, make: Callable[..., ImageDataset]) -> None:
    save(tmp_path / "8" / "images" / "a.png")
    save(tmp_path / "16" / "images" / "a.png", pixels=PIXELS * 257)
    eight, sixteen = (make(tmp_path / bits, {"a.png": (32, 16)}) for bits in ("8", "16"))
    assert np.array_equal(eight.pixels(0), sixteen.pixels(0)) and eight.revision != sixteen.revision


@pytest.mark.parametrize("make", ANNOTATED)
def test_hidden_files_are_no_data(tmp_path: Path, make: Callable[..., ImageDataset]) -> None:
    save(tmp_path / "images" / "a.png")
    make(tmp_path, {"a.png": (32, 16)})
    for folder in [tmp_path, *(path for path in tmp_path.iterdir() if path.is_dir())]:
        for name in ("._a.png", "._a.xml", "._ann.json", "._classes.txt", "Thumbs.db", ".ipynb_checkpoints/a.png"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(b"\0\5\x16\7")
    dataset = make(tmp_path, {"a.png": (32, 16)})
    assert len(dataset) == 1 and np.array_equal(dataset.pixels(0)[..., 0], PIXELS) and not dataset.assumptions


@pytest.mark.parametrize("make", ANNOTATED)
@pytest.mark.parametrize("there", ["cafe\u0301.png", "caf\u00e9.PNG", os.fsdecode(b"caf\xe9.png")])
def test_other_spellings_are_found_with_a_word(tmp_path: Path, make: Callable[..., ImageDataset], there: str) -> None:
    save(tmp_path / "images" / there)
    dataset = make(tmp_path, {"caf\u00e9.png": (32, 16)})
    assert len(dataset) == 1 and np.array_equal(dataset.pixels(0)[..., 0], PIXELS)
    silent = make is not coco and unicodedata.normalize("NFC", there) == "caf\u00e9.PNG"
    assert len(dataset.assumptions) == (not silent)


@pytest.mark.parametrize("make", [voc, masks])
def test_names_that_are_not_utf8_can_be_stored(tmp_path: Path, make: Callable[..., ImageDataset]) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    save(tmp_path / "images" / name)
    dataset = make(tmp_path, {name: (32, 16)})
    assert dataset.ids == ("caf\\udce9",) and np.array_equal(dataset.pixels(0)[..., 0], PIXELS)


@pytest.mark.parametrize("line", ["a 1.png", "a 1", r"JPEGImages\a 1.JPG", "\ufeffa 1", "A 1"])
def test_lines_of_lists(tmp_path: Path, line: str) -> None:
    save(tmp_path / "JPEGImages" / "a 1.JPG")
    voc(tmp_path, {"a 1.png": (32, 16), "b.png": (32, 16)})
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    (tmp_path / "ImageSets" / "Main" / "val.txt").write_text(f"{line}\r\n", encoding="utf-8")
    dataset = VocDataset(tmp_path)
    assert dataset.ids == ("a 1",) and dataset.pixels(0).shape == (16, 32, 3)


def test_lists_of_images_and_masks(tmp_path: Path) -> None:
    save(tmp_path / "JPEGImages" / "a.jpg")
    save(tmp_path / "SegmentationClass" / "a.png", pixels=np.ones((16, 32), np.uint8))
    (tmp_path / "ImageSets" / "Segmentation").mkdir(parents=True)
    (tmp_path / "ImageSets" / "Segmentation" / "val.txt").write_text("/JPEGImages/a.jpg /SegmentationClass/a.png\n")
    assert MaskRegionDataset(find_voc(tmp_path)).ids == ("a",)


def test_lists_with_marks_are_named_as_such(tmp_path: Path) -> None:
    save(tmp_path / "JPEGImages" / "a.jpg")
    voc(tmp_path, {"a.jpg": (32, 16)})
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    (tmp_path / "ImageSets" / "Main" / "val.txt").write_text("a 1\n")
    with pytest.raises(UsageError, match=r"val\.txt marks its images with 1, 0 or -1, as lists of a single class do"):
        VocDataset(tmp_path)


@pytest.mark.parametrize("suffix", [".JPG", ".png", ".jpeg"])
def test_ade20k_with_any_suffix(tmp_path: Path, suffix: str) -> None:
    save(tmp_path / "images" / f"a{suffix}")
    save(tmp_path / "annotations" / "a.PNG", pixels=np.ones((16, 32), np.uint8))
    dataset = MaskRegionDataset(find_ade20k(tmp_path))
    assert dataset.ids == ("a",) and dataset.pixels(0).shape == (16, 32, 3) and dataset.truth(0).objects


def test_nested_folders_of_masks(tmp_path: Path) -> None:
    for name in ("x/1", "y/1"):
        save(tmp_path / "images" / f"{name}.jpg")
        save(tmp_path / "masks" / f"{name}.png", pixels=np.ones((16, 32), np.uint8))
    (tmp_path / "classes.txt").write_text("1: cat\n")
    dataset = MaskRegionDataset(find_stuff(tmp_path))
    assert dataset.ids == ("x/1", "y/1") and dataset.pixels(1).shape == (16, 32, 3)


def test_sub_byte_masks_hold_class_numbers(tmp_path: Path) -> None:
    save(tmp_path / "JPEGImages" / "a.jpg")
    (tmp_path / "SegmentationClass").mkdir()
    save_grey_png(tmp_path / "SegmentationClass" / "a.png", (np.arange(512).reshape(16, 32) % 3).astype(np.uint8), 2)
    dataset = MaskRegionDataset(find_voc(tmp_path))
    assert [item.category for item in dataset.truth(0).objects] == ["aeroplane", "bicycle"]


def test_nuswide_in_other_spellings(tmp_path: Path) -> None:
    concepts = [f"c{i}" for i in range(81)]
    save(tmp_path / "Flickr" / "actor" / "Cafe\u0301 1.JPG", 3)
    (tmp_path / "Groundtruth" / "TrainTestLabels").mkdir(parents=True)
    (tmp_path / "ImageList").mkdir()
    (tmp_path / "Concepts81.txt").write_text("\ufeff" + "\n".join(concepts), encoding="utf-8")
    (tmp_path / "ImageList" / "TestImagelist.txt").write_text("\ufeffactor\\Caf\u00e9 1.jpg\r\n", encoding="utf-8")
    for name in concepts:
        (tmp_path / "Groundtruth" / "TrainTestLabels" / f"Labels_{name}_Test.txt").write_text("\ufeff1\n")
    dataset = NusWideDataset(tmp_path)
    assert dataset.ids == ("actor/Caf\u00e9 1",) and len(dataset.assumptions) == 1 and len(dataset.labels(0)) == 81
    stored, upright = dataset.pixels(0), NusWideDataset(tmp_path, exif="apply")
    assert np.array_equal(upright.pixels(0), stored[::-1, ::-1]) and upright.revision != dataset.revision


def test_class_folders_upright(tmp_path: Path) -> None:
    save(tmp_path / "cat" / "a.png", 8)
    stored, upright = find_labelled(tmp_path), find_labelled(tmp_path, exif="apply")
    assert np.array_equal(stored.pixels(0)[..., 0], PIXELS)
    assert np.array_equal(upright.pixels(0)[..., 0], np.rot90(PIXELS)) and upright.revision != stored.revision
