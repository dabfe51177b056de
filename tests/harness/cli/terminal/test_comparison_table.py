"""The table of `compare` in a terminal."""

from __future__ import annotations

import io
import math

from rich.console import Console

from ltrp_bench.harness.cli.terminal.comparison_table import comparison_table
from ltrp_bench.results.comparison.outcome import Comparison, RowComparison


def values(all_: float) -> dict[str, float]:
    return {"all": all_, "seen": all_ + 0.1, "unseen": all_ - 0.1, "gap": 0.2}


UNDEFINED = dict.fromkeys(("all", "seen", "unseen", "gap"), math.nan)
ROWS = (
    RowComparison("worse", ("shapes-coverage", "none", 0.25, "ltrp.shapes"), values(0.677), values(0.6), "all -0.077"),
    RowComparison("ok", ("shapes-coverage", "none", 0.5, "downsample"), values(0.4), values(0.4)),
    RowComparison("new", ("shapes-cls", "drop", 0.25, "random"), {}, values(0.3), "not in the base"),
    RowComparison("ok", ("shapes-cls", "fill", 0.25, "random"), UNDEFINED, UNDEFINED),
)


def printed(rows: tuple[RowComparison, ...], width: int) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=width).print(comparison_table(Comparison(rows, 0.005)))
    return [line.rstrip() for line in file.getvalue().splitlines()]


def test_rows_fit_80_columns() -> None:
    lines = printed(ROWS[:3], 80)
    assert lines[0] == "1 regression in 3 rows (3 by tolerance 0.005)."
    assert lines[2].split() == ["status", "task", "keep", "selector", "all", "seen", "unseen", "gap"]
    assert lines[3].split() == [
        *("worse", "shapes-coverage", "0.25", "ltrp.shapes", ".677", "→", ".600", "-.077", "-.077", "+.000")
    ]
    assert lines[4].split()[4:] == [".400", "+.000", "+.000", "+.000"]
    assert lines[5].split() == ["new", "shapes-cls", "0.25", "random", "-", "→", ".300", "-", "-", "-"]
    # A regression has its own line on stderr.
    assert lines[6] == "random on shapes-cls at keep ratio 0.25: not in the base"
    assert lines[7].startswith("all: before → now") and len(lines) == 8


def test_several_reductions_of_a_task_are_told_apart() -> None:
    lines = printed(ROWS, 100)
    assert lines[2].split()[:4] == ["status", "task", "reduction", "keep"]
    assert lines[6].split() == [
        "ok",
        "shapes-cls",
        "fill",
        "0.25",
        "random",
        "-",
        "-",
        "-",
        "-",
    ]  # undefined on both sides
