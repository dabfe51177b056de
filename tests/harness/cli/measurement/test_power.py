"""`ltrp-bench power`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from ltrp_bench.harness.cli.main import run_command


def test_images_that_a_difference_needs(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["power", "runs", "--difference", "0.05", "--keep-ratio", ".25,.5", "--csv", "power.csv"]
    assert run_command(given) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "shapes-coverage, none, coverage" and "images for 0.05" in lines[1]
    assert [line.split()[0] for line in lines[2:4]] == ["0.25", "0.5"] and "power 0.8" in lines[-2]
    frame = pd.read_csv("power.csv")
    assert frame["keep_ratio"].tolist() == [0.25, 0.5] and set(frame["images"]) == {12}
    assert f"{frame['needed'][0]:,.0f} (" in lines[2]
    assert max(map(len, lines)) <= 100
    assert run_command(["power", "runs", "--alpha", "2"]) == 2
    assert "alpha must lie between 0 and 1" in capsys.readouterr().err
