"""The unit of work of a sweep: cells of one selector, task and seed on one span of images, and what comes of it.

A unit is named by fingerprints and changes nothing but what it returns, so it may be done in any process, twice, or
again. An `Executor` decides where; the driver (`sweep.py`) alone writes the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Protocol

import numpy as np

from ltrp_bench.harness.evaluation.cost import ScoreCost, SpanCosts
from ltrp_bench.harness.evaluation.loading import Span
from ltrp_bench.harness.evaluation.plan import Cell, CellGroup, TaskEntry
from ltrp_bench.results.schema.image_rows import Images
from ltrp_bench.results.store.gallery import Thumbnail


@dataclass(frozen=True, kw_only=True)
class SpanWork:
    """Cells of one group that are to be measured on the images of one span.

    Attributes:
        group: the group.
        span: the images.
        cells: the cells; empty if only what `gallery` says is wanted.
        gallery: True if ranks and thumbnails of the images are wanted as well.
    """

    group: CellGroup
    span: Span
    cells: tuple[Cell, ...]
    gallery: bool = False


@dataclass(frozen=True, kw_only=True)
class SpanBatch:
    """Work on the same images, which are read once.

    Attributes:
        task: the task of all works.
        span: the images.
        works: one or more.
        alone: True if the run has a single selector and seed for this task.
    """

    task: TaskEntry
    span: Span
    works: Sequence[SpanWork]
    alone: bool = False

    @property
    def label(self) -> str:
        """Description for the user: the task, whose selectors take turns too quickly to be read; one alone is named."""
        return self.works[0].group.label if self.alone else self.task.shown

    def parts(self, count: int) -> list[SpanBatch]:
        """The batch cut into at most `count` batches of some works each."""
        size = -(-len(self.works) // max(1, count))
        return [replace(self, works=self.works[at : at + size]) for at in range(0, len(self.works), size)]


@dataclass(frozen=True, kw_only=True)
class NewScores:
    """Scores that were computed, for the cache.

    Attributes:
        ids, grids, scores: of each image, as `ScoreCache.put` takes them.
        cost: their cost.
    """

    ids: Sequence[str]
    grids: Sequence[tuple[int, int]]
    scores: Sequence[np.ndarray]
    cost: ScoreCost


@dataclass(frozen=True, kw_only=True)
class SpanResult:
    """What comes of a `SpanWork`.

    Attributes:
        rows: fingerprint of the cell -> image id -> rows.
        unreadable: image id -> why the image could not be read.
        costs: of selector and model.
        seconds: time that the work took, without reading the images.
        scores: new scores; None if they came from the cache or are not cached.
        ranks: image id -> [gh, gw] rank of each patch, where the gallery wants them.
        thumbnails: of the first images, where the gallery wants them.
        notices: lines for the user.
    """

    rows: Mapping[str, Images]
    unreadable: Mapping[str, str]
    costs: SpanCosts
    seconds: float
    scores: NewScores | None = None
    ranks: Mapping[str, np.ndarray] | None = None
    thumbnails: Sequence[Thumbnail] = ()
    notices: Sequence[str] = ()


class Executor(Protocol):
    """Decides where work is done: in this process, in several, or on other machines."""

    def __enter__(self) -> Executor:
        """Called before the first `run`."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Called at the end, also after an error; ends the processes that were started."""

    def run(
        self, batches: Iterable[SpanBatch], started: Callable[[str], None], left: Callable[[], int]
    ) -> Iterator[tuple[SpanWork, SpanResult]]:
        """Do the work of `batches`, in any order.

        Args:
            batches: taken one by one, a few ahead of what is returned.
            started: called with the label of each batch that is worked on.
            left: returns the number of images that are left, summed over groups; for engines that decide by it.

        Raises:
            BenchError: the first error of the work itself, such as an unreadable image.
        """
