from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.data.coco import CocoDataset
from ltrp_bench.tasks.data.image_labels import MultiLabelDataset, as_multilabel, label_vector
from ltrp_bench.tasks.data.nuswide import NusWideDataset
from ltrp_bench.tasks.data.shapes.objects import ShapesDataset
from ltrp_bench.tasks.data.voc import VocDataset

CONCEPTS = ["airport", "animal", *(f"concept{i}" for i in range(2, 81))]
# The images of the test list and what they show.
SHOWN = {"beta\\2.jpg": {"animal"}, "alpha\\1.jpg": {"airport", "concept80"}, "alpha\\3.jpg": set()}


def nuswide(root: Path, ground_truth: str = "Groundtruth", flat: bool = False, part: str = "Test") -> Path:
    for folder in ("ImageList", "ConceptsList", f"{ground_truth}/TrainTestLabels"):
        (root / folder).mkdir(parents=True)
    (root / "ConceptsList" / "Concepts81.txt").write_text("\r\n".join(CONCEPTS) + "\r\n")
    (root / "ImageList" / f"{part}Imagelist.txt").write_text("\r\n".join(SHOWN) + "\r\n")
    for concept in CONCEPTS:
        lines = "".join(f"{int(concept in shown)}\n" for shown in SHOWN.values())
        (root / ground_truth / "TrainTestLabels" / f"Labels_{concept}_{part}.txt").write_text(lines)
    for i, name in enumerate(SHOWN):
        folder, _, file = name.partition("\\")
        path = root / "images" / file if flat else root / "Flickr" / folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 4), (10 * i,) * 3).save(path, quality=100)
    return root


@pytest.mark.parametrize(("ground_truth", "flat"), [("Groundtruth", False), ("GroundTruth", True)])
def test_nuswide(tmp_path: Path, ground_truth: str, flat: bool) -> None:
    dataset = NusWideDataset(nuswide(tmp_path, ground_truth, flat))
    assert dataset.ids == ("alpha/1", "alpha/3", "beta/2") and dataset.categories == tuple(CONCEPTS)
    assert [dataset.labels(i) for i in range(3)] == [{"airport", "concept80"}, set(), {"animal"}]
    assert dataset.vector(0).tolist() == [1, *[0] * 79, 1] and dataset.ignored(0) == set()
    assert dataset.pixels(2).shape == (4, 6, 3) and dataset.pixels(0).mean() == pytest.approx(10, abs=1)
    assert dataset.index("beta/2") == 2 and NusWideDataset(tmp_path, limit=1).ids == ("alpha/1",)


def test_nuswides_revision_follows_labels_and_images(tmp_path: Path) -> None:
    first = NusWideDataset(nuswide(tmp_path)).revision
    path = tmp_path / "Groundtruth" / "TrainTestLabels" / "Labels_animal_Test.txt"
    path.write_text("1\n1\n0\n")
    second = NusWideDataset(tmp_path).revision
    (tmp_path / "Flickr" / "beta" / "2.jpg").unlink()
    dataset = NusWideDataset(tmp_path)
    assert len({first, second, dataset.revision}) == 3
    with pytest.raises(InputError, match=r"image .*beta/2\.jpg is missing"):
        dataset.pixels(2)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("ConceptsList/Concepts81.txt", "airport\n", r"Concepts81\.txt must list 81 concepts, got 1"),
        ("ImageList/TestImagelist.txt", "a\\1.jpg\na\\1.jpg\n", r"TestImagelist\.txt lists an image twice"),
        ("ImageList/TestImagelist.txt", "", r"TestImagelist\.txt lists no images"),
        (
            "Groundtruth/TrainTestLabels/Labels_animal_Test.txt",
            "1\n0\n",
            r"animal_Test\.txt has 2 labels, .* images 3",
        ),
        ("Groundtruth/TrainTestLabels/Labels_animal_Test.txt", "1\n0\n-1\n", r"label 3 must be 0 or 1, got '-1'"),
        ("Groundtruth/TrainTestLabels/Labels_animal_Test.txt", None, r"no NUS-WIDE in .*Labels_animal_Test\.txt; get"),
        ("ImageList/TestImagelist.txt", None, r"looked for ImageList/TestImagelist\.txt or"),
    ],
)
def test_nuswides_trouble_is_one_line(tmp_path: Path, file: str, text: str | None, message: str) -> None:
    path = nuswide(tmp_path) / file
    path.unlink()
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        NusWideDataset(tmp_path)
    assert "\n" not in str(caught.value)


def test_nuswides_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--data DIR"):
        NusWideDataset(None)
    with pytest.raises(UsageError, match="no subset 'val': there are train, test"):
        NusWideDataset(tmp_path, "val")
    nuswide(tmp_path)
    (tmp_path / "Flickr").rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"no images of NUS-WIDE in .*Flickr/ or images/"):
        NusWideDataset(tmp_path)


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
    "nuswide": (lambda root: NusWideDataset(nuswide(root)), {"airport", "concept80"}, set()),
    "shapes": (lambda root: ShapesDataset(3), set(), set()),
}


@pytest.mark.parametrize("name", DATASETS)
def test_every_source_in_one_form(tmp_path: Path, name: str) -> None:
    make, shown, unasked = DATASETS[name]
    dataset = as_multilabel(make(tmp_path))  # type: ignore[arg-type]
    if name == "shapes":
        shown = {item.category for item in ShapesDataset(3).truth(0).objects}
    assert isinstance(dataset, MultiLabelDataset) and as_multilabel(dataset) is dataset
    assert dataset.labels(0) == shown and dataset.ignored(0) == unasked
    vector = label_vector(dataset, 0)
    assert vector.shape == (len(dataset.categories),) and vector.dtype == np.int8
    for value, names in ((1, shown), (-1, unasked)):
        assert {dataset.categories[i] for i in np.flatnonzero(vector == value)} == names
    assert len(dataset) == len(dataset.ids) and dataset.index(dataset.ids[1]) == 1 and dataset.revision
    assert dataset.pixels(0).ndim == 3 and dataset.domain == ("shapes" if name == "shapes" else "photos")
    if name == "nuswide":
        assert dataset.objects is None
    else:
        assert dataset.objects is not None and {o.category for o in dataset.objects.truth(0).objects} == shown | unasked


def test_a_image_without_labels(tmp_path: Path) -> None:
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
