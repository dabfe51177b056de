"""Coverage of segments: the share of each that a selector keeps, without any model.

A segment is all pixels of one class in one image, thing or stuff: class masks do not separate neighboring objects.
"""

from __future__ import annotations

from collections.abc import Set

from ltrp_bench.tasks.coverage import CoverageTask
from ltrp_bench.tasks.data.objects import ObjectDataset
from ltrp_bench.tasks.splits.split import CategorySplit, NarrowAs


class SegmentCoverageTask(CoverageTask):
    """Share of each segment that is kept.

    Metrics are those of `CoverageTask`, and for data with things and stuff also `coverage_things` and
    `coverage_stuff`.

    Args:
        name, dataset, split, grid, narrow_as: see `CoverageTask`.
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
        things: Set[str] = frozenset(),
    ) -> None:
        super().__init__(name, dataset, split, grid=grid, narrow_as=narrow_as)
        self._things = frozenset(dataset.categories) & things

    def _subsets(self) -> dict[str, frozenset[str]]:
        """Things and stuff; empty if all classes are of one kind, or the kinds are not known."""
        stuff = frozenset(self.dataset.categories) - self._things
        return {"things": self._things, "stuff": stuff} if self._things and stuff else {}
