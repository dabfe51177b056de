"""tools/docs/tables.py: the Markdown tables of docs/ from a leaderboard's CSV, against rows made by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[1]


def row(selector: str, ratio: float | None, value: float, **more: object) -> dict[str, object]:
    base: dict[str, object] = {"task": "t", "task_name": "t", "task_label": None}
    base |= {"selector": selector, "selector_label": None, "keep_ratio": ratio, "supervision": "self"}
    base |= {"metric": "top1", "exposure": "none", "split_by": "shapes-seen/0", "complete": True}
    for column in ("all", "seen", "unseen", "gap", "gap_adjusted"):
        base |= {column: value, f"{column}_low": value - 0.1, f"{column}_high": value + 0.1}
    return base | {"rank": 1, "rank_last": 2, "unseen_rank": 3, "unseen_rank_last": 3} | more


@pytest.fixture
def leaderboard(tmp_path: Path) -> Path:
    rows = [
        row("b", 0.25, 0.2, exposure="exposed", gap_adjusted=None, rank=None),
        row("a", 0.25, 0.5, seen=0.6),
        row("a", 0.5, 0.7, seen=0.8),
        row("a", None, 0.6, supervision="shapes-seen/0"),
        row("full", 1.0, 0.9),
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "x.csv", index=False)
    return tmp_path / "x.csv"


def printed(*arguments: str) -> list[str]:
    command = [sys.executable, str(ROOT / "tools/docs/tables.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[2:]


def test_curves_are_sorted_and_mark_exposed_rows(leaderboard: Path) -> None:
    assert printed("curves", str(leaderboard), "--task", "t") == ["| a | 0.500 | 0.700 |", "| b † | 0.200 | – |"]


def test_intervals_at_one_keep_ratio(leaderboard: Path) -> None:
    gap = "+0.500 [+0.400, +0.600]"
    assert printed("intervals", str(leaderboard), "--task", "t") == [
        f"| a | 0.500 [0.400, 0.600] | 0.600 | 0.500 | {gap} | {gap} | 1–2 |",
        "| b † | 0.200 [0.100, 0.300] | 0.200 | 0.200 | +0.200 [+0.100, +0.300] | – | – |",
    ]


def test_intervals_without_unseen_categories(leaderboard: Path) -> None:
    table = pd.read_csv(leaderboard)
    table.assign(unseen=None).to_csv(leaderboard, index=False)
    first, second = printed("intervals", str(leaderboard), "--task", "t")
    assert first == "| a | 0.500 [0.400, 0.600] | 1–2 |" and second == "| b † | 0.200 [0.100, 0.300] | – |"


def test_rows_without_values_have_dashes(leaderboard: Path) -> None:
    table = pd.read_csv(leaderboard)
    table.loc[table["selector"] == "b", ["all", "seen", "unseen", "gap", "gap_adjusted"]] = None
    table.to_csv(leaderboard, index=False)
    assert printed("intervals", str(leaderboard), "--task", "t")[1] == "| b † | – | – | – | – | – | – |"


def test_a_keep_ratio_that_was_not_run(leaderboard: Path) -> None:
    command = [sys.executable, str(ROOT / "tools/docs/tables.py"), "intervals", str(leaderboard), "--task", "t"]
    done = subprocess.run([*command, "--sort", "0.3"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.endswith("no rows of t at keep ratio 0.3\n")


def test_areas_under_the_curve(leaderboard: Path) -> None:
    value, gap = "0.600 [0.500, 0.700]", "+0.600 [+0.500, +0.700]"
    assert printed("areas", str(leaderboard), "--task", "t") == [
        f"| `a` | labels | {value} | {value} | {value} | {gap} | {gap} | 1–2 | 3 |"
    ]


def test_folds_leave_incomplete_rows_out(leaderboard: Path) -> None:
    table = pd.read_csv(leaderboard)
    table.loc[table["selector"] == "b", "complete"] = False
    table.assign(gap=-0.0001).to_csv(leaderboard, index=False)
    assert printed("folds", str(leaderboard), "--task", "t") == [
        "| a | self | 0.600 / 0.500 | 0.800 / 0.700 | 0.000, 0.000 |"
    ]
