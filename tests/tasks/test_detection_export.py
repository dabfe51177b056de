"""`coco-det` on exported images of `shapes` gives the same results as `shapes-det`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ltrp_bench.tasks.base import Keep, MetricRow, Task
from ltrp_bench.tasks.data.shapes.export import export
from ltrp_bench.tasks.models.detectors.loading import SHAPES_CONFIG, SHAPES_WEIGHTS
from ltrp_bench.tasks.registry import create_task

COUNT = 24


def measured(task: Task, keep: np.ndarray) -> dict[tuple[str, str, str | None], float]:
    samples = [task.load(i) for i in range(COUNT)]
    rows = task.predict(samples, [Keep(mask) for mask in keep])
    metrics: list[MetricRow] = task.compute_metrics({s.image_id: r for s, r in zip(samples, rows, strict=True)})
    return {(m.metric, m.group, m.category): m.value for m in metrics}


def test_exported_shapes_give_the_same_average_precision(tmp_path: Path) -> None:
    export(tmp_path, fold=1, count=COUNT)
    keep = np.random.default_rng(0).random((COUNT, 12, 12)) < 0.7
    ours = measured(create_task("shapes-det", fold=1, limit=COUNT), keep)
    files = create_task(
        "coco-det",
        data=tmp_path,
        model=SHAPES_CONFIG,
        model_weights=SHAPES_WEIGHTS,
        split="shapes/1",
        patch=8,
    )
    theirs = measured(files, keep)
    assert ours.keys() == theirs.keys() and ours["bbox_AP", "all", None] > 0.2
    for key, value in ours.items():
        assert theirs[key] == pytest.approx(value, abs=1e-9, nan_ok=True), key
