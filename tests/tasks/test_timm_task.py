"""Common parts of single-label and multi-label tasks: outputs, reduction, patches, batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.base import Downsample, Keep
from ltrp_bench.tasks.classification import ClassificationTask
from ltrp_bench.tasks.data.shapes.single_label import ShapesSingleLabelDataset
from ltrp_bench.tasks.models.vit.loading import TimmModel, load_timm
from ltrp_bench.tasks.splits.split import shapes_split


def model(name: str = "test_vit", classes: int = 16) -> TimmModel:
    return load_timm(None, name, random_weights=0, classes=classes)


def make(name: str = "test_vit", **options: Any) -> ClassificationTask:
    return ClassificationTask("t", ShapesSingleLabelDataset(4), shapes_split(0), model(name), **options)


def test_plain_vits_drop_and_others_fill_by_default() -> None:
    assert (make().reduction, make("test_resnet").reduction) == ("drop", "fill")
    assert make(reduction="fill").reduction == "fill"
    with pytest.raises(UsageError, match="a ResNet cannot drop patches, only a plain ViT can"):
        make("test_resnet", reduction="drop")


def test_patches_are_the_models_or_chosen() -> None:
    assert (make().patch, make("test_resnet").patch, make("test_resnet", patch=32).patch) == (16, 16, 32)
    with pytest.raises(UsageError, match="patch=8: the model's patches are of 16 pixels"):
        make(patch=8)
    with pytest.raises(UsageError, match="patch=0: at least 1"):
        make("test_resnet", patch=0)


def test_outputs_must_be_the_categories() -> None:
    with pytest.raises(InputError, match="t: the model has 3 outputs, the data set 16 classes"):
        ClassificationTask("t", ShapesSingleLabelDataset(1), shapes_split(0), model(classes=3))


def test_images_of_equal_selections_share_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    task = make()
    sizes: list[int] = []
    logits = task._logits

    def watched(kind: Any, samples: Any, reduced: Any) -> Any:
        sizes.append(len(samples))
        return logits(kind, samples, reduced)

    monkeypatch.setattr(task, "_logits", watched)
    samples = [task.load(i) for i in range(4)]
    grid = task.grid(samples[0])
    masks = [np.arange(grid[0] * grid[1]).reshape(grid) < k for k in (10, 20, 10)]
    reductions = [*(Keep(mask) for mask in masks), Downsample(0.5)]
    together = task.predict(samples, reductions)
    assert sizes == [2, 1, 1]
    assert together == [task.predict([s], [r])[0] for s, r in zip(samples, reductions, strict=True)]


def test_the_model_alone_gives_the_logits_of_a_run() -> None:
    task = make()
    samples = [task.load(i) for i in range(2)]
    grid = task.grid(samples[0])
    mask = np.arange(grid[0] * grid[1]).reshape(grid) % 3 == 0
    run = task.model_runner(samples)
    for reduction, kind in ((Keep(mask), int(mask.sum())), (Downsample(0.25), Downsample(0.25))):
        expected = task._logits(kind, samples, [reduction] * 2)
        for _ in range(2):  # the second call uses what the first prepared
            assert torch.equal(run([reduction] * 2), expected)  # type: ignore[arg-type]
    whole = [Keep(np.ones(grid, dtype=bool))] * 2
    images = task.model.inputs.normalize([sample.image for sample in samples])
    with torch.inference_mode():
        assert torch.equal(run(whole), task.model.net(images))  # type: ignore[arg-type]


def test_a_model_of_filled_images_runs_as_in_a_run() -> None:
    task = make("test_resnet")
    samples = [task.load(0)]
    mask = Keep(np.arange(np.prod(task.grid(samples[0]))).reshape(task.grid(samples[0])) < 5)
    assert task.model_runner(samples)([mask]) == task.predict(samples, [mask])


def test_what_is_not_finite_is_one_line() -> None:
    task = make()
    with torch.no_grad():
        next(task.model.net.parameters()).fill_(torch.nan)
    sample = task.load(1)
    with pytest.raises(InputError, match="t: the model returned NaN or infinite values for image '000001'"):
        task.predict([sample], [Keep(np.ones(task.grid(sample), bool))])
