"""The layouts that exporters write: each holds one image with one object."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.data.coco import CocoDataset


def write(root: Path, annotations: str, image: str, **entry: Any) -> Path:
    content = {
        "images": [{"id": 7, "file_name": Path(image).name, "height": 20, "width": 30, **entry}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 1, "bbox": [5, 5, 10, 10], "area": 100}],
    }
    for path in (root / annotations, root / image):
        path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content).encode()
    (root / annotations).write_bytes(gzip.compress(text) if annotations.endswith(".gz") else text)
    Image.fromarray(np.full((20, 30, 3), 9, np.uint8)).save(root / image)
    return root


def check(dataset: CocoDataset, root: Path, image: str) -> None:
    assert dataset.pixels(0).shape == (20, 30, 3) and len(dataset.truth(0).objects) == 1
    assert dataset.folder.files[dataset.folder.images[0].file_name].resolve() == (root / image).resolve()


@pytest.mark.parametrize(
    ("annotations", "image"),
    [
        ("annotations/instances_val2017.json", "val2017/a.png"),
        ("annotations/instances_val2017.json", "images/val2017/a.png"),  # Ultralytics
        ("annotations/instances_default.json", "images/a.png"),  # CVAT
        ("annotations/instances_default.json", "images/default/a.png"),  # Datumaro
        ("_annotations.coco.json", "a.png"),  # Roboflow, one subset
        ("valid/_annotations.coco.json", "valid/a.png"),  # Roboflow, all
        ("labels.json", "data/a.png"),  # FiftyOne
        ("annotations.json", "JPEGImages/a.png"),  # labelme2coco
        ("result.json", "images/a.png"),  # Label Studio
        ("ann.json", "a.png"),
        ("ann.json.gz", "images/a.png"),
        ("annotations/lvis_v1_val.json", "val2017/a.png"),
        ("annotations/val.json", "val/a.png"),
        ("instances_val2017.json", "val2017/a.png"),
        ("Annotations/instances_val2017.json", "Val2017/a.png"),
        ("ANN.JSON", "Images/a.png"),
        ("val/annotations.json", "val/images/a.png"),
        ("valid/annotations/instances.json", "valid/a.png"),
    ],
)
def test_layouts(tmp_path: Path, annotations: str, image: str) -> None:
    root = write(tmp_path, annotations, image)
    dataset = CocoDataset(root)
    check(dataset, root, image)
    cocos_own = (annotations.lower(), image.lower()) == ("annotations/instances_val2017.json", "val2017/a.png")
    said = [line for line in dataset.assumptions if "annotations are read from" in line]
    assert bool(said) != (cocos_own or (image.lower().startswith("images/") and "/" not in annotations))
    assert CocoDataset(root / annotations).revision == dataset.revision  # --data FILE


@pytest.mark.parametrize("name", ["JPEGImages/a.png", "a.png", "images\\a.png", "/home/me/JPEGImages/a.png"])
def test_names_with_folders(tmp_path: Path, name: str) -> None:
    folder = "images" if "\\" in name else "JPEGImages"
    root = write(tmp_path, "annotations.json", f"{folder}/a.png", file_name=name)
    check(CocoDataset(root), root, f"{folder}/a.png")


def test_lvis_gives_addresses(tmp_path: Path) -> None:
    url = "http://images.cocodataset.org/train2017/a.png"
    root = write(tmp_path, "lvis_v1_val.json", "train2017/a.png", file_name=None, coco_url=url)
    check(CocoDataset(root), root, "train2017/a.png")


def test_files_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path / "set", "x/first.json", "y/z/a.png")
    write(root, "x/second.json", "y/z/a.png")
    monkeypatch.chdir(tmp_path)
    for file, folder in (
        ("x/first.json", "y/z"),
        ("set/x/first.json", "set/y/z"),
        (root / "x/first.json", "y/z"),
    ):
        dataset = CocoDataset(root, annotations=file, images=folder)
        check(dataset, root, "y/z/a.png")
        assert dataset.assumptions == ()
    check(CocoDataset(root / "x" / "first.json", images=root / "y" / "z"), root, "y/z/a.png")
    check(CocoDataset(None, annotations=root / "x" / "first.json", images=root / "y" / "z"), root, "y/z/a.png")
    with pytest.raises(InputError, match=r"--task-option annotations=none\.json: no such file .*set/none\.json"):
        CocoDataset(root, annotations="none.json")
    with pytest.raises(InputError, match=r"--task-option images=x/first\.json: .* is no folder"):
        CocoDataset(root, images="x/first.json", annotations="x/first.json")


def test_other_kinds_of_annotations_do_not_matter(tmp_path: Path) -> None:
    root = write(tmp_path, "annotations/instances_default.json", "images/a.png")
    for name in ("captions_default.json", "person_keypoints_default.json", "._instances_default.json"):
        (root / "annotations" / name).write_text("{}")
    check(CocoDataset(root), root, "images/a.png")


def test_what_cannot_be_found_is_named(tmp_path: Path) -> None:
    write(tmp_path / "several", "annotations/a.json", "images/a.png")
    write(tmp_path / "several", "annotations/b.json", "images/a.png")
    with pytest.raises(InputError, match=r"annotations has 2 \.json files \(a\.json, b\.json\): keep one, or name one"):
        CocoDataset(tmp_path / "several")
    write(tmp_path / "robo", "test/_annotations.coco.json", "test/a.png")
    with pytest.raises(InputError, match=r"no subset 'val2017' in .*: there are test; choose by --task-option subset="):
        CocoDataset(tmp_path / "robo")
    root = write(tmp_path / "away", "ann.json", "elsewhere/a.png")
    check(CocoDataset(root), root, "elsewhere/a.png")
    (root / "elsewhere" / "a.png").unlink()
    with pytest.raises(InputError, match=r"lists 'a\.png', which is nowhere in .*--task-option images=DIR"):
        CocoDataset(root)
    broken = write(tmp_path / "gz", "ann.json.gz", "images/a.png")
    packed = (broken / "ann.json.gz").read_bytes()
    for damaged in (packed[:-9], packed[:20] + b"\xff" * 20 + packed[40:], b"no gzip"):
        (broken / "ann.json.gz").write_bytes(damaged)
        with pytest.raises(InputError, match=r"ann\.json\.gz cannot be decompressed"):
            CocoDataset(broken)
    (broken / "ann.json.gz").unlink()
    (broken / "ann.json").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(InputError, match=r"ann\.json is a pointer of git-lfs"):
        CocoDataset(broken)


def test_gzip_is_told_by_its_bytes(tmp_path: Path) -> None:
    root = write(tmp_path, "ann.json.gz", "images/a.png")
    (root / "ann.json.gz").rename(root / "packed.json")
    check(CocoDataset(root), root, "images/a.png")
    (root / "packed.json").write_bytes(gzip.decompress((root / "packed.json").read_bytes()))
    (root / "packed.json").rename(root / "plain.json.gz")
    check(CocoDataset(root), root, "images/a.png")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b" \n", r"ann\.json is empty; download it again$"),
        (b'{"info": "ok",\n "by": "caf\xe9"}', r"ann\.json is not UTF-8 \(line 2\); save it as UTF-8$"),
        (b"[]", r"is not a COCO instances file: it is a list"),
    ],
)
def test_files_that_are_no_annotations(tmp_path: Path, raw: bytes, message: str) -> None:
    root = write(tmp_path, "ann.json", "images/a.png")
    (root / "ann.json").write_bytes(raw)
    with pytest.raises(InputError, match=message):
        CocoDataset(root)


def test_files_of_other_kinds_are_named(tmp_path: Path) -> None:
    root = write(tmp_path / "points", "annotations/person_keypoints_val2017.json", "val2017/a.png")
    with pytest.raises(InputError, match=r"person_keypoints_val2017\.json is of another kind by its name"):
        CocoDataset(root)
    (tmp_path / "yolo" / "labels" / "val").mkdir(parents=True)
    (tmp_path / "yolo" / "labels" / "val" / "a.txt").touch()
    with pytest.raises(InputError, match=r"yolo/labels holds YOLO's labels: convert them to COCO's JSON"):
        CocoDataset(tmp_path / "yolo")
    (tmp_path / "voc" / "Annotations").mkdir(parents=True)
    with pytest.raises(InputError, match=r"there are XML files, which the tasks voc-\* read"):
        CocoDataset(tmp_path / "voc")


@pytest.mark.parametrize("name", ["a.png ", "https://host/x/a.png?size=3#top", "C:\\data\\images\\a.png", "a%2Epng"])
def test_names_as_exporters_write_them(tmp_path: Path, name: str) -> None:
    root = write(tmp_path, "ann.json", "images/a.png", file_name=name)
    dataset = CocoDataset(root)
    check(dataset, root, "images/a.png")
    assert "was taken to be 'a.png'" in dataset.assumptions[0]


def test_a_usual_name_among_several(tmp_path: Path) -> None:
    root = write(tmp_path, "labels.json", "data/a.png")
    (root / "info.json").write_text("{}")
    check(CocoDataset(root), root, "data/a.png")


def test_a_link_to_nothing_is_missing(tmp_path: Path) -> None:
    root = write(tmp_path, "ann.json", "images/a.png")
    (root / "images" / "a.png").unlink()
    (root / "images" / "a.png").symlink_to(root / "nowhere.png")
    dataset = CocoDataset(root)
    assert dataset.assumptions == ()
    with pytest.raises(InputError, match=r"images/a\.png is missing"):
        dataset.pixels(0)
