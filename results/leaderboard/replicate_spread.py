"""How far the replicates of a row's cells are apart: the same cells, measured on other machines."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from ltrp_bench.results.leaderboard.names import labels
from ltrp_bench.results.leaderboard.rows import TableRow
from ltrp_bench.results.schema.record import CellRecord
from ltrp_bench.results.store.cell_replicates import spread
from ltrp_bench.results.store.run_store import RunStore

REPLICATES: Final = ("replicates", "replicate_spread")
"""Columns that `add_replicates` fills in."""


def add_replicates(rows: Sequence[TableRow], records: Iterable[CellRecord], store: RunStore) -> None:
    """Fill the columns `REPLICATES` of the rows.

    `replicates` is the largest number of replicates that a cell of the row has, and `replicate_spread` the largest
    difference of the row's metric within a cell, over all, seen or unseen categories; NaN without replicates.

    Args:
        rows: all rows of a leaderboard.
        records: all cells behind the rows.
        store: the run folder.
    """
    measured: dict[str, list[CellRecord]] = {}
    for record in records:
        others = store.replicates(record.fingerprint)
        if others:
            measured[record.short_fingerprint] = [record, *(one.read_cell(record.fingerprint) for one in others)]
    for row in rows:
        cells = [measured[short] for short in str(row.values["fingerprints"]).split() if short in measured]
        widths = [width for cell in cells if not math.isnan(width := spread(cell, str(row.values["metric"])))]
        row.values["replicates"] = max((len(cell) - 1 for cell in cells), default=0)
        row.values["replicate_spread"] = max(widths, default=math.nan)


def replicate_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Line for below a table about rows that were measured on several machines; "" if there are none."""
    own = [row for row in rows if _number(row, "replicates") > 0]
    if not own:
        return ""
    most = max(int(row["replicates"]) for row in own)
    text = f"{len(own)} of {len(rows)} rows were measured on up to {most + 1} machines"
    known = [row for row in own if not math.isnan(_number(row, "replicate_spread"))]
    if not known:
        return text
    widest = max(known, key=lambda row: _number(row, "replicate_spread"))
    if not (width := _number(widest, "replicate_spread")):
        return f"{text}, with the same values"
    return (
        f"{text}; their values differ by at most {width:.2g} ({labels('selector', rows)(widest)} at {widest['ratios']})"
    )


def _number(row: Mapping[str, Any], name: str) -> float:
    try:
        return float(row.get(name, math.nan))
    except (TypeError, ValueError):
        return math.nan
