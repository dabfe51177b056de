from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle_tools
from pycocotools.coco import COCO

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.base import Task
from ltrp_bench.tasks.coverage import CoverageTask
from ltrp_bench.tasks.data.coco import CocoDataset
from ltrp_bench.tasks.data.coco_format.folder import CocoFolder
from ltrp_bench.tasks.detection import DetectionTask
from ltrp_bench.tasks.splits.split import CategorySplit

Edit = Callable[[dict[str, Any]], object]


def content() -> dict[str, Any]:
    return {
        "images": [
            {"id": 7, "file_name": "b.png", "height": 20, "width": 30},
            {"id": 3, "file_name": "a.png", "height": 20, "width": 30},
        ],
        "categories": [{"id": 2, "name": "dog"}, {"id": 1, "name": "cat"}],
        "annotations": [
            {
                "id": 0,
                "image_id": 7,
                "category_id": 2,
                "bbox": [5, 5, 10, 10],
                "area": 100,
                "iscrowd": 0,
                "segmentation": [[5, 5, 15, 5, 15, 15, 5, 15]],
            },
            {
                "id": 4,
                "image_id": 7,
                "category_id": 1,
                "bbox": [0, 0, 30, 1],
                "area": 30,
                "iscrowd": 1,
                "segmentation": {"size": [20, 30], "counts": [0, 20, 580]},
            },
        ],
    }


def write(root: Path, data: dict[str, Any] | str, layout: str = "images") -> Path:
    folder = root / ("images" if layout == "images" else "val2017")
    file = root / "instances.json" if layout == "images" else root / "annotations" / "instances_val2017.json"
    for directory in (folder, file.parent):
        directory.mkdir(parents=True, exist_ok=True)
    for name in ("a.png", "b.png"):
        Image.fromarray(np.full((20, 30, 3), 9, np.uint8)).save(folder / name)
    file.write_text(data if isinstance(data, str) else json.dumps(data))
    return root


@pytest.mark.parametrize("layout", ["images", "2017"])
def test_both_layouts(tmp_path: Path, layout: str) -> None:
    data = CocoFolder(write(tmp_path, content(), layout))
    assert [image.id for image in data.images] == [3, 7] and data.categories == {1: "cat", 2: "dog"}
    assert data.pixels(data.images[0]).shape == (20, 30, 3)
    polygon, crowd = data.objects[7]
    assert polygon.mask(20, 30).sum() == 100 and polygon.mask(20, 30)[5:15, 5:15].all()
    assert crowd.crowd and crowd.mask(20, 30)[:, 0].all() and crowd.mask(20, 30).sum() == 20


def test_outlines_drawn_a_little_beyond_the_image_are_cut_off(tmp_path: Path) -> None:
    data = content()
    data["annotations"][0]["segmentation"] = [[20, -5, 38, -5, 38, 15, 20, 15]]
    mask = CocoFolder(write(tmp_path, data)).objects[7][0].mask(20, 30)
    assert mask[:15, 20:].all() and mask.sum() == 150


def test_revision_follows_the_annotations(tmp_path: Path) -> None:
    first = CocoFolder(write(tmp_path / "x", content())).revision
    assert CocoFolder(write(tmp_path / "y", content(), "2017")).revision == first
    changed = content()
    changed["annotations"][0]["area"] = 99
    assert CocoFolder(write(tmp_path / "z", changed)).revision != first


