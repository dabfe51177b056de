"""Summaries: at unit weights their metrics are the task's own, at drawn weights those of copied images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ltrp_bench.results.schema.rows import GROUPS
from ltrp_bench.results.statistics.bootstrap import Draws, ratio
from ltrp_bench.results.statistics.replicates import estimates
from ltrp_bench.results.summaries.base import ResamplingSummary
from ltrp_bench.results.summaries.means import NO_CATEGORY
from ltrp_bench.results.summaries.registry import parse_summary
from ltrp_bench.tasks.base import Keep, Task
from ltrp_bench.tasks.metrics.coco import evaluate
from ltrp_bench.tasks.metrics.detection_matches import CURVES
from ltrp_bench.tasks.metrics.multilabel import MultiLabel
from ltrp_bench.tasks.metrics.segmentation import Confusion
from ltrp_bench.tasks.metrics.summaries import confusion_summary, means_summary, ranking_summary
from ltrp_bench.tasks.registry import create_task

IMAGES = 24
Records = dict[str, list[dict[str, Any]]]


def _records(task: Task, share: float = 0.5) -> Records:
    """Really run, with half of the patches or another share."""
    rng = np.random.default_rng(0)
    out: Records = {}
    for i in range(len(task)):
        sample = task.load(i)
        (rows,) = task.predict([sample], [Keep(rng.random(task.grid(sample)) < share)])
        out[sample.image_id] = rows
    return out


def _drawn(images: Sequence[str], count: int = 3) -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.array(
        [np.bincount(rng.integers(0, len(images), len(images)), minlength=len(images)) for _ in range(count)]
    )


def _copies(records: Mapping[str, Any], images: Sequence[str], weights: np.ndarray) -> dict[str, Any]:
    return {f"{i}/{n}": records[i] for i, w in zip(images, weights.tolist(), strict=True) for n in range(w)}


@pytest.fixture(scope="module", params=["coverage", "cls", "multilabel", "seg", "det"])
def run(request: pytest.FixtureRequest) -> tuple[Any, Records, ResamplingSummary]:
    options = {"reduction": "drop"} if request.param == "det" else {}
    task = create_task(f"shapes-{request.param}", limit=IMAGES, **options)
    records = _records(task)
    task.compute_metrics(records)
    summary = task.resampling_summary(records)
    assert summary is not None
    # Through the stored form, as a reader has it.
    return task, records, parse_summary(summary.to_arrays(), "cell")


def test_every_metric_is_the_tasks_own(run: tuple[Any, Records, ResamplingSummary]) -> None:
    task, records, summary = run
    own = {(row.metric, row.group): row.value for row in task.compute_metrics(records) if row.category is None}
    assert summary.metrics[0] == task.headline and sorted(summary.images) == sorted(records)
    compared = 0
    for metric in summary.metrics:
        for group in GROUPS:
            expected = own.get((metric, group), np.nan)
            assert summary.measured(metric, group) == pytest.approx(expected, abs=1e-12, nan_ok=True)
            compared += expected == expected
    assert compared >= 2 * len(summary.metrics) - 2


def test_summary_is_the_same_without_the_evaluation_at_hand(run: tuple[Any, Records, ResamplingSummary]) -> None:
    task, records, summary = run
    again = task.resampling_summary(dict(records))
    pairs = [(metric, group) for metric in summary.metrics for group in GROUPS]
    weights = _drawn(summary.images)
    one, other = summary.all_values(pairs, weights), again.all_values(pairs, weights)
    assert all(np.array_equal(one[pair], other[pair], equal_nan=True) for pair in pairs)


def test_drawn_weights_are_copies(run: tuple[Any, Records, ResamplingSummary]) -> None:
    task, records, summary = run
    weights = _drawn(summary.images)
    measure = _measures(task)
    pairs = [(metric, group) for metric in summary.metrics for group in GROUPS]
    values = summary.all_values(pairs, weights)
    for b, row in enumerate(weights):
        found = measure(_copies(records, summary.images, row), row, summary.images)
        for pair in pairs:
            assert values[pair][b] == pytest.approx(found.get(pair, np.nan), abs=1e-12, nan_ok=True), pair


def test_a_retention_is_that_of_copied_images(run: tuple[Any, Records, ResamplingSummary]) -> None:
    """Under each draw, retention is the quotient of the evaluation's metrics with half and with all of the patches."""
    task, records, summary = run
    whole_records = _records(task, share=1.0)
    task.compute_metrics(whole_records)
    whole = parse_summary(task.resampling_summary(whole_records).to_arrays(), "cell")
    assert whole.images == summary.images
    draws, metric, measure = Draws.of(summary.images, task.name, 3), task.headline, _measures(task)
    part, base = (estimates(one, [metric], draws)[metric] for one in (summary, whole))
    for b, weights in enumerate(draws.weights[1:4]):
        found = [
            measure(_copies(rows, summary.images, weights), weights, summary.images)
            for rows in (records, whole_records)
        ]
        for group in GROUPS:
            expected = found[0][metric, group] / found[1][metric, group]
            assert ratio(part[group], base[group]).draws[b] == pytest.approx(expected, abs=1e-12)


