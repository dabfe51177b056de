"""Lines below a table or a figure, and notes on single rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ltrp_bench.results.leaderboard.ceilings import ceiling_notes
from ltrp_bench.results.leaderboard.exposure_text import exposure_notes
from ltrp_bench.results.leaderboard.replicate_spread import replicate_text

NOTHING: Final = "nothing to measure: no object or label counts"


def nothing_measured(row: Mapping[str, Any]) -> bool:
    """True for a complete row whose metric is over nothing."""
    return bool(row["complete"]) and math.isnan(float(row.get("all", 0.0)))


def row_notes(row: Mapping[str, Any]) -> list[str]:
    """Why a row has no values; empty for rows that have some."""
    if not row["complete"]:
        return ["incomplete: lacks " + str(row["missing"]).removeprefix("lacks ")]
    return [NOTHING] if nothing_measured(row) else []


def selector_notes(rows: Sequence[Mapping[str, Any]], listed: int | None = None) -> list[str]:
    """Lines about some of the selectors, "<selectors>: <text>": exposed ones first, then the oracles.

    Args:
        rows: rows of one table.
        listed: number of categories that a line names; None names all of them.
    """
    return [*exposure_notes(rows, listed), *ceiling_notes(rows)]


def table_notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """All lines for below a table: those about selectors, then the one about replicates."""
    replicates = replicate_text(rows)
    return [*selector_notes(rows), *([replicates] if replicates else [])]
