"""Coverage of segments: the share of each that a selector keeps, without any model.

A segment is all pixels of one class in one image, thing or stuff: class masks do not separate neighboring objects.
"""

from __future__ import annotations

from collections.abc import Set

import numpy as np

from ltrp_bench.tasks.coverage import CoverageTask
from ltrp_bench.tasks.data.objects import ObjectDataset
from ltrp_bench.tasks.splits.split import CategorySplit, NarrowAs


class SegmentCoverageTask(CoverageTask):
    """Share of each segment that is kept.

    Metrics are those of `CoverageTask`, and for data with things and stuff also `coverage_things` and
    `coverage_stuff`. CorLoc counts things alone in such data.

    Args:
        name, dataset, split, grid, narrow_as, corloc: see `CoverageTask`.
        things: classes that are things; empty if that is not known.
    """

    def __init__(
        self,
        name: str,
        dataset: ObjectDataset,
        split: CategorySplit,
        *,
        grid: tuple[int, int],
        narrow_as: NarrowAs = "seen",
        corloc: bool = False,
        things: Set[str] = frozenset(),
    ) -> None:
        super().__init__(name, dataset, split, grid=grid, narrow_as=narrow_as, corloc=corloc)
        self._things = frozenset(dataset.categories) & things

    def _subsets(self) -> dict[str, frozenset[str]]:
        """Things and stuff; empty if all classes are of one kind, or the kinds are not known."""
        stuff = frozenset(self.dataset.categories) - self._things
        return {"things": self._things, "stuff": stuff} if self._things and stuff else {}

    def _is_located(self, categories: np.ndarray) -> np.ndarray:
        """[M] bool: rows of things, or of all segments if the kinds are not known."""
        return np.isin(categories, sorted(self._subsets().get("things", self.dataset.categories)))