def _measures(task: Any) -> Callable[[dict[str, Any], np.ndarray, Sequence[str]], dict[tuple[str, str], float]]:
    """Metrics of copied records, by each task's own evaluation."""

    def by_task(records: dict[str, Any], weights: np.ndarray, images: Sequence[str]) -> dict[tuple[str, str], float]:
        return {(row.metric, row.group): row.value for row in task.compute_metrics(records) if row.category is None}

    def ranking(records: dict[str, Any], weights: np.ndarray, images: Sequence[str]) -> dict[tuple[str, str], float]:
        once = MultiLabel.of([row for rows in records.values() for row in rows], task.dataset.categories)
        return {
            (metric, group): value
            for group in GROUPS
            for metric, (value, _) in once.summary(task._groups[group], with_sizes=True).items()
        }

    def confusion(records: dict[str, Any], weights: np.ndarray, images: Sequence[str]) -> dict[tuple[str, str], float]:
        once = Confusion.of(records.values(), task.dataset.classes)
        groups = task._groups
        out = {("unseen_called_seen", "unseen"): once.share_called(groups["unseen"], groups["seen"])}
        for group in GROUPS:
            out["mIoU", group] = once.mean_iou(groups[group])
            out["mAcc", group] = once.mean_accuracy(groups[group])
            out["aAcc", group] = once.pixel_accuracy(groups[group])
        return out

    def detection(records: dict[str, Any], weights: np.ndarray, images: Sequence[str]) -> dict[tuple[str, str], float]:
        truth = {image: task.dataset.truth(task.dataset.index(image)) for image in images}
        again = [replace(truth[name.rpartition("/")[0]], image_id=name) for name in records]
        once = evaluate(again, records, task.dataset.categories)
        return {
            (f"bbox_{metric}", group): once.metric(metric, task._groups[group]) for metric in CURVES for group in GROUPS
        }

    kinds = {"shapes-multilabel": ranking, "shapes-seg": confusion, "shapes-det": detection}
    return kinds.get(task.name, by_task)


NAMES = ("cat", "dog")
PARTS = {"all": NAMES, "seen": ("cat",), "unseen": ("dog",)}


def test_means_by_hand() -> None:
    """Two cats and a dog; a row of no category counts in no group, NaN in no mean."""
    records: Any = {"a": [{}, {}], "b": [], "c": [{}, {}]}
    values = {"kept": np.array([1.0, 0.5, 0.25, 0.0]), "half": np.array([0.5, np.nan, 0.5, 9.0])}
    summary = means_summary(records, NAMES, PARTS, ["cat", "dog", "cat", ""], values)
    assert (summary.images, summary.metrics, summary.categories) == (("a", "b", "c"), ("kept", "half"), NAMES)
    assert summary.image.tolist() == [0, 0, 2, 2] and summary.category.tolist() == [0, 1, 0, NO_CATEGORY]
    assert [str(part.dtype) for part in (summary.image, summary.category, summary.entries)] == [
        *("int32", "int32", "float64")
    ]
    assert [summary.measured("kept", group) for group in GROUPS] == [pytest.approx(1.75 / 3), 0.625, 0.5]
    assert summary.measured("half", "seen") == 0.5 and np.isnan(summary.measured("half", "unseen"))
    weights = np.array([[0, 5, 2]])
    assert summary.values("kept", "all", weights).tolist() == [0.25] and np.isnan(
        summary.values("kept", "unseen", weights)
    )
    nothing = means_summary({"a": []}, NAMES, PARTS, [], {"kept": np.zeros(0, np.float32)})
    assert (
        nothing.entries.shape == (1, 0)
        and nothing.entries.dtype == np.float64
        and np.isnan(nothing.measured("kept", "all"))
    )


def test_confusions_by_hand() -> None:
    """Image a: 3 cats are right and 1 is called a dog; image b is empty; image c: 2 dogs are right."""
    rows: Any = {
        "a": [{"true": "cat", "predicted": "cat", "pixels": 3}, {"true": "cat", "predicted": "dog", "pixels": 1}],
        "b": [],
        "c": [{"true": "dog", "predicted": "dog", "pixels": 2}],
    }
    summary = confusion_summary(rows, NAMES, PARTS, ["mIoU", "aAcc"])
    parts = (summary.image, summary.true, summary.predicted, summary.pixels)
    assert [part.tolist() for part in parts] == [[0, 0, 2], [0, 0, 1], [0, 1, 1], [3, 1, 2]]
    assert [str(part.dtype) for part in parts] == ["int32", "int32", "int32", "int64"]
    assert (summary.images, summary.metrics, summary.categories) == (("a", "b", "c"), ("mIoU", "aAcc"), NAMES)
    assert [summary.measured("mIoU", group) for group in GROUPS] == pytest.approx([(3 / 4 + 2 / 3) / 2, 3 / 4, 2 / 3])
    assert [summary.measured("aAcc", group) for group in GROUPS] == pytest.approx([5 / 6, 3 / 4, 1])
    nothing = confusion_summary({"a": []}, NAMES, PARTS, ["mIoU"])
    assert nothing.pixels.shape == (0,) and nothing.pixels.dtype == np.int64


def test_rankings_by_hand() -> None:
    labels = np.array([[1, 0], [0, 1]], np.int8)
    run = MultiLabel(NAMES, np.array([[0.9, 0.8], [0.1, 0.3]]), labels, np.array([[1, 0], [0, 4]], np.uint8))
    summary = ranking_summary(["a", "b"], run, PARTS, ["mAP", "mAP_large"])
    assert (summary.images, summary.metrics, summary.categories) == (("a", "b"), ("mAP", "mAP_large"), NAMES)
    assert summary.scores is run.scores and summary.labels is run.labels and summary.sizes is run.sizes
    assert [summary.measured("mAP", group) for group in GROUPS] == [0.75, 1.0, 0.5]
    assert summary.measured("mAP_large", "unseen") == 0.5 and np.isnan(summary.measured("mAP_large", "seen"))
