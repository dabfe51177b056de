"""Lines below a table or a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ltrp_bench.results.leaderboard.ceilings import ceiling_notes
from ltrp_bench.results.leaderboard.exposure_text import exposure_notes
from ltrp_bench.results.leaderboard.replicate_spread import replicate_text


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
