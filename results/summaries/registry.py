"""Resampling summaries by kind (docs/statistics.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ltrp_bench.results.schema.record import ResultsError
from ltrp_bench.results.summaries.average_precision import RankingSummary
from ltrp_bench.results.summaries.base import ResamplingSummary
from ltrp_bench.results.summaries.confusion import ConfusionSummary
from ltrp_bench.results.summaries.detections import DetectionsSummary
from ltrp_bench.results.summaries.means import MeansSummary

KINDS: Final[Mapping[str, type[ResamplingSummary]]] = {
    kind.kind: kind for kind in (MeansSummary, RankingSummary, ConfusionSummary, DetectionsSummary)
}


def parse_summary(summary: ResamplingSummary | Mapping[str, Any], where: str) -> ResamplingSummary:
    """A resampling summary from its stored form; a resampling summary is returned unchanged.

    Args:
        summary: arrays by name and, under "meta", a plain mapping, see `ResamplingSummary.to_arrays`.
        where: file or cell that messages name.

    Raises:
        ResultsError: if the kind is unknown, or anything is missing, of the wrong type or shape, or out of range.
    """
    if isinstance(summary, ResamplingSummary):
        return summary
    meta = summary.get("meta")
    kind = meta.get("kind") if isinstance(meta, Mapping) else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise ResultsError(
            f"{where} is not a resampling summary: kind {kind!r} in its meta is none of {', '.join(KINDS)}"
        )
    return KINDS[kind].from_arrays(summary, where)
