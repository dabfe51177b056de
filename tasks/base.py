"""Base class of tasks: images with ground truth, a model or none, rows per image, metrics over groups."""

from __future__ import annotations

import functools
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from ltrp_bench.results.schema.rows import MetricRow, Row
from ltrp_bench.results.summaries.base import ResamplingSummary
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.tasks.data.base import Domain, Omission
from ltrp_bench.tasks.metrics.patch_coverage import even_edges
from ltrp_bench.tasks.splits.split import CategorySplit

__all__ = [
    "Domain",
    "Downsample",
    "Keep",
    "MetricRow",
    "Omission",
    "ReducedInput",
    "ReductionMode",
    "ResamplingSummary",
    "Row",
    "Sample",
    "Task",
]

ReductionMode = Literal["drop", "fill"]
"""Input of a model: the kept patches alone, or the image with its dropped patches filled with the mean."""


@dataclass(frozen=True)
class Sample:
    """One image.

    Attributes:
        image_id: unique in the data set.
        image: [H, W, 3] uint8 RGB.
        annotations: whatever the task needs to find the ground truth again.
    """

    image_id: str
    image: np.ndarray
    annotations: Any = None


@dataclass(frozen=True)
class Keep:
    """Reduction that keeps some patches: `mask` is [gh, gw] bool on the task's grid of the sample."""

    mask: np.ndarray


@dataclass(frozen=True)
class Downsample:
    """Reduction of the `downsample` control: the whole image, shrunk to `keep_ratio` of its patches."""

    keep_ratio: float


ReducedInput = Keep | Downsample
"""Part of the image that the model is given."""

PatchEdges = tuple[tuple[float, ...], tuple[float, ...]]
"""Row and column edges of a patch grid (gh + 1 and gw + 1 values), in pixels."""


RENAMED_METHODS: Final = {
    "process": "predict",
    "summarise": "compute_metrics",
    "objects": "oracle_scores",
    "evidence": "resampling_summary",
}
"""Old name -> new name of the methods of `Task` that were renamed in 0.2; the old ones work until 0.3."""


def _renamed(method: Callable[..., Any], old: str) -> Callable[..., Any]:
    """Alias of `method` under its old name, which warns and calls it."""

    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        warnings.warn(f"{old} is now called {method.__name__}", DeprecationWarning, stacklevel=2)
        return method(*args, **kwargs)

    return call


