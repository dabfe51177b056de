"""`ltrp-bench leaderboard --folds` on the built-in world: both folds, their average, what is missing."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest

from ltrp_bench.harness.cli.main import run_command


def test_both_folds_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "taught.py").write_text(
        "from ltrp_bench.selectors.base import Supervision\n"
        "from ltrp_bench.selectors.controls import VarianceControl\n"
        "class Taught(VarianceControl):\n"
        "    def __init__(self, patch_size=8, fold=0):\n"
        "        super().__init__(patch_size)\n"
        "        self.supervision = Supervision.labels(f'shapes-seen/{fold}')\n"
    )
    base = ["run", "--task", "shapes-coverage", "--limit", "12", "--keep-ratio", "0.25", "--device", "cpu"]
    taught = ["--selector", "taught:Taught", "--selector-option", "taught:Taught.fold={}"]
    controls = ["--selector", "variance", "--selector", "center"]
    for fold in (0, 1):
        lines = [*base, "--task-option", f"fold={fold}", *(part.format(fold) for part in taught)]
        assert run_command([*lines, *controls] if fold == 0 else lines) == 0
    capsys.readouterr()
    assert run_command(["leaderboard", "runs", "--folds", "--csv", "folds.csv"]) == 0
    out = capsys.readouterr().out
    assert "incomplete: lacks fold 1" in out and "gap 0" in out
    rows = {row["selector"]: row for row in csv.DictReader((tmp_path / "folds.csv").open())}
    assert rows["taught:Taught"]["complete"] == "True" and rows["taught:Taught"]["supervision"] == "shapes-seen"
    # The same scores on both folds: what one calls seen the other calls unseen.
    assert float(rows["taught:Taught"]["gap"]) == pytest.approx(0, abs=1e-12)
    assert float(rows["taught:Taught"]["gap_0"]) == pytest.approx(-float(rows["taught:Taught"]["gap_1"]))
    assert float(rows["taught:Taught"]["gap_0"]) != 0
    assert rows["variance"]["complete"] == "False" and rows["variance"]["gap"] == ""

    # Fold 0 has both controls, so the leaderboard's printout has the adjusted gap; fold 1 has not.
    assert run_command(["leaderboard", "runs"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert "adjusted" in header
    cells = [line.split() for line in lines if "taught:Taught" in line]
    assert sum("-" in line for line in cells) == 1 and len(cells) == 2
