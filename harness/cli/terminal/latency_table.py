"""Measured latencies as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ltrp_bench.results.leaderboard.latency import break_evens, range_text
from ltrp_bench.results.store.latency import Latencies, Times

COLUMNS: Final = ("batch", "keep", "whole", "selector", "model", "both", "images/s", "break-even")

Measured = tuple[str, str, Latencies]
"""Selector, task, and their latencies."""


def latency_table(measured: Sequence[Measured], width: int | None = None) -> RenderableType:
    """A table of each task: milliseconds of a batch, and images per second of selector and model.

    Args:
        measured: latencies of one setting.
        width: available width in characters; None for any. Narrow tables have no percentiles.
    """
    tasks: dict[str, list[list[str]]] = {}
    for percentiles in (True, False):
        tasks = {}
        for selector, task, latencies in measured:
            tasks.setdefault(task, []).extend(_rows(selector, latencies, percentiles))
        if width is None or max(_width(rows, 2) for rows in tasks.values()) <= width:
            break
    what = "median (90th percentile)" if percentiles else "median (90th percentiles: leaderboard --csv)"
    shown: list[RenderableType] = [Text(measured[0][2].setting.text, style="bold")]
    for task, rows in tasks.items():
        shown += [Text(task, style="bold"), _table(rows, 2 if percentiles else 1)]
    legend = "both: selector and model; break-even: keep ratio below which both beat whole (docs/latency.md)"
    return Group(*shown, Text(f"milliseconds of a batch, {what}", style="dim"), Text(legend, style="dim"))


def _table(rows: Sequence[Sequence[str]], gap: int) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, gap, 0, 0))
    table.add_column("selector", no_wrap=True)
    for name in COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _width(rows: Sequence[Sequence[str]], gap: int) -> int:
    columns = zip(("selector", *COLUMNS), *rows, strict=True)
    return sum(max(map(len, column)) + gap for column in columns)


def _rows(selector: str, latencies: Latencies, percentiles: bool) -> list[list[str]]:
    """A row for each batch size and keep ratio; one for each batch size where there is no model."""
    found = break_evens(latencies.entries)
    out: list[list[str]] = []
    for one in latencies.entries:
        ratio = f"{one.keep_ratio:g}" if one.model is not None else "any"
        times = [_ms(part, percentiles) for part in (one.whole, one.selector, one.model, one.both)]
        total = one.both or one.selector
        rate = f"{1000 * one.batch / total.median:.1f}" if total is not None and total.median > 0 else "-"
        break_even = range_text(*found.get((one.task_id, one.selector_id, one.batch), (float("nan"), "")))
        row = [selector, str(one.batch), ratio, *times, rate, break_even or "-"]
        if row not in out:
            out.append(row)
    return out


def _ms(times: Times | None, percentiles: bool) -> str:
    if times is None:
        return "-"
    return f"{times.median:.1f} ({times.p90:.1f})" if percentiles else f"{times.median:.1f}"
