"""Entries that contradict the rest of a file: completed, clipped or left out, and counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.data.coco import CocoDataset

Edit = Callable[[dict[str, Any]], object]
TRIANGLE = [[2, 2, 12, 2, 2, 12]]


def coco(root: Path, edit: Edit = lambda entry: None, *more: dict[str, Any], **lists: Any) -> Path:
    """A data set of one image of 30x20 pixels whose first annotation, a box of 10x10, is edited."""
    (root / "images").mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((20, 30, 3), 9, np.uint8)).save(root / "images" / "a.png")
    entry = {"id": 1, "image_id": 7, "category_id": 1, "bbox": [5, 5, 10, 10], "area": 100, "iscrowd": 0}
    edit(entry)
    content = {
        "images": [{"id": 7, "file_name": "a.png", "height": 20, "width": 30}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [entry, *more],
        **lists,
    }
    (root / "ann.json").write_text(json.dumps(content))
    return root


def other(**changes: Any) -> dict[str, Any]:
    return {"id": 2, "image_id": 7, "category_id": 2, "bbox": [0, 0, 4, 4], "area": 16, "iscrowd": 0, **changes}


def lines(dataset: CocoDataset) -> list[str]:
    return [one.line for one in dataset.omissions()]


@pytest.mark.parametrize("value", [0, 0.0, False, None, "0", "0.0", "false", ""])
def test_no_crowds(tmp_path: Path, value: object) -> None:
    dataset = CocoDataset(coco(tmp_path, lambda e: e.update(iscrowd=value)))
    assert [item.crowd for item in dataset.truth(0).objects] == [False] and lines(dataset) == []


@pytest.mark.parametrize("value", [1, True, "1", "true", 1.0])
def test_crowds(tmp_path: Path, value: object) -> None:
    assert CocoDataset(coco(tmp_path, lambda e: e.update(iscrowd=value))).truth(0).objects[0].crowd


@pytest.mark.parametrize(("area", "revised"), [(None, True), (-1, True), (float("nan"), True), ("x", True), (0, True)])
def test_areas_that_are_none_come_from_the_mask(tmp_path: Path, area: Any, revised: bool) -> None:
    given = CocoDataset(coco(tmp_path / "x", lambda e: e.update(segmentation=TRIANGLE, area=45)))
    assert given.truth(0).objects[0].area == 45 and lines(given) == []
    dataset = CocoDataset(coco(tmp_path / "y", lambda e: e.update(segmentation=TRIANGLE, area=area)))
    mask = dataset.folder.objects[7][0].mask(20, 30)
    assert dataset.truth(0).objects[0].area == mask.sum() == 45
    assert lines(dataset) == ["1 of 1 objects without an area: that of the mask is taken (annotation 1 of a.png)"]


def test_a_missing_area_changes_the_revision_only_where_there_is_a_mask(tmp_path: Path) -> None:
    import hashlib

    def plain_revision(dataset: CocoDataset) -> str:
        digest = hashlib.sha256(dataset.folder.annotations.read_bytes()).digest()
        sizes = [("a.png", (dataset.folder.folder / "a.png").stat().st_size)]
        return hashlib.sha256(digest + json.dumps(sizes).encode()).hexdigest()

    box = CocoDataset(coco(tmp_path / "x", lambda e: e.pop("area")))
    assert box.truth(0).objects[0].area == 100 and box.revision == plain_revision(box)
    mask = CocoDataset(coco(tmp_path / "y", lambda e: [e.pop("area"), e.update(segmentation=TRIANGLE)]))
    assert mask.truth(0).objects[0].area == 45 and mask.revision != plain_revision(mask)
    text = CocoDataset(coco(tmp_path / "z", lambda e: e.update(iscrowd="0")))
    assert text.revision != plain_revision(text)


@pytest.mark.parametrize(
    ("edit", "box", "area", "line"),
    [
        (lambda e: e.update(bbox=[25, 15, 10, 10]), (25, 15, 5, 5), 25, "clipped to their images"),
        (lambda e: e.update(bbox=[-5, -5, 10, 10]), (0, 0, 5, 5), 25, "clipped to their images"),
        (lambda e: e.update(bbox=[29, 19, 2, 2]), (29, 19, 2, 2), 100, None),  # within COCO's own rounding
        (lambda e: e.update(bbox=["5", "5", "10", "10"]), (5, 5, 10, 10), 100, None),
        (lambda e: e.update(bbox=None, segmentation=TRIANGLE), (2, 2, 9, 9), 100, "without a box: that of the mask"),
        (lambda e: e.update(bbox=[], segmentation=TRIANGLE), (2, 2, 9, 9), 100, "without a box: that of the mask"),
        (lambda e: e.update(bbox=[5, 5], segmentation=TRIANGLE), (2, 2, 9, 9), 100, "with the box of their mask"),
        (lambda e: e.update(bbox=[50, 50, 9, 9], segmentation=TRIANGLE), (2, 2, 9, 9), 100, "with the box of their"),
        (lambda e: e.update(segmentation=[[1, 2, 3]]), (5, 5, 10, 10), 100, "without a mask: theirs cannot be used"),
        (lambda e: e.update(segmentation=[*TRIANGLE, [1, 2]]), (5, 5, 10, 10), 100, "with a part of their mask left"),
        (lambda e: e.pop("id"), (5, 5, 10, 10), 100, None),
    ],
)
def test_one_object_is_mended(tmp_path: Path, edit: Edit, box: object, area: float, line: str | None) -> None:
    dataset = CocoDataset(coco(tmp_path, edit))
    item = dataset.truth(0).objects[0]
    assert (item.box, item.area) == (box, area)
    assert lines(dataset) == [] if line is None else f"1 of 1 objects {line}" in lines(dataset)[0]


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        (lambda e: e.update(image_id=99), "1 of 2 annotations left out: of images that are not listed (annotation 1"),
        (lambda e: e.update(category_id=99), "1 of 2 objects left out: of categories that are not listed"),
        (lambda e: e.update(category_id=1.5), "1 of 2 objects left out: their annotations cannot be used (annotation"),
        (lambda e: e.update(bbox=[50, 50, 9, 9]), "1 of 2 objects left out: outside their images"),
        (lambda e: e.update(bbox=[5, 5, -3, 9]), "1 of 2 objects left out: their annotations cannot be used"),
        (lambda e: e.pop("bbox"), "annotation 1 has neither a box nor a mask"),
        (lambda e: e.update(iscrowd="perhaps"), "annotation 1 has an iscrowd that must be 0 or 1, got 'perhaps'"),
        (lambda e: e.update(image_id=1.5), "1 of 2 annotations left out: their annotations cannot be used"),
    ],
)
def test_one_object_is_left_out(tmp_path: Path, edit: Edit, line: str) -> None:
    dataset = CocoDataset(coco(tmp_path, edit, other()))
    assert [item.category for item in dataset.truth(0).objects] == ["dog"]
    assert len(lines(dataset)) == 1 and line in lines(dataset)[0]
    with pytest.raises(InputError, match=r"ann\.json: annotation 1 .*\(--strict\)"):
        CocoDataset(tmp_path, strict=True)
    with pytest.raises(InputError, match="none of its 1 annotations can be used: annotation 1 "):
        CocoDataset(coco(tmp_path, edit))


def test_an_annotation_given_twice_counts_once(tmp_path: Path) -> None:
    dataset = CocoDataset(coco(tmp_path, lambda e: None, other(), other(), other(bbox=[8, 8, 2, 2])))
    assert [item.box[0] for item in dataset.truth(0).objects] == [5, 0, 8]
    assert lines(dataset) == [
        "1 of 4 objects left out: annotated twice (annotation id 2 occurs twice)",
        "1 of 4 objects with an id of others (annotation id 2 occurs twice)",
    ]


def test_text_ids(tmp_path: Path) -> None:
    dataset = CocoDataset(
        coco(
            tmp_path,
            lambda e: e.update(id="first", image_id="img a", category_id="c1"),
            images=[
                {"id": "img a", "file_name": "a.png", "height": "20", "width": "30"},
                {"id": "9", "file_name": "b.png", "height": 20, "width": 30},
            ],
            categories=[{"id": "c1", "name": "cat "}],
        )
    )
    assert dataset.ids == ("9", "img a") and dataset.categories == ("cat",)
    assert [item.category for item in dataset.truth(1).objects] == ["cat"]


def test_sizes_that_are_missing_come_from_the_files(tmp_path: Path) -> None:
    for size in ({}, {"width": 0, "height": 0}, {"width": None, "height": 20}, {"width": 10**30, "height": 20}):
        dataset = CocoDataset(coco(tmp_path, images=[{"id": 7, "file_name": "a.png", **size}]))
        assert (dataset.truth(0).height, dataset.truth(0).width) == (20, 30)
        assert lines(dataset) == ["1 of 1 images without a size: that of the file is taken (a.png)"]
    (tmp_path / "images" / "a.png").unlink()
    dataset = CocoDataset(tmp_path)
    assert dataset.truth(0).objects == []
    with pytest.raises(InputError, match=r"a\.png is missing \(ann\.json lists it as id 7\)"):
        dataset.pixels(0)


ROOT = {"id": 0, "name": "cat", "supercategory": "none"}


@pytest.mark.parametrize("name", ["cat", "animals"])
def test_roboflows_root_category_is_left_out(tmp_path: Path, name: str) -> None:
    listed = [{**ROOT, "name": name}, {"id": 1, "name": "cat", "supercategory": name}]
    dataset = CocoDataset(coco(tmp_path, categories=listed))
    assert dataset.categories == ("cat",)
    assert any(f"category '{name}' (id 0) of ann.json is left out" in line for line in dataset.assumptions)


def test_supercategories_that_have_objects_or_parents_stay(tmp_path: Path) -> None:
    listed = [{"id": 2, "name": "pet", "supercategory": "animal"}, {"id": 1, "name": "cat", "supercategory": "pet"}]
    assert CocoDataset(coco(tmp_path, categories=listed)).categories == ("cat", "pet")
    listed = [{"id": 1, "name": "pet", "supercategory": "none"}, {"id": 2, "name": "cat", "supercategory": "pet"}]
    assert CocoDataset(coco(tmp_path, categories=listed)).categories == ("pet", "cat")


def test_masks_far_beyond_the_image_are_clipped(tmp_path: Path) -> None:
    edit: Edit = lambda e: e.update(segmentation=[[10, -1e9, 1e9, -1e9, 1e9, 10, 10, 10]])  # noqa: E731
    dataset = CocoDataset(coco(tmp_path, edit))
    mask = dataset.folder.objects[7][0].mask(20, 30)
    assert mask[:10, 10:].all() and mask.sum() == 200 == dataset.truth(0).objects[0].area
    assert "clipped to their images (annotation 1 has a polygon from (10, -1e+09)" in lines(dataset)[0]


@pytest.mark.parametrize("segmentation", [[[2, 2], [12, 2], [2, 12]], [[[2, 2], [12, 2], [2, 12]]]])
def test_polygons_as_lists_of_points(tmp_path: Path, segmentation: Any) -> None:
    dataset = CocoDataset(coco(tmp_path, lambda e: e.update(segmentation=segmentation)))
    flat = CocoDataset(coco(tmp_path / "flat", lambda e: e.update(segmentation=TRIANGLE)))
    assert dataset.truth(0, masks=True).objects[0].rle == flat.truth(0, masks=True).objects[0].rle
    assert lines(dataset) == []


def test_boxes_by_their_corners_are_refused(tmp_path: Path) -> None:
    square = [[5, 5, 15, 5, 15, 15, 5, 15]]
    message = r"ann\.json: 2 boxes are \[left, top, right, bottom\], by their masks or areas: COCO's"
    masks = {"segmentation": square, "bbox": [5, 5, 15, 15]}
    with pytest.raises(InputError, match=message):
        CocoDataset(coco(tmp_path, lambda e: e.update(masks), other(**masks, area=100)))
    areas = {"bbox": [5, 5, 15, 15], "area": 100}
    with pytest.raises(InputError, match=message):
        CocoDataset(coco(tmp_path, lambda e: e.update(areas), other(**areas)))
    # One box of three may have its mask or area by chance.
    odd = other(id=3, bbox=[6, 6, 5, 5], area=25)
    assert len(CocoDataset(coco(tmp_path, lambda e: e.update(areas), other(), odd)).truth(0).objects) == 3


def test_an_empty_box_is_that_of_its_mask(tmp_path: Path) -> None:
    edited = coco(tmp_path, lambda e: e.update(bbox=[0, 0, 0, 0], segmentation=TRIANGLE))
    dataset = CocoDataset(edited)
    assert dataset.truth(0).objects[0].box == (2, 2, 9, 9)  # its pixels
    assert lines(dataset)[0].startswith("1 of 1 objects with the box of their mask: theirs cannot be used")
    with pytest.raises(InputError, match=r"annotation 1 has the box .* without area \(--strict\)"):
        CocoDataset(edited, strict=True)


def test_what_counts_more_than_once_is_said(tmp_path: Path) -> None:
    image = {"file_name": "a.png", "height": 20, "width": 30}
    images = [{"id": 7, **image}, {"id": 8, **image}]
    same = {"id": 2, "image_id": 7, "category_id": 1, "bbox": [5, 5, 10, 10], "area": 100, "iscrowd": 0}
    dataset = CocoDataset(coco(tmp_path, lambda e: None, same, other(id=3), images=images))
    assert len(dataset.truth(0).objects) == 3
    assert lines(dataset) == [
        "1 of 2 images listed under several ids, and counted each time (a.png has the ids 7 and 8)",
        "1 of 3 objects annotated under several ids, and counted each time (annotations 1 and 2 are equal)",
    ]


def test_entries_left_out_are_counted_among_all_of_the_file(tmp_path: Path) -> None:
    images = [{"id": 7, "file_name": "a.png", "height": 20, "width": 30}, {"id": None, "file_name": "b.png"}]
    categories = [{"id": 1, "name": "cat"}, {"id": 2}, {"id": 3, "name": "dog"}]
    dataset = CocoDataset(coco(tmp_path, images=images, categories=categories))
    assert [line.partition(" (")[0] for line in lines(dataset)] == [
        "1 of 2 images left out: their entries cannot be used",
        "1 of 3 categories left out: their entries cannot be used",
    ]
    with pytest.raises(InputError, match=r"lists no categories that can be used: category number 1 must be an object"):
        CocoDataset(coco(tmp_path, categories=["cat"]))


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-1e200", "true", "null", '"x"', "1" + "0" * 320])
def test_polygons_with_a_coordinate_that_is_no_number(tmp_path: Path, value: str) -> None:
    root = coco(tmp_path, lambda e: e.update(segmentation=[[2.5, 2, 12, 2, 2, "here"]]))
    text = (root / "ann.json").read_text()
    (root / "ann.json").write_text(text.replace('"here"', value))
    dataset = CocoDataset(root)
    assert "has a polygon with a coordinate that is not a finite number" in lines(dataset)[0]
    assert dataset.truth(0).objects[0].area == 100
