"""The printed table: columns that have a value, intervals, incomplete rows."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
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
    heading, header, *rows = printed(frame, capsys)
    assert heading.startswith("shapes-coverage, none, coverage; unseen by shapes-seen/0: 8 of 16 categories")
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
        heading, *rows = printed(frame, capsys, width)
        assert heading.startswith("shapes-coverage, none, coverage; unseen by ")
        (header,) = [line for line in rows if line.lstrip().startswith("keep ")]
        assert header.split()[:5] == ["keep", "selector", "all", "seen", "unseen"]
        assert max(map(len, rows)) <= width and not any("…" in line for line in rows)
        (hidden,) = re.findall(rf"left out to fit {width} columns: (.*?); a CSV", " ".join(rows))
        assert set(hidden.split(", ")) >= {"images", "supervision", "images/s"}
        assert ("rank" in header.split()) is (width > 60) and ("rank" in hidden.split(", ")) is (width <= 60)
        (line, *_) = [line for line in rows if " variance " in line]
        assert (interval in line) is intervals and f"{row['all']:.4f}" in line


@pytest.fixture
def exposed(runs: Path) -> pd.DataFrame:
    """A leaderboard in which the labels of `variance` contain nine of the twelve unseen categories."""
    frame = load_leaderboard(runs).frame
    marked = frame["selector"] == "variance"
    names = "; ".join([*(f"thing {i}" for i in range(8)), "kite (narrow)"])
    frame = frame.assign(split_by="imagenet1k", seen_categories=8, unseen_categories=12, unseen_objects=30)
    frame = frame.assign(unseen_measured=12, exposed_unseen=np.where(marked, 9 / 12, 0.0))
    frame = frame.assign(exposure=np.where(marked, "exposed", "none"))
    frame = frame.assign(exposed_categories=np.where(marked, names, ""), retention_all=0.5, retention_unseen=0.25)
    frame.loc[marked, ["unseen_rank", "unseen_rank_last"]] = np.nan
    return frame.assign(supervision=np.where(marked, "imagenet21k+imagenet1k", "none"))


def test_exposed_rows_have_marks_and_a_line_below(exposed: pd.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    heading, header, *rows = printed(exposed, capsys)
    assert heading == "shapes-coverage, none, coverage; unseen by imagenet1k: 12 of 20 categories, 30 objects"
    assert header.index("retention") < header.index("unseen retention") < header.index("rank")
    one = exposed[exposed["selector"] == "variance"].iloc[0]
    (line, *_) = [line for line in rows if " variance" in line]
    gap = f"{one['gap']:+.4f} [{one['gap_low']:+.4f} {one['gap_high']:+.4f}]"
    assert f" variance† imagenet21k+imagenet1k  coverage  {one['all']:.4f} [" in line
    assert f"  {one['seen']:.4f}  {one['unseen']:.4f}† " in line and f" {gap}† " in line and " 0.500 " in line
    assert "  0.250† " in line and line.count("†") == 4
    # Marks are in the space after a column, so digits stay aligned.
    (other, *_) = [line for line in rows if " center " in line]
    assert other[line.index("0.250†") :].startswith("0.250 ") and "†" not in other
    assert rows[-3:] == [
        "† variance: labels of imagenet21k+imagenet1k contain 9 (1 narrow) of the 12 categories called unseen: "
        "thing 0, thing 1, thing 2, thing 3, thing 4, thing 5 and 3 others; not ranked on unseen",
        "oracle: the ceiling of all objects; a group's own ceiling is another ranking (oracle.GROUP; seen and unseen "
        "by the split of the run)",
        "to compare † on unseen categories: leaderboard --unseen-by imagenet21k, or common; to rank † as they are: "
        "leaderboard --count-exposed",
    ]


def test_marks_make_no_column_wider(exposed: pd.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    for width in (100, 80):
        marked = printed(exposed, capsys, width)
        plain = printed(exposed.assign(exposure="none"), capsys, width)
        rows = [line for line in marked if " variance†" in line]
        assert rows and [line.replace("†", " ").rstrip() for line in rows] == [
            line for line in plain if " variance " in line
        ]
        assert max(map(len, marked)) <= width
        assert marked[0].startswith("shapes-coverage, none, coverage; unseen by imagenet1k: 12 of 20 categories")
        assert "† variance: labels of" in " ".join(marked) and "…" not in " ".join(marked)


def test_columns_return_when_intervals_are_left_out(exposed: pd.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    for width, titles in ((76, ["gap", "adjusted", "rank"]), (64, ["gap", "rank"])):
        lines = printed(exposed, capsys, width)
        (header,) = [line for line in lines if line.lstrip().startswith("keep ")]
        assert header.split()[5:] == titles and max(map(len, lines)) <= width
        assert "intervals of gap" in " ".join(lines)


def test_few_unseen_categories(exposed: pd.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    first, second, *_ = printed(exposed.assign(unseen_categories=4, unseen_measured=4), capsys)
    assert first.endswith("4 of 12 categories, 30 objects")
    assert second == "4 categories are few: their mean says little about unseen categories in general"


def test_lines_of_several_tasks_name_them(exposed: pd.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    others = [exposed.assign(task="a", task_id="a"), exposed.assign(task="b", task_id="b", unseen_categories=13)]
    lines = [line for line in printed(pd.concat([*others, exposed]), capsys) if line.startswith("†")]
    assert [line.partition(":")[0] for line in lines] == ["† variance on a, shapes-coverage", "† variance on b"]
