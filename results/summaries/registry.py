"""Evidence by its kind: what a cell leaves so that its metrics can be resampled by images (docs/statistics.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ltrp_bench.results.schema.record import ResultsError
from ltrp_bench.results.summaries.average_precision import Ranking
from ltrp_bench.results.summaries.base import GROUPS, Evidence, Pair
from ltrp_bench.results.summaries.confusion import Confusion
from ltrp_bench.results.summaries.detections import Detections
from ltrp_bench.results.summaries.means import Means

__all__ = ["GROUPS", "KINDS", "Evidence", "Pair", "read"]

KINDS: Final[Mapping[str, type[Evidence]]] = {kind.kind: kind for kind in (Means, Ranking, Confusion, Detections)}


def read(arrays: Mapping[str, Any], where: str) -> Evidence:
    """Evidence of any of `KINDS`.

    Args:
        arrays: arrays by name, and under "meta" a plain mapping, as a task's `evidence` makes it.
        where: the file's or cell's name, for messages.

    Raises:
        ResultsError: if the kind is unknown, or anything is missing, of the wrong type or shape, or out of range.
    """
    meta = arrays.get("meta")
    kind = meta.get("kind") if isinstance(meta, Mapping) else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise ResultsError(f"{where} is no evidence: kind {kind!r} in its meta; there are {', '.join(KINDS)}")
    return KINDS[kind](arrays, where)
