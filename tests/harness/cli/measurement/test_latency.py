"""`ltrp-bench latency`: what it stores, what the leaderboard shows of it, and one line for each mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ltrp_bench.harness.cli.main import run_command
from ltrp_bench.harness.cli.measurement import latency as command
from ltrp_bench.results.store.latency import BATCHES, read_latencies

FEW = ["--batch", "1", "--turns", "3", "--seconds", "0", "--device", "cpu", "--threads", "1"]
RUN = ["--selector", "variance", "--task", "shapes-cls", "--limit", "2"]


def test_the_batches_are_those_of_the_tables() -> None:
    assert command.BATCHES == BATCHES


def test_what_is_stored_is_shown_beside_the_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "runs"
    assert run_command(["run", *RUN, "--keep-ratio", "0.5", "--out", str(out), "--engine", "serial"]) == 0
    before = {path: path.read_bytes() for path in out.rglob("*.json")}
    assert run_command(["latency", str(out), *FEW]) == 0
    printed = capsys.readouterr().out
    assert "variance" in printed and "full" in printed and "break-even" in printed
    assert {path: path.read_bytes() for path in before} == before  # no result changes
    (found,) = read_latencies(out)
    assert sorted((one.keep_ratio, one.batch, one.turns) for one in found.entries) == [(0.5, 1, 3), (1.0, 1, 3)]
    assert run_command(["leaderboard", str(out), "--no-intervals", "--csv", str(tmp_path / "a.csv")]) == 0
    frame = pd.read_csv(tmp_path / "a.csv").set_index("selector")
    for name, parts in {"variance": ("selector", "model", "both", "whole"), "full": ("model", "both", "whole")}.items():
        assert all(frame.loc[name, f"latency_{part}_ms"] > 0 for part in parts)
    assert pd.isna(frame.loc["full", "latency_selector_ms"]) and pd.isna(frame.loc["full", "throughput_both_b8"])


def test_selectors_and_tasks_by_name_need_no_results(tmp_path: Path) -> None:
    assert run_command(["latency", str(tmp_path / "new"), *RUN, "--keep-ratio", "0.25", *FEW]) == 0
    assert {one.keep_ratio for one in read_latencies(tmp_path / "new")[0].entries} == {0.25, 1.0}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "sweep.yaml does not exist: give --config, or --selector and --task"),
        ([*RUN, "--batch", "64"], 2, "--batch 64: tables have columns for batches of 1, 8, 32 and 256"),
        ([*RUN, "--keep-ratio", "2"], 2, "keep ratio 2 is not in (0, 1]"),
        (["--selector", "varianse", "--task", "shapes-cls"], 2, "varianse"),
        (["--selector", "oracle", "--task", "shapes-coverage", *FEW], 1, "nothing could be measured"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    assert run_command(["latency", str(tmp_path), *arguments]) == code
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_processor_time_does_not_measure_a_gpu(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    from ltrp_bench.harness.evaluation import environment

    monkeypatch.setattr(environment, "usable_device", lambda name: "cuda")
    assert run_command(["latency", str(tmp_path), *RUN, "--clock", "cpu"]) == 2
    assert "--clock cpu does not measure what cuda does: use --clock wall" in capsys.readouterr().err