def test_revision_follows_the_sizes_of_the_image_files_in_use(tmp_path: Path) -> None:
    root = write(tmp_path, content())
    whole, one = CocoDataset(root).revision, CocoDataset(root, limit=1).revision
    used, other = root / "images" / "a.png", root / "images" / "b.png"
    other.write_bytes(other.read_bytes() + b"x")
    assert CocoDataset(root).revision != whole and CocoDataset(root, limit=1).revision == one
    used.unlink()
    assert CocoDataset(root, limit=1).revision != one


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d: d["annotations"][0].update(image_id=9), "annotation 0 names image 9"),
        (lambda d: d["annotations"][0].update(category_id=9), "annotation 0 names category 9"),
        (lambda d: d["annotations"][0].update(bbox=[25, 5, 10, 10]), r"annotation 0 has the box .* outside .*b\.png"),
        (lambda d: d["annotations"][0].update(bbox=[5, 5, -1, 10]), "annotation 0 has the box"),
        (
            lambda d: d["annotations"][0].update(bbox=[5, float("nan"), 1, 1]),
            "annotation 0 has a bbox with a number that must be",
        ),
        (lambda d: d["annotations"][0].update(bbox=[5, 5]), "bbox"),
        (lambda d: d["annotations"][0].update(segmentation=[[1, 2, 3]]), "annotation 0 of image b.png has a polygon"),
        (
            lambda d: d["annotations"][1]["segmentation"].update(size=[30, 20]),
            r"annotation 4 of image b.png has a mask of \[30, 20\]",
        ),
        (
            lambda d: d["annotations"][1]["segmentation"].update(counts=[5, 5]),
            "annotation 4 of image b.png has a mask of 10 pixels",
        ),
        *[
            (lambda d, s=s: d["annotations"][0].update(segmentation=s), f"annotation 0 of image b.png has {message}")
            for s, message in (
                ([[5, 5, 15, None, 15, 15]], "a polygon with a coordinate that is not a finite"),
                ([[5, 5, 15, float("nan"), 15, 15]], "a polygon with a coordinate that is not a finite"),
                ([[5, 5, 15, float("inf"), 15, 15]], "a polygon with a coordinate that is not a finite"),
                ([[5, 5, 15, 10**400, 15, 15]], "a polygon with a coordinate that is not a finite"),
                ({"size": 7, "counts": [600]}, "a run-length code whose size"),
                ({"size": [20, 30], "counts": [700, -100]}, "a run-length code whose counts"),
                ({"size": [20, 30], "counts": 600}, "a run-length code whose counts"),
                ({"size": [20, 30], "counts": "not one"}, "a run-length code whose counts"),
                ({"size": [20, 30], "counts": "PPPPPPPPPPP"}, "a run-length code whose counts"),
            )
        ],
        *[
            (lambda d, s=s: d["annotations"][0].update(segmentation=s), f"annotation 0 has a polygon from {message}")
            for s, message in (
                ([[5, 5, 41.5, 5, 15, 15]], r"\(5, 5\) to \(41.5, 15\), outside its 30x20"),
                ([[5, -11.5, 15, 5, 15, 15]], r"\(5, -11.5\)"),
            )
        ],
        (
            lambda d: d["annotations"][1]["segmentation"].update(counts="5"),
            "annotation 4 of image b.png has a mask of 5 pixels",
        ),
        (
            lambda d: d["annotations"][1]["segmentation"].update(counts=""),
            "annotation 4 of image b.png has a mask of 0 pixels",
        ),
        (lambda d: d["images"][0].update(file_name=""), "image 7 has no file_name"),
        (lambda d: d["images"][0].update(file_name=None), "image 7 has no file_name"),
        (lambda d: d["annotations"][1].update(id=0), "annotation id 0 occurs twice"),
        (lambda d: d["images"][0].update(id=3), "image id 3 occurs twice"),
        (lambda d: d["categories"][0].update(name="cat"), "a category name occurs twice, 'cat' \\(ids 2 and 1\\)"),
        (lambda d: d.pop("annotations"), "no list 'annotations'"),
        (lambda d: d["images"].clear() or d["annotations"].clear(), "lists no images"),
    ],
)
def test_in_strict_mode_contradictions_are_one_line(tmp_path: Path, edit: Edit, message: str) -> None:
    data = content()
    edit(data)
    with pytest.raises(InputError, match=message) as caught:
        CocoFolder(write(tmp_path, data), strict=True)
    assert "\n" not in str(caught.value)


def test_corrupt_json(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"instances\.json is not valid JSON"):
        CocoFolder(write(tmp_path, json.dumps(content())[:-40]))


def test_deeply_nested_json(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"instances\.json is not a COCO .* nested too deeply"):
        CocoFolder(write(tmp_path, "[" * 200_000 + "]" * 200_000))


