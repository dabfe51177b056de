"""Replicates of a cell: the same cell, measured again on another machine.

Other CPUs and GPUs round differently, so the numbers of one fingerprint differ in their last digits, and where rounding
decides between two patches or labels by a little more. A run folder keeps such cells side by side, each with its rows
and provenance; tables show the one that was there first. The replicates of resampling (`statistics.replicates`) are
another thing.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from typing import Final

from ltrp_bench.results.schema.record import CellRecord
from ltrp_bench.results.schema.rows import GROUPS, MetricRow
from ltrp_bench.results.store.run_store import REPLICATES, RunStore

TOLERANCE: Final = 0.005
"""Largest difference of headline metrics that counts as rounding."""


def replicate_store(store: RunStore, record: CellRecord) -> RunStore:
    """Folder of a replicate within a run folder, named by the content of its record."""
    content = hashlib.sha256(record.to_json().encode()).hexdigest()[:16]
    return RunStore(store.root / REPLICATES / record.fingerprint / content)


def disagreement(known: CellRecord, other: CellRecord, tolerance: float = TOLERANCE) -> str:
    """First difference between two records of one fingerprint that is more than rounding; empty if they agree.

    The headline metric over all, seen and unseen categories may differ by `tolerance`. All other metrics may differ by
    one more of the n objects that they are taken over, since few objects are often behind them.

    Args:
        known: the cell as it is known here.
        other: the cell of the same fingerprint from elsewhere.
        tolerance: largest difference, >= 0.
    """
    if (known.images, known.skipped) != (other.images, other.skipped):
        return (
            f"it has {other.images} images ({len(other.skipped)} left out), not {known.images} ({len(known.skipped)})"
        )
    here, there = _by_name(known.metrics), _by_name(other.metrics)
    if odd := sorted(here.keys() ^ there.keys()):
        metric, group, category = odd[0]
        return f"only one of them has {metric} of {category or group}"
    for name, row in here.items():
        text = _row_disagreement(row, there[name], tolerance, headline=row.metric == known.task.headline)
        if text:
            return text
    return ""


def spread(records: Iterable[CellRecord], metric: str) -> float:
    """Largest difference between records in a metric over all, seen or unseen categories; NaN if it is undefined."""
    given = list(records)
    widths = []
    for group in GROUPS:
        values = [value for record in given if not math.isnan(value := record.value(metric, group))]
        if values:
            widths.append(max(values) - min(values))
    return max(widths, default=math.nan)


def _by_name(rows: Iterable[MetricRow]) -> dict[tuple[str, str, str], MetricRow]:
    return {(row.metric, row.group, row.category or ""): row for row in rows}


def _row_disagreement(known: MetricRow, other: MetricRow, tolerance: float, *, headline: bool) -> str:
    name = f"{known.metric} of {known.category or known.group}"
    strict = headline and known.category is None and known.group in GROUPS
    if strict and known.n != other.n:
        return f"{name} is taken over {other.n}, not {known.n}"
    if known == other or not (known.defined or other.defined):
        return ""
    allowed = tolerance if strict else tolerance + 1 / max(1, min(known.n, other.n))
    # Not `>`: the difference to an undefined value is NaN.
    if abs(known.value - other.value) <= allowed:
        return ""
    return f"{name} is {other.value:.4f}, not {known.value:.4f}"
