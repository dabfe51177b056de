from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from toy_data import nuswide_folder

from ltrp_bench.tasks.data.coco import CocoDataset
from ltrp_bench.tasks.data.image_labels import MultiLabelDataset, as_multilabel, label_vector
from ltrp_bench.tasks.data.nuswide import NusWideDataset
from ltrp_bench.tasks.data.shapes.objects import ShapesDataset
from ltrp_bench.tasks.data.voc import VocDataset


def coco(root: Path) -> CocoDataset:
    """Two images: a dog and a crowd of cats; nothing."""
    (root / "images").mkdir()
    for i in (1, 2):
        Image.new("RGB", (30, 20)).save(root / "images" / f"{i}.png")
    box = {"image_id": 1, "bbox": [1, 1, 8, 8], "area": 64}
    content = {
        "images": [{"id": i, "file_name": f"{i}.png", "height": 20, "width": 30} for i in (1, 2)],
        "categories": [{"id": i, "name": name} for i, name in enumerate(("cat", "dog", "cow"), start=1)],
        "annotations": [
            {**box, "id": 1, "category_id": 2, "iscrowd": 0},
            {**box, "id": 2, "category_id": 1, "iscrowd": 1},
            {**box, "id": 3, "category_id": 2, "iscrowd": 1},
        ],
    }
    (root / "instances.json").write_text(json.dumps(content))
    return CocoDataset(root)


def voc(root: Path) -> VocDataset:
    """Two images: a dog, a difficult dog and a difficult cat; nothing."""
    corners = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>8</xmax><ymax>8</ymax></bndbox>"
    marks = [("dog", 0), ("dog", 1), ("cat", 1)]
    objects = [f"<object><name>{n}</name><difficult>{d}</difficult>{corners}</object>" for n, d in marks]
    for folder in ("Annotations", "JPEGImages"):
        (root / folder).mkdir(parents=True)
    for stem, inside in (("1", "".join(objects)), ("2", "")):
        text = f"<annotation><size><width>30</width><height>20</height></size>{inside}</annotation>"
        (root / "Annotations" / f"{stem}.xml").write_text(text)
        Image.new("RGB", (30, 20)).save(root / "JPEGImages" / f"{stem}.jpg")
    return VocDataset(root)


DATASETS: dict[str, tuple[Callable[[Path], object], set[str], set[str]]] = {
    "coco": (coco, {"cat", "dog"}, set()),
    "voc": (voc, {"dog"}, {"cat"}),
    "nuswide": (lambda root: NusWideDataset(nuswide_folder(root)), {"airport", "concept80"}, set()),
    "shapes": (lambda root: ShapesDataset(3), set(), set()),
}


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set_has_labels_in_one_form(tmp_path: Path, name: str) -> None:
    make, shown, ignored = DATASETS[name]
    dataset = as_multilabel(make(tmp_path))  # type: ignore[arg-type]
    if name == "shapes":
        shown = {item.category for item in ShapesDataset(3).truth(0).objects}
    assert isinstance(dataset, MultiLabelDataset) and as_multilabel(dataset) is dataset
    assert dataset.labels(0) == shown and dataset.ignored(0) == ignored
    vector = label_vector(dataset, 0)
    assert vector.shape == (len(dataset.categories),) and vector.dtype == np.int8
    for value, names in ((1, shown), (-1, ignored)):
        assert {dataset.categories[i] for i in np.flatnonzero(vector == value)} == names
    assert len(dataset) == len(dataset.ids) and dataset.index(dataset.ids[1]) == 1 and dataset.revision
    assert dataset.pixels(0).ndim == 3 and dataset.domain == ("shapes" if name == "shapes" else "photos")
    if name == "nuswide":
        assert dataset.objects is None
    else:
        assert dataset.objects is not None and {o.category for o in dataset.objects.truth(0).objects} == shown | ignored


def test_an_image_without_labels(tmp_path: Path) -> None:
    for dataset in (as_multilabel(coco(tmp_path)), as_multilabel(voc(tmp_path / "voc"))):
        assert dataset.labels(1) == dataset.ignored(1) == set() and not label_vector(dataset, 1).any()


def test_genuine_label_sets(shared_dir: Path) -> None:
    dataset = as_multilabel(CocoDataset(shared_dir / "data" / "coco"))
    content = json.loads((shared_dir / "data" / "coco" / "instances.json").read_text())
    names = {c["id"]: c["name"] for c in content["categories"]}
    expected: dict[str, set[str]] = {image_id: set() for image_id in dataset.ids}
    for entry in content["annotations"]:
        expected[str(entry["image_id"])].add(names[entry["category_id"]])
    assert [dataset.labels(i) for i in range(len(dataset))] == [expected[i] for i in dataset.ids]