class Task(ABC):
    """Base class of tasks.

    Attributes:
        name: as in the registry, e.g. "coco-det".
        domain: "shapes" or "photos"; decides which bundled weights a selector loads.
        reduction: "fill", "drop", or "none" for tasks without a model.
        headline: the metric that tables show first.
        supports_downsample: True if `Downsample` reductions are allowed.
        split: states of the categories; None if the task has no split.
        row_schema: column -> "int64" | "float64" | "string" | "binary" of the rows `predict` returns.
        assumptions: one line for each thing that neither files nor options say and that was assumed, such as the
            normalization of a model: printed at the start of a run, and kept with its results.
    """

    name: str
    domain: Domain
    reduction: Literal["fill", "drop", "none"]
    headline: str
    supports_downsample: bool = False
    split: CategorySplit | None = None
    assumptions: tuple[str, ...] = ()
    row_schema: Mapping[str, str]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let methods of a subclass be defined and called by their names before version 0.2, with a warning."""
        super().__init_subclass__(**kwargs)
        for old, name in RENAMED_METHODS.items():
            if old in vars(cls) and name not in vars(cls):
                warnings.warn(f"{cls.__name__}.{old} is now called {name}", DeprecationWarning, stacklevel=2)
                setattr(cls, name, vars(cls)[old])
            elif name in vars(cls):
                setattr(cls, old, _renamed(vars(cls)[name], old))

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Plain JSON of everything that results depend on: options, data revision, hash of the model's weights."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of images."""

    @abstractmethod
    def image_id(self, index: int) -> str:
        """Id of the image at `index`, equal to `load(index).image_id`; does not read the file."""

    @abstractmethod
    def load(self, index: int) -> Sample:
        """The image at `index`. Raises InputError if its file is missing or corrupt."""

    @abstractmethod
    def grid(self, sample: Sample) -> tuple[int, int]:
        """(gh, gw) of the patch grid on which patches of the sample are kept."""

    @abstractmethod
    def oracle_scores(self, sample: Sample) -> np.ndarray:
        """[gh, gw] float32 scores of the `oracle` control, from the annotations: greater is kept first.

        For tasks with a model the share of each patch that annotated objects cover: what a ranking by ground truth
        reaches, but no bound, because a model may do better on other patches. For coverage an exact ceiling.
        """

    @property
    def oracle_groups(self) -> Collection[str]:
        """Groups of objects with a ceiling of their own, for `oracle.GROUP`; none unless overridden."""
        return ()

    def group_oracle_scores(self, sample: Sample, groups: Collection[str]) -> np.ndarray:
        """[gh, gw] float32 scores that are a ceiling for the objects in all of some `oracle_groups`."""
        raise UsageError(f"{self.name}: the oracle has no groups here; use 'oracle'")

    @abstractmethod
    def predict(self, samples: Sequence[Sample], reductions: Sequence[ReducedInput]) -> list[list[Row]]:
        """Rows of each image under its reduction; they depend on the image alone, not on the rest of the batch."""

    def model_runner(self, samples: Sequence[Sample]) -> Callable[[Sequence[ReducedInput]], object]:
        """Function that runs the model alone on reduced images, for measurements of its time.

        What needs not be done again for other reductions, such as normalization, may be done beforehand. Whole images
        (`Keep` of every patch) go through the model as they do without this package. By default it is `predict`.

        Args:
            samples: images of one size.

        Returns:
            A function of one reduction per sample, which keep equally many patches. It need not wait for a GPU.
        """
        return lambda reductions: self.predict(samples, reductions)

    @abstractmethod
    def compute_metrics(self, records: Mapping[str, list[Row]]) -> list[MetricRow]:
        """Metrics over exactly these images (id -> rows), for all groups and categories."""

    def patch_edges(self, sample: Sample) -> PatchEdges:
        """Edges of the patches of `grid(sample)` in pixels of `sample.image`; evenly spaced unless overridden."""
        (height, width), (gh, gw) = sample.image.shape[:2], self.grid(sample)
        return even_edges(height, gh), even_edges(width, gw)

    def object_masks(self, sample: Sample) -> list[tuple[str, np.ndarray]]:
        """Category and [H, W] bool mask of each annotated object except crowds, for drawing.

        Masks cover the same view as `sample.image`, possibly at another resolution. Empty unless overridden.
        """
        return []

    def image_labels(self, sample: Sample) -> tuple[str, ...]:
        """Categories of an image whose objects are not localized, for captions. Empty unless overridden."""
        return ()

    def omissions(self, records: Mapping[str, list[Row]]) -> Sequence[Omission]:
        """What was changed, left out or does not count, shown at the end of a run. Empty unless overridden.

        Args:
            records: as given to `compute_metrics`.
        """
        return ()

    def resampling_summary(self, records: Mapping[str, list[Row]]) -> ResamplingSummary | Mapping[str, Any] | None:
        """Summary from which the metrics of these images can be resampled, without data set or model.

        Args:
            records: as given to `compute_metrics`, which is called with the same mapping just before.

        Returns:
            One of the kinds of docs/statistics.md, as an object of `results.summaries` or in its stored form (arrays
            by name and plain JSON under "meta"). With every image once its metrics are those of `compute_metrics`.
            None if the task has no summary: its leaderboard rows then have no intervals.
        """
        return None


def __getattr__(name: str) -> Any:
    if name == "Reduction":
        warnings.warn("Reduction is now called ReducedInput", DeprecationWarning, stacklevel=2)
        return ReducedInput
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
