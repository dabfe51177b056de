"""Builders: what is needed before anything is read, and what is taken by default."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.catalog import (
    CATALOG,
    ade20k_seg,
    coco_coverage,
    coco_det,
    imagenet_cls,
    shapes_cls,
    shapes_coverage,
    shapes_det,
    shapes_seg,
    voc_det,
)
from ltrp_bench.tasks.data_sources import MASK_FOLDERS


@pytest.mark.parametrize("spec", [coco_det, voc_det])
def test_a_detector_is_needed_before_the_data(spec: object) -> None:
    assert callable(spec)
    with pytest.raises(UsageError, match="needs a detector: --model an mmdet config"):
        spec("/nowhere")


def test_every_mask_folder_has_its_tasks() -> None:
    used = {spec.dataset for spec in CATALOG.values()}
    assert used == {*MASK_FOLDERS, "shapes", "coco", "voc", "nuswide", "imagenet"}


def test_a_split_takes_the_place_of_the_fold(tmp_path: Path) -> None:
    one = shapes_coverage(images=1, fold=1)
    assert one.split is not None and one.split.label_set == "shapes-seen/1"
    mine = tmp_path / "mine_split.csv"
    mine.write_text("category,state\n" + "".join(f"{name},unseen\n" for name in one.split.states))
    other = shapes_coverage(images=1, fold=1, split=mine)
    assert other.split is not None and other.split.label_set == "mine"


def test_shapes_take_12_by_12_patches() -> None:
    task = shapes_coverage(images=1)
    assert task.grid(task.load(0)) == (12, 12) and task.identity()["grid"] == [12, 12]


def test_a_grid_is_one_number_or_two(shared_dir: Path) -> None:
    coco = shared_dir / "data" / "coco"
    assert coco_coverage(coco, limit=1, grid=7).identity()["grid"] == [7, 7]
    assert coco_coverage(coco, limit=1, grid=[2, 3]).identity()["grid"] == [2, 3]
    with pytest.raises(UsageError, match=r"grid must be one number or two, got \[1, 2, 3\]"):
        coco_coverage(coco, limit=1, grid=[1, 2, 3])


def test_classes_other_than_imagenets_need_a_split(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "val" / name).mkdir(parents=True)
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "val" / name / f"{name}.png")
    given = {"model": "test_vit", "random_weights": 0}
    with pytest.raises(UsageError, match="not ImageNet-1K's classes, .* --split FILE"):
        imagenet_cls(tmp_path, **given)
    mine = tmp_path / "mine.csv"
    mine.write_text("category,state\ncat,seen\ndog,unseen\n")
    assert len(imagenet_cls(tmp_path, split=mine, **given)) == 2


def test_models_that_ship_follow_the_reduction() -> None:
    weights = {
        reduction: shapes_cls(images=1, reduction=reduction).identity()["model"]["weights"]
        for reduction in (None, "drop", "fill")
    }
    assert weights[None] == weights["drop"] != weights["fill"]


def test_missing_weights_of_a_detector_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from ltrp_bench.tasks.models.detectors import loading

    monkeypatch.setattr(loading, "SHAPES_WEIGHTS", tmp_path / "detector.safetensors")
    with pytest.raises(InputError, match="does not exist; create it with `ltrp-bench train detector`"):
        shapes_det(images=1)


def test_plain_segmentors_have_patches_of_their_own(shared_dir: Path) -> None:
    data = shared_dir / "data" / "ade20k"
    with pytest.raises(UsageError, match="patch=8: the patch size of a plain ViT cannot be changed"):
        ade20k_seg(data, random_weights=0, patch=8, limit=1)
    assert ade20k_seg(data, random_weights=0, limit=1).reduction == "drop"
    assert shapes_seg(images=1, random_weights=0, reduction="fill").reduction == "fill"
