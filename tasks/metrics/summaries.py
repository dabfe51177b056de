"""Resampling summaries of rows (docs/statistics.md)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ltrp_bench.results.schema.rows import Row
from ltrp_bench.results.summaries.average_precision import RankingSummary
from ltrp_bench.results.summaries.base import ordered_groups
from ltrp_bench.results.summaries.confusion import ConfusionSummary
from ltrp_bench.results.summaries.means import NO_CATEGORY, MeansSummary
from ltrp_bench.tasks.metrics.multilabel import MultiLabel

Groups = Mapping[str, Collection[str]]
"""Group -> names of its categories."""


def means_summary(
    records: Mapping[str, Sequence[Row]],
    categories: Sequence[str],
    groups: Groups,
    row_category: Sequence[str],
    values: Mapping[str, np.ndarray],
    per_image: Iterable[str] = (),
) -> MeansSummary:
    """Summary of metrics that are means over rows.

    Args:
        records: image id -> its rows; M rows in all.
        categories: names of the data set's categories.
        groups: group -> its categories.
        row_category: [M] name of each row's category; a name outside `categories` counts in no group.
        values: metric -> [M] value of each row, NaN where it does not count.
        per_image: metrics of which an image counts once, by the greatest value of its rows.
    """
    index = {name: i for i, name in enumerate(categories)}
    image = [i for i, rows in enumerate(records.values()) for _ in rows]
    return MeansSummary(
        images=tuple(records),
        categories=tuple(categories),
        groups=ordered_groups(categories, groups),
        metrics=tuple(values),
        image=np.array(image, np.int32),
        category=np.array([index.get(name, NO_CATEGORY) for name in row_category], np.int32),
        entries=np.array([values[metric] for metric in values], np.float64).reshape(len(values), len(image)),
        per_image=tuple(per_image),
    )


def ranking_summary(images: Sequence[str], run: MultiLabel, groups: Groups, metrics: Iterable[str]) -> RankingSummary:
    """Summary of multi-label mean average precision, by object size too; `images` are in the order of `run`."""
    return RankingSummary(
        images=tuple(images),
        categories=run.categories,
        groups=ordered_groups(run.categories, groups),
        metrics=tuple(metrics),
        scores=run.scores,
        labels=run.labels,
        sizes=run.sizes,
    )


def confusion_summary(
    records: Mapping[str, Sequence[Mapping[str, Any]]], classes: Sequence[str], groups: Groups, metrics: Iterable[str]
) -> ConfusionSummary:
    """Summary of images' confusion matrices, given as rows, see `confusion_rows`."""
    index = {name: i for i, name in enumerate(classes)}
    entries = [
        (i, index[row["true"]], index[row["predicted"]], int(row["pixels"]))
        for i, rows in enumerate(records.values())
        for row in rows
    ]
    table = np.array(entries, np.int64).reshape(len(entries), 4)
    image, true, predicted = table[:, :3].T.astype(np.int32)
    return ConfusionSummary(
        images=tuple(records),
        categories=tuple(classes),
        groups=ordered_groups(classes, groups),
        metrics=tuple(metrics),
        image=image,
        true=true,
        predicted=predicted,
        pixels=table[:, 3],
    )
