"""Entries of a legend are distributed over rows in order."""

from __future__ import annotations

from ltrp_bench.harness.visualization.legend import ColorBar, LineSample, legend_rows
from ltrp_bench.results.report.style import SEEN


def test_rows_hold_as_many_entries_as_fit() -> None:
    entries = [ColorBar(colormap="viridis", low="low", high="high"), *[LineSample(style=SEEN, text=t) for t in "abc"]]
    widths = [entry.width(6.5) for entry in entries]
    assert legend_rows(entries, sum(widths) + 0.01, 6.5) == [entries]
    assert legend_rows(entries, sum(widths) - 0.01, 6.5) == [entries[:3], entries[3:]]
    assert legend_rows(entries, 0.1, 6.5) == [[entry] for entry in entries]  # too narrow: one each
    assert legend_rows([], 1.0, 6.5) == []
