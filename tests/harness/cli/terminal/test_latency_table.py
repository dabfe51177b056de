"""The table that `ltrp-bench latency` prints."""

from __future__ import annotations

from rich.console import Console

from ltrp_bench.harness.cli.terminal.latency_table import latency_table
from ltrp_bench.results.store.latency import Latencies, LatencyEntry, LatencySetting, Times

SETTING = LatencySetting(device="cpu", cpu="A CPU", threads=1, clock="wall", versions={})


def _latencies(task: str, *both: float) -> Latencies:
    times = {"selector": Times(2.0, 2.5)}
    if task == "cls":
        times |= {"whole": Times(10.0, 12.0), "model": Times(3.0, 4.0)}
    entries = [
        LatencyEntry(
            task_id=task,
            selector_id="s",
            keep_ratio=ratio,
            batch=1,
            turns=3,
            **times,
            both=Times(value, value) if task == "cls" else None,
        )
        for ratio, value in zip((0.25, 0.5), both, strict=True)
    ]
    return Latencies(SETTING, "2026", tuple(entries))


def _lines(width: int) -> list[str]:
    console = Console(width=width, color_system=None)
    measured = [("ltrp", "cls", _latencies("cls", 8.0, 12.0)), ("ltrp", "coverage", _latencies("coverage", 0, 0))]
    with console.capture() as capture:
        console.print(latency_table(measured, width))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_a_wide_table_has_percentiles() -> None:
    lines = _lines(100)
    assert lines[0] == "cpu, A CPU, 1 thread" and lines[1] == "cls"
    assert " ".join(lines[3].split()) == "ltrp 1 0.25 10.0 (12.0) 2.0 (2.5) 3.0 (4.0) 8.0 (8.0) 125.0 0.38"
    assert lines[-2] == "milliseconds of a batch, median (90th percentile)"
    assert lines[-1].startswith("both: selector and model; break-even: keep ratio below which")


def test_without_a_model_there_is_one_line_for_all_keep_ratios() -> None:
    lines = _lines(100)
    start = lines.index("coverage")
    assert [" ".join(line.split()) for line in lines[start + 2 : -2]] == ["ltrp 1 any - 2.0 (2.5) - - 500.0 -"]


def test_a_narrow_table_fits_without_percentiles() -> None:
    lines = _lines(72)
    assert lines[3].split() == ["ltrp", "1", "0.25", "10.0", "2.0", "3.0", "8.0", "125.0", "0.38"]
    assert max(map(len, lines)) <= 72 and "90th percentiles" in lines[-3]
