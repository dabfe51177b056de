"""Multi-label classification by a timm model with a linear head or an ML-Decoder.

Images are squashed to the model's input size, without a crop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ltrp_bench.results.schema.rows import GROUPS
from ltrp_bench.results.summaries.base import ResamplingSummary
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.tasks.base import MetricRow, Omission, ReductionMode, Row, Sample
from ltrp_bench.tasks.data.annotations import SIZES, ImageAnnotations
from ltrp_bench.tasks.data.image_labels import MultiLabelDataset, ObjectLabelDataset, as_multilabel, label_vector
from ltrp_bench.tasks.data.objects import ObjectDataset
from ltrp_bench.tasks.metrics.multilabel import SIZE_METRICS, MultiLabel, pack
from ltrp_bench.tasks.metrics.summaries import ranking_summary
from ltrp_bench.tasks.models.vit.loading import TimmModel
from ltrp_bench.tasks.object_omissions import without_objects
from ltrp_bench.tasks.splits.split import CategorySplit, NarrowAs
from ltrp_bench.tasks.timm_task import TimmTask


class MultiLabelTask(TimmTask[MultiLabelDataset]):
    """A multi-label model, evaluated on seen and unseen categories.

    Args:
        name, split, model, reduction, patch, narrow_as: see `TimmTask`; the model gives a logit for each category.
        dataset: images and their categories, or their objects.
        threshold: sigmoid in (0, 1) from which a category is predicted as present, for precision, recall and F1.
    """

    headline = "mAP"
    row_schema: Mapping[str, str] = {
        "scores": "binary",  # one row an image, in the order of the categories: `metrics.multilabel.unpack`
        "labels": "binary",
        "sizes": "binary",
    }

    def __init__(
        self,
        name: str,
        dataset: MultiLabelDataset | ObjectDataset,
        split: CategorySplit,
        model: TimmModel,
        *,
        reduction: ReductionMode | None = None,
        patch: int | None = None,
        threshold: float = 0.5,
        narrow_as: NarrowAs = "seen",
    ) -> None:
        if not 0 < threshold < 1:
            raise UsageError(f"{name}: threshold must be in (0, 1), got {threshold}")
        labelled = as_multilabel(dataset)
        super().__init__(name, labelled, split, model, reduction=reduction, patch=patch, narrow_as=narrow_as)
        self.threshold = threshold
        self._identity["threshold"] = threshold
        self._sizes: dict[int, np.ndarray] = {}

    def annotations_of(self, sample: Sample) -> ImageAnnotations | None:
        """Objects of the whole image, with masks; None where the data set has labels alone."""
        objects = self.dataset.objects
        return None if objects is None else objects.truth(sample.annotations, masks=True)

    def object_masks(self, sample: Sample) -> list[tuple[str, np.ndarray]]:
        """Masks of the objects, cropped like the image."""
        crop = self.model.inputs.crop
        return [
            (category, crop(np.repeat(mask[..., None] * np.uint8(255), 3, axis=2))[..., 0] > 127)
            for category, mask in super().object_masks(sample)
        ]

    def image_labels(self, sample: Sample) -> tuple[str, ...]:
        """The image's categories in alphabetical order, where the data set has labels alone."""
        return tuple(sorted(self.dataset.labels(sample.annotations))) if self.dataset.objects is None else ()

    def _object_mask(self, index: int) -> np.ndarray | None:
        """[h, w] bool mask of the image's objects, without crowds; None where the data set has labels alone."""
        if self.dataset.objects is None:
            return None
        return self.dataset.objects.truth(index, masks=True).union_mask()

    def _row(self, sample: Sample, logits: np.ndarray) -> Row:
        """Sigmoids of the logits, and the labels."""
        index = sample.annotations
        # Two branches of one function, neither of which overflows.
        small = np.exp(-np.abs(logits.astype(np.float64)))
        sigmoids = np.where(logits >= 0, 1 / (1 + small), small / (1 + small))
        return dict(pack(sigmoids, label_vector(self.dataset, index), self._sizes_of(index)))

    def _sizes_of(self, index: int) -> np.ndarray:
        """[C] uint8 as in `MultiLabel.sizes`; crowds count where they make a label, as in the published code."""
        if index not in self._sizes:
            objects, bits = self.dataset.objects, dict.fromkeys(self.dataset.categories, 0)
            for item in [] if objects is None else objects.truth(index).objects:
                if objects is not None and (not item.crowd or isinstance(self.dataset, ObjectLabelDataset)):
                    bits[item.category] |= 1 << SIZES.index(objects.size(item.area))
            self._sizes[index] = np.array(list(bits.values()), np.uint8)
        return self._sizes[index]

    def compute_metrics(self, records: Mapping[str, list[Row]]) -> list[MetricRow]:
        """mAP, precision, recall and F1 of each group, mAP of sizes where objects are known, AP of each category."""
        run = self._run(records)
        out = []
        for group in GROUPS:
            found = run.summary(self._groups[group], with_sizes=self.dataset.objects is not None)
            out += [MetricRow(metric, group, None, value, n) for metric, (value, n) in found.items()]
        for category, value in zip(run.categories, run.average_precisions(), strict=True):
            out.append(MetricRow("AP", self._group_of(category), category, float(value), run.count((category,))))
        return out

    def omissions(self, records: Mapping[str, list[Row]]) -> list[Omission]:
        """What the data set changed and left out, and images without a category."""
        numbers = ((image_id, len(self.dataset.labels(self.dataset.index(image_id)))) for image_id in records)
        return [*super().omissions(records), *without_objects(numbers)]

    def _run(self, records: Mapping[str, list[Row]]) -> MultiLabel:
        """Scores and labels in the order of the data set, so that results do not depend on the order of `records`."""
        rows: Sequence[Row] = [row for i in sorted(records, key=self.dataset.index) for row in records[i]]
        return MultiLabel.of(rows, self.dataset.categories, self.threshold)

    def resampling_summary(self, records: Mapping[str, list[Row]]) -> ResamplingSummary:
        """Scores and labels of every image, for mAP and, where objects are known, mAP of sizes."""
        metrics = ("mAP", *(SIZE_METRICS if self.dataset.objects is not None else ()))
        order = sorted(records, key=self.dataset.index)
        return ranking_summary(order, self._run(records), self._groups, metrics)
