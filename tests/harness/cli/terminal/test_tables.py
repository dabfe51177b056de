"""The printed table: columns that have a value, intervals, incomplete rows."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from ltrp_bench.harness.cli.terminal.tables import results_table
from ltrp_bench.results.leaderboard.aggregate import aggregate_cells
from ltrp_bench.results.leaderboard.build import load_leaderboard
from ltrp_bench.results.store.run_store import RunStore


def printed(frame: object, capsys: pytest.CaptureFixture[str], width: int = 400) -> list[str]:
    Console(width=width).print(results_table(frame, width))  # type: ignore[arg-type]
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_columns_without_a_value_are_left_out(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = aggregate_cells(RunStore(runs).read_cells())
    header, *rows = printed(frame, capsys)
    assert header.split() == [
        *("task", "reduction", "keep", "selector", "supervision", "metric", "all", "seen", "unseen"),
        *("gap", "seeds", "images"),
    ]
    first = frame.iloc[0]
    assert rows[0].split()[:7] == [
        *("shapes-coverage", "none", "0.25", first["selector"], "none", "coverage"),
        f"{first['all']:.4f}",
    ]
    assert [row.split()[2] for row in rows] == ["0.25"] * 4 + ["0.5"] * 4


def test_values_have_intervals_and_ranks(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = load_leaderboard(runs).frame
    header, *rows = printed(frame, capsys)
    assert [title in header for title in ("adjusted", "rank  rank on unseen", "as random at")] == [True] * 3
    row = frame[frame["selector"] == "variance"].iloc[0]
    (line, *_) = [line for line in rows if " variance " in line]
    assert f"{row['all']:.4f} [{row['all_low']:.4f} {row['all_high']:.4f}]" in line


def test_incomplete_rows_name_what_is_missing(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = [r for r in RunStore(runs).read_cells() if (r.selector.name, r.keep_ratio) != ("center", 0.5)]
    _, *rows = printed(aggregate_cells(records), capsys)
    (line,) = [line for line in rows if " center " in line and " 0.5 " in line]
    assert line.endswith("incomplete: lacks keep ratio 0.5")


def test_a_narrow_terminal_gets_headings_and_fewer_columns(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = load_leaderboard(runs).frame
    row = frame[frame["selector"] == "variance"].iloc[0]
    interval = f"{row['all']:.4f} [{row['all_low']:.4f} {row['all_high']:.4f}]"
    for width, intervals in ((100, True), (80, True), (60, False)):
        heading, header, *rows = printed(frame, capsys, width)
        assert heading == "shapes-coverage, none, coverage"
        assert header.split()[:5] == ["keep", "selector", "all", "seen", "unseen"]
        assert max(map(len, [header, *rows])) <= width and not any("…" in line for line in rows)
        assert f"left out to fit {width} columns: images, seeds, supervision" in " ".join(rows)
        (line, *_) = [line for line in rows if " variance " in line]
        assert (interval in line) is intervals and f"{row['all']:.4f}" in line
