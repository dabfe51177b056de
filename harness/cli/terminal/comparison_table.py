"""Table of `ltrp-bench compare` for a terminal; files and pipes get Markdown."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from ltrp_bench.results.comparison.outcome import Comparison, RowComparison

_CHANGES: Final = ("seen", "unseen", "gap")


def comparison_table(comparison: Comparison) -> RenderableType:
    """The outcome, and a line for each row: `all` on both sides, and the changes of the other values.

    Args:
        comparison: what `compare` found, regressions first.
    """
    reductions = {row.key[:2] for row in comparison.rows}
    several = len(reductions) > len({task for task, _ in reductions})
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("status", "task", *(("reduction",) if several else ())):
        table.add_column(title, overflow="fold")
    table.add_column("keep", justify="right", no_wrap=True)
    table.add_column("selector", overflow="fold")
    for title in ("all", *_CHANGES):
        table.add_column(title, justify="right", no_wrap=True)
    for row in comparison.rows:
        task, reduction, ratio, selector = row.key
        style = "bold red" if row.regression else "green" if row.status == "better" else None
        table.add_row(
            *(row.status, task, *((reduction,) if several else ()), f"{ratio:g}", selector),
            *(_sides(row), *(_change(row, name) for name in _CHANGES)),
            style=style,
        )
    notes = [
        Text(f"{row.key[3]} on {row.key[0]} at keep ratio {row.key[2]:g}: {row.note}", style="dim")
        for row in comparison.rows
        if row.note and not row.regression
    ]
    legend = Text("all: before → now; seen, unseen, gap: by how much it changed (docs/results.md)", style="dim")
    return Group(Text(comparison.outcome()), Text(""), table, *notes, legend)


def _sides(row: RowComparison) -> str:
    texts = ["-" if math.isnan(value) else _bare(f"{value:.3f}") for value in _values(row, "all")]
    return texts[0] if texts[0] == texts[1] else " → ".join(texts)


def _change(row: RowComparison, name: str) -> str:
    before, now = _values(row, name)
    return "-" if math.isnan(before) or math.isnan(now) else _bare(f"{now - before:+.3f}")


def _bare(text: str) -> str:
    """A number without a zero before its decimal point, as in leaderboards."""
    return text.replace("0.", ".", 1) if text.lstrip("+-").startswith("0.") else text


def _values(row: RowComparison, name: str) -> tuple[float, float]:
    return row.base.get(name, math.nan), row.current.get(name, math.nan)