def test_compressed_codes_decode_as_pycocotools_does(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for share in (0.0, 0.02, 0.5, 1.0):
        mask = np.asfortranarray(rng.random((20, 30)) < share).astype(np.uint8, order="F")
        data = content()
        code = rle_tools.encode(mask)["counts"].decode("ascii")
        data["annotations"][1]["segmentation"]["counts"] = code
        np.testing.assert_array_equal(CocoFolder(write(tmp_path, data)).objects[7][1].mask(20, 30), mask)


def test_tasks_name_images_without_reading_them(tmp_path: Path) -> None:
    root = write(tmp_path, content())
    (root / "images" / "a.png").unlink()
    split = CategorySplit("x", {"cat": "seen", "dog": "unseen"})
    task = CoverageTask("toy", CocoDataset(root), split, grid=(2, 2))
    assert [task.image_id(i) for i in range(2)] == ["3", "7"] and task.load(1).image_id == "7"
    assert "image_id" in Task.__abstractmethods__ and "image_id" not in DetectionTask.__abstractmethods__


def test_a_split_that_lacks_categories_names_the_option() -> None:
    with pytest.raises(InputError, match="with --split FILE"):
        CategorySplit("x", {"cat": "seen"}).check_covers(["cat", "dog"], "toy")


def test_missing_data_set_says_what_where_and_how(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        CocoFolder(tmp_path / "nowhere")
    text = str(caught.value)
    assert "instances_val2017.json" in text and str(tmp_path / "nowhere" / "val2017") in text
    assert "cocodataset.org" in text and "\n" not in text


def test_two_json_files_are_ambiguous(tmp_path: Path) -> None:
    root = write(tmp_path, content())
    (root / "instances.json").rename(root / "this.json")
    (root / "other.json").write_text("{}")
    with pytest.raises(InputError, match="keep one, or name one with --task-option annotations=FILE"):
        CocoFolder(root)


def test_bad_images(tmp_path: Path) -> None:
    data = CocoFolder(write(tmp_path, content()))
    first = data.folder / "a.png"
    first.write_bytes(first.read_bytes()[:60])
    with pytest.raises(InputError, match=r"a\.png is corrupt"):
        data.pixels(data.images[0])
    first.unlink()
    with pytest.raises(InputError, match=r"a\.png is missing"):
        data.pixels(data.images[0])
    Image.new("RGB", (10, 20)).save(first)
    with pytest.raises(InputError, match=r"has 10x20 pixels.*30x20"):
        data.pixels(data.images[0])


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "RGBA", "I;16", "1"])
def test_every_colour_mode_comes_as_rgb(tmp_path: Path, mode: str) -> None:
    data = CocoFolder(write(tmp_path, content()))
    path = data.folder / "a.png"
    Image.new(mode, (30, 20)).save(path, format="TIFF" if mode == "CMYK" else "PNG")
    pixels = data.pixels(data.images[0])
    assert pixels.shape == (20, 30, 3) and pixels.dtype == np.uint8


def test_exif_is_applied_only_if_the_annotations_need_it(tmp_path: Path) -> None:
    data = CocoFolder(write(tmp_path, content()))
    exif = Image.Exif()
    exif[0x0112] = 6
    raw = np.zeros((20, 30, 3), np.uint8)
    raw[0, 0] = 255
    Image.fromarray(raw).save(data.folder / "a.png", exif=exif)
    assert data.pixels(data.images[0])[0, 0, 0] == 255  # stored 30x20 as annotated: left alone
    Image.fromarray(np.ascontiguousarray(raw.transpose(1, 0, 2))).save(data.folder / "a.png", exif=exif)
    assert data.pixels(data.images[0])[0, -1, 0] == 255  # stored 20x30: turned by 90 degrees


def test_the_genuine_subset(shared_dir: Path) -> None:
    data = CocoFolder(shared_dir / "data" / "coco")
    assert len(data) == 210 and len(data.categories) == 80
    official = COCO(str(data.annotations))
    for image in data.images[:20]:
        assert data.pixels(image).shape == (image.height, image.width, 3)
        for item in data.objects.get(image.id, []):
            mask = official.annToMask(official.anns[item.id])
            np.testing.assert_array_equal(item.mask(image.height, image.width), mask)


def test_the_genuine_validation_hundred(shared_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "instances.json").symlink_to(shared_dir / "data" / "coco_eval" / "instances_val2014_100.json")
    data = CocoFolder(tmp_path)
    assert len(data) >= 100 and data.objects
