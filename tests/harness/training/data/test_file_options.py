from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ltrp_bench.harness.training.data.file_options import file_options
from ltrp_bench.harness.training.data.labelled import class_folders, multilabel_files
from ltrp_bench.harness.training.data.semantic import semantic_files
from ltrp_bench.harness.training.options.training import FileOptions
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.options import ImageNetData, NumberedData


def test_options_are_those_of_the_data(tmp_path: Path) -> None:
    options = file_options(NumberedData, ["zero_based=true", "limit=3", "masks=2017"], data=tmp_path, subset="train")
    assert (options.zero_based, options.limit, options.masks, options.subset) == (True, 3, "2017", "train")
    assert file_options(ImageNetData, ["subset=val"], data=tmp_path, subset="train").subset == "val"
    for text, message in (
        ("exif", "--task-option exif: write key=value"),
        ("exif=maybe", "exif must be one of auto, apply, ignore"),
        ("masks=x", "this data set has no option 'masks'; its options: limit, limit_seed, subset, exif, labels, cl"),
    ):
        with pytest.raises(UsageError, match=message):
            file_options(ImageNetData, [text], data=tmp_path, subset="train")


def save(path: Path, pixels: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8) if pixels is None else pixels).save(path)
    return path


def coco(*images: int) -> str:
    return json.dumps(
        {
            "images": [{"id": 1, "file_name": "a.png", "height": 8, "width": 8}],
            "annotations": [
                {"id": i, "image_id": i, "category_id": 1, "bbox": [0, 0, 4, 4], "area": 16} for i in images
            ],
            "categories": [{"id": 1, "name": "cat"}],
        }
    )


def test_coco_files_and_roboflows_folders(tmp_path: Path) -> None:
    save(tmp_path / "images" / "a.png")
    (tmp_path / "ann.json.gz").write_bytes(gzip.compress(coco(1).encode()))
    assert multilabel_files(tmp_path / "ann.json.gz").sample(0)[1].tolist() == [1]
    save(tmp_path / "robo" / "train" / "a.png")
    (tmp_path / "robo" / "train" / "_annotations.coco.json").write_text(coco(1))
    dataset = multilabel_files(tmp_path / "robo")
    assert dataset.count == 1 and "robo/train/_annotations.coco.json" in dataset.assumptions[0]
    (tmp_path / "elsewhere.json").write_text(coco(1, 2))
    named = ("annotations=elsewhere.json", "images=images")
    dataset = multilabel_files(tmp_path, files=FileOptions(task_option=named))
    assert dataset.assumptions[0].startswith("1 of 2 annotations left out: of images that are not listed")
    with pytest.raises(InputError, match=r"names image 2, which is not among the images \(--strict\)"):
        multilabel_files(tmp_path, files=FileOptions(task_option=named, strict=True))


def test_order_of_classes_and_subset(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        save(tmp_path / "train" / name / "1.png")
    (tmp_path / "classes.txt").write_text("dog\ncat\n")
    dataset = class_folders(tmp_path, files=FileOptions(task_option=(f"classes={tmp_path / 'classes.txt'}",)))
    assert dataset.categories == ("dog", "cat") and int(dataset.sample(0)[1]) == 1
    save(tmp_path / "more" / "cat" / "1.png")
    assert class_folders(tmp_path, files=FileOptions(task_option=("subset=more",))).categories == ("cat",)


def test_masks(tmp_path: Path) -> None:
    save(tmp_path / "photos" / "a.jpg")
    save(tmp_path / "photos" / "b.jpg")
    save(tmp_path / "classes" / "a_mask.png", np.full((8, 8), 2, np.uint8))
    given = ("images=photos", "masks=classes", "zero_based=true")
    source = semantic_files(tmp_path, "ade20k", files=FileOptions(task_option=given))
    assert source.ids == ("a",) and (source.semantic(0) == 2).all()
    assert "they have no mask" in source.remarks[-1]
    with pytest.raises(InputError, match=r"1 images .* have no mask, first b: .* \(--strict\)"):
        semantic_files(tmp_path, "ade20k", files=FileOptions(task_option=given, strict=True))
