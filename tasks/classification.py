"""Single-label classification by a timm model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ltrp_bench.results.schema.rows import GROUPS
from ltrp_bench.results.summaries.base import ResamplingSummary
from ltrp_bench.tasks.base import MetricRow, Row, Sample
from ltrp_bench.tasks.data.single_label import SingleLabelDataset
from ltrp_bench.tasks.metrics.averages import mean_and_count
from ltrp_bench.tasks.metrics.summaries import means_summary
from ltrp_bench.tasks.timm_task import TimmTask

TOP = {"top1": 1, "top5": 5}
"""Metric -> number of best classes that the true one must be among."""


class ClassificationTask(TimmTask[SingleLabelDataset]):
    """A classifier, evaluated on seen and unseen classes; arguments as for `TimmTask`."""

    headline = "top1"
    row_schema: Mapping[str, str] = {
        "label": "int64",  # index of the data set's category
        "predicted": "int64",
        "rank": "int64",  # of the true class: number of classes that score higher
    }

    def image_labels(self, sample: Sample) -> tuple[str, ...]:
        """The image's class."""
        return (self.dataset.categories[self.dataset.label(sample.annotations)],)

    def _object_mask(self, index: int) -> np.ndarray | None:
        return self.dataset.mask(index)

    def _row(self, sample: Sample, logits: np.ndarray) -> Row:
        label = self.dataset.label(sample.annotations)
        # Equal logits are ranked in the order of classes, as argmax does, so that rank 0 is the prediction.
        before = (logits > logits[label]).sum() + (logits[:label] == logits[label]).sum()
        return {"label": label, "predicted": int(logits.argmax()), "rank": int(before)}

    def compute_metrics(self, records: Mapping[str, list[Row]]) -> list[MetricRow]:
        """Top-1 and top-5 accuracy over the images of each group, and of each class that has any."""
        rows = [row for image in records.values() for row in image]
        labels = np.array([row["label"] for row in rows], dtype=np.int64)
        ranks = np.array([row["rank"] for row in rows], dtype=np.int64)
        names = self.dataset.categories
        inside = {
            group: np.isin(labels, [i for i, c in enumerate(names) if c in self._groups[group]]) for group in GROUPS
        }
        out = []
        for metric, most in TOP.items():
            right = ranks < most
            out += [MetricRow(metric, group, None, *mean_and_count(right[inside[group]])) for group in GROUPS]
            for i in np.unique(labels):
                out.append(MetricRow(metric, self._group_of(names[i]), names[i], *mean_and_count(right[labels == i])))
        return out

    def resampling_summary(self, records: Mapping[str, list[Row]]) -> ResamplingSummary:
        """Means over images of whether the class is among the best one and the best five."""
        rows = [row for image in records.values() for row in image]
        names = self.dataset.categories
        ranks = np.array([row["rank"] for row in rows], dtype=np.int64)
        values = {metric: (ranks < most).astype(np.float64) for metric, most in TOP.items()}
        return means_summary(records, names, self._groups, [names[row["label"]] for row in rows], values)
