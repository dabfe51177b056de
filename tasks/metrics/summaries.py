"""Evidence: what a task's metrics can be resampled from (docs/statistics.md), made from rows alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from ltrp_bench.tasks.metrics.multilabel import MultiLabel
from ltrp_bench.tasks.splits.split import GROUPS

NO_CATEGORY: Final = -1

Groups = Mapping[str, Collection[str]]


def meta(
    kind: str,
    images: Iterable[str],
    categories: Sequence[str],
    groups: Groups,
    metrics: Iterable[str],
    **more: Any,
) -> dict[str, Any]:
    """What every kind says: its images, categories, the groups' members in the categories' order, its metrics."""
    members = {group: [name for name in categories if name in groups[group]] for group in GROUPS}
    return {
        "kind": kind,
        "images": list(images),
        "categories": list(categories),
        "groups": members,
        "metrics": list(metrics),
        **more,
    }


def of_means(
    images: Sequence[str],
    categories: Sequence[str],
    groups: Groups,
    image: Sequence[int],
    category: Sequence[str],
    values: Mapping[str, np.ndarray],
) -> dict[str, Any]:
    """Metrics that are means over entries.

    Args:
        images, categories, groups: see `meta`.
        image: [M] position of each entry's image.
        category: [M] its category's name; one that is none of `categories` counts in no group.
        values: metric -> [M] value of each entry, NaN where it does not count.
    """
    index = {name: i for i, name in enumerate(categories)}
    return {
        "meta": meta("means", images, categories, groups, values),
        "image": np.array(image, np.int32),
        "category": np.array([index.get(name, NO_CATEGORY) for name in category], np.int32),
        "values": np.array([values[metric] for metric in values], np.float64).reshape(len(values), len(image)),
    }


def of_ranking(images: Sequence[str], run: MultiLabel, groups: Groups, metrics: Iterable[str]) -> dict[str, Any]:
    """Mean average precision of several labels an image, and of sizes."""
    return {
        "meta": meta("ranking", images, run.categories, groups, metrics),
        "scores": run.scores,
        "labels": run.labels,
        "sizes": run.sizes,
    }


def of_confusion(
    images: Mapping[str, Sequence[Mapping[str, Any]]], classes: Sequence[str], groups: Groups, metrics: Iterable[str]
) -> dict[str, Any]:
    """Confusion matrices of images, given as rows (true, predicted, pixels)."""
    index = {name: i for i, name in enumerate(classes)}
    entries = [
        (i, index[row["true"]], index[row["predicted"]], int(row["pixels"]))
        for i, rows in enumerate(images.values())
        for row in rows
    ]
    table = np.array(entries, np.int64).reshape(len(entries), 4)
    return {
        "meta": meta("confusion", images, classes, groups, metrics),
        **{name: table[:, i].astype(np.int32) for i, name in enumerate(("image", "true", "predicted"))},
        "pixels": table[:, 3],
    }
