"""`ltrp-bench leaderboard`: rows of a run, folds, incomplete rows."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pandas as pd
import pytest
from command_lines import SMALL, Run

from ltrp_bench.harness.cli.main import run_command


def test_run_then_leaderboard_then_compare(run: Run, tmp_path: Path) -> None:
    code, out, err = run(*SMALL, "--keep-ratio", 0.25, "--keep-ratio", 0.5, "--seed", 0, "--seed", 1)
    assert code == 0, err
    assert "6 cells, 60 images evaluated now; results in runs" in err
    for word in ("toy-coverage", "plain", "random", "coverage", "seen", "unseen", "gap", "0.25", "±"):
        assert word in out
    provenance = json.loads(next((tmp_path / "runs" / "provenance").iterdir()).read_text())
    assert provenance["device"] == "cpu" and "torch" in provenance["versions"]

    code, out, err = run(*SMALL, "--keep-ratio", 0.25, "--keep-ratio", 0.5, "--seed", 0, "--seed", 1)
    assert code == 0 and "6 cells, 0 images evaluated now" in err

    code, out, err = run("leaderboard", "--csv", "table.csv")
    assert code == 0 and "plain" in out and "incomplete" not in out
    frame = pd.read_csv("table.csv")
    areas = ["auc 0.25-0.5"] * 2
    assert frame["ratios"].tolist() == ["0.25"] * 2 + ["0.5"] * 2 + areas and set(frame["seeds"]) == {1, 2}

    assert run("compare", "table.csv", "runs", "--tolerance", 0)[0] == 0
    frame.loc[frame["selector"] == "plain", "seen"] += 0.02
    frame.to_csv("better.csv", index=False)
    code, out, err = run("compare", "better.csv", "runs", "--out", "table.md")
    assert code == 1 and "**2 regressions**" in out and (tmp_path / "table.md").read_text() == out
    assert err.count("regression: toy-coverage (fill) plain at keep ratio 0.25: worse, seen fell by 0.02") == 1
    assert run("compare", "better.csv", "runs", "--tolerance", 0.03)[0] == 0
    code, out, err = run("compare", "table.csv", "better.csv")
    assert code == 0 and "better" in out


def test_an_incomplete_row_names_what_is_missing(run: Run) -> None:
    assert run(*SMALL, "--keep-ratio", 0.5)[0] == 0
    assert run("run", "--selector", "plain", *SMALL[5:], "--keep-ratio", 0.25)[0] == 0
    code, out, _ = run("leaderboard", "runs")
    line = next(line for line in out.splitlines() if "random" in line and "0.25" in line)
    assert code == 0 and "incomplete: lacks keep ratio 0.25" in line


def test_both_folds_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "trained.py").write_text(
        "from ltrp_bench.selectors.base import Supervision\n"
        "from ltrp_bench.selectors.controls import VarianceControl\n"
        "class Trained(VarianceControl):\n"
        "    def __init__(self, patch_size=8, fold=0):\n"
        "        super().__init__(patch_size)\n"
        "        self.supervision = Supervision.labels(f'shapes-seen/{fold}')\n"
    )
    base = ["run", "--task", "shapes-coverage", "--limit", "12", "--keep-ratio", "0.25", "--device", "cpu"]
    trained = ["--selector", "trained:Trained", "--selector-option", "trained:Trained.fold={}"]
    controls = ["--selector", "variance", "--selector", "center"]
    for fold in (0, 1):
        lines = [*base, "--task-option", f"fold={fold}", *(part.format(fold) for part in trained)]
        assert run_command([*lines, *controls] if fold == 0 else lines) == 0
    capsys.readouterr()
    assert run_command(["leaderboard", "runs", "--folds", "--csv", "folds.csv", "--out", "folds.md"]) == 0
    out, err = capsys.readouterr()
    assert "trained:Trained" in out and "gap 0" in out and "variance" not in out and "incomplete" not in out
    assert (
        "note: shapes-coverage: 2 rows without fold 1 left out of the table; `ltrp-bench run --task-option fold=1`"
        in err
    )
    assert "trained:Trained" in (text := (tmp_path / "folds.md").read_text()) and "variance" not in text
    rows = {row["selector"]: row for row in csv.DictReader((tmp_path / "folds.csv").open())}
    assert rows["trained:Trained"]["complete"] == "True" and rows["trained:Trained"]["supervision"] == "shapes-seen"
    # The same scores on both folds: what one calls seen the other calls unseen.
    assert float(rows["trained:Trained"]["gap"]) == pytest.approx(0, abs=1e-12)
    assert float(rows["trained:Trained"]["gap_0"]) == pytest.approx(-float(rows["trained:Trained"]["gap_1"]))
    assert float(rows["trained:Trained"]["gap_0"]) != 0
    assert rows["variance"]["complete"] == "False" and rows["variance"]["gap"] == ""

    # Fold 0 has both controls, so the leaderboard's printout has the adjusted gap; fold 1 has not.
    assert run_command(["leaderboard", "runs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition("unseen by ")[2][:13] for line in lines[:2]] == ["shapes-seen/1", "shapes-seen/0"]
    assert lines[2].startswith("task") and "adjusted" in lines[2]
    cells = [line.split() for line in lines if "trained:Trained" in line]
    assert sum("-" in line for line in cells) == 1 and len(cells) == 2


def test_filters_apply_to_the_differences_between_selectors(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def pairs(*filters: str) -> pd.DataFrame:
        assert run_command(["leaderboard", "runs", "--resamples", "100", "--pairs", "pairs.csv", *filters]) == 0
        capsys.readouterr()
        return pd.read_csv("pairs.csv", dtype={"ratios": str})

    every = pairs()
    assert set(every["ratios"]) == {"0.25", "0.5", "auc 0.25-0.5"}
    own = pairs("--keep-ratio", "0.25")
    assert set(own["ratios"]) == {"0.25"} and 0 < len(own) == (every["ratios"] == "0.25").sum()
    ends = pairs("--selector", "center")[["first", "second"]]
    assert 0 < len(ends) < len(every) and (ends == "center").any(axis=1).all()
    ends = pairs("--selector", "center,random")[["first", "second"]]
    assert len(ends) > 0 and ends.isin(["center", "random"]).all(axis=None)
