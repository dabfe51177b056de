"""Paired test of the change of a value between two runs on the same images.

For cells with resampling summaries, the change is estimated draw by draw on the images that both runs have. A decrease
is significant if its one-sided p-value, after Holm's correction over all rows and values of the comparison, is below
0.05. A run repeated with the same code has no change in any draw, and a p-value of 1.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from scipy.special import ndtr

from ltrp_bench.results.schema.record import CellRecord
from ltrp_bench.results.schema.rows import GROUPS
from ltrp_bench.results.statistics.bootstrap import RESAMPLES, Estimate, combination, mean
from ltrp_bench.results.statistics.ranks import ALPHA, holm
from ltrp_bench.results.statistics.replicates import paired
from ltrp_bench.results.store.run_store import RunStore

Row = Mapping[str, Any]
_ROUNDING: Final = 1e-12


@dataclass(frozen=True)
class Change:
    """Change of a value: current - base.

    Attributes:
        point, low, high: estimate and 95 % interval.
        p_fall: one-sided p-value of a decrease, after Holm's correction.
        p_rise: one-sided p-value of an increase, after Holm's correction.
    """

    point: float
    low: float
    high: float
    p_fall: float
    p_rise: float

    @property
    def fell(self) -> bool:
        """True if the decrease is significant."""
        return self.p_fall < ALPHA

    @property
    def rose(self) -> bool:
        """True if the increase is significant."""
        return self.p_rise < ALPHA

    def text(self) -> str:
        """Text like "-0.0312 [-0.0410, -0.0221], p 0.001"."""
        p = self.p_fall if self.point < 0 else self.p_rise
        return f"{self.point:+.4f} [{self.low:+.4f}, {self.high:+.4f}], p {p:.2g}"


class PairedCells:
    """Cells of two run folders, and the changes between their rows.

    Args:
        base, current: the run folders.
        resamples: number of bootstrap resamples.
    """

    def __init__(self, base: RunStore, current: RunStore, resamples: int = RESAMPLES) -> None:
        self._resamples = resamples
        self._stores = base, current
        self._cells = tuple({r.short_fingerprint: r for r in store.read_cells()} for store in self._stores)

    def changes(self, rows: Sequence[tuple[Row, Row]]) -> list[dict[str, Change] | None]:
        """Group -> change, for each pair of rows (base, current); None where a cell has no resampling summary."""
        differences = [self._differences(*pair) for pair in rows]
        tests = [(i, group, one) for i, groups in enumerate(differences) if groups for group, one in groups.items()]
        falls = holm([_p_fall(one) for _, _, one in tests])
        rises = holm([_p_fall(combination((-1.0, one))) for _, _, one in tests])
        changes: dict[int, dict[str, Change]] = defaultdict(dict)
        for (i, group, one), fall, rise in zip(tests, falls, rises, strict=True):
            changes[i][group] = Change(one.point, *one.interval(), fall, rise)
        return [None if groups is None else changes[i] for i, groups in enumerate(differences)]

    def _differences(self, old: Row, new: Row) -> dict[str, Estimate] | None:
        """Group -> current - base, as a mean over the seeds that both have."""
        before, after = (
            {cells[short].seed: cells[short] for short in str(row["fingerprints"]).split()}
            for cells, row in zip(self._cells, (old, new), strict=True)
        )
        found: dict[str, list[Estimate]] = {group: [] for group in GROUPS}
        for seed in sorted(before.keys() & after.keys()):
            groups = self._difference(before[seed], after[seed])
            if groups is None:
                return None
            for group in GROUPS:
                found[group].append(groups[group])
        return {group: mean(own) for group, own in found.items()} if found["all"] else None

    def _difference(self, before: CellRecord, after: CellRecord) -> dict[str, Estimate] | None:
        one, other = (store.read_summary(r) for store, r in zip(self._stores, (before, after), strict=True))
        metric = before.task.headline
        if one is None or other is None or metric not in one.metrics or metric not in other.metrics:
            return None
        was, now = paired(one, other, metric, before.task.name, self._resamples)
        return {group: now[group] - was[group] for group in GROUPS}


def _p_fall(one: Estimate) -> float:
    """One-sided p-value of a decrease; NaN if the change is undefined."""
    error = one.standard_error
    if math.isnan(error) or math.isnan(one.point):
        return math.nan
    if error <= _ROUNDING:
        return 1.0 if one.point >= -_ROUNDING else 0.0
    return float(ndtr(one.point / error))
