"""Columns of time and break-even keep ratios in time, computed by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from ltrp_bench.results.leaderboard.build import COLUMNS, LeaderboardOptions, load_leaderboard
from ltrp_bench.results.leaderboard.latency import (
    LATENCY,
    add_latencies,
    break_even_time,
    break_even_time_text,
    chosen_latencies,
    latency_text,
    throughput_batch,
)
from ltrp_bench.results.leaderboard.rows import TableRow
from ltrp_bench.results.store.latency import Latencies, LatencyEntry, LatencySetting, Times
from ltrp_bench.results.store.latency import add_latencies as store_latencies
from ltrp_bench.selectors.errors import UsageError

SETTING = LatencySetting(device="cpu", cpu="A CPU", threads=1, clock="wall", versions={})


def _entry(ratio: float, both: float, batch: int = 1, selector: str = "s") -> LatencyEntry:
    return LatencyEntry(
        task_id="t",
        selector_id=selector,
        keep_ratio=ratio,
        batch=batch,
        turns=30,
        whole=Times(10.0, 12.0),
        selector=Times(2.0, 2.5),
        model=Times(both - 2, both - 1),
        both=Times(both, both + 1),
    )


def _rows(*entries: LatencyEntry, ratios: tuple[float, ...] = (0.25, 0.5)) -> list[dict[str, Any]]:
    rows = [TableRow({"task_id": "t", "selector_id": "s", "keep_ratio": ratio}, None) for ratio in ratios]
    add_latencies(rows, Latencies(SETTING, "2026", entries) if entries else None)
    return [row.values for row in rows]


def test_milliseconds_are_those_of_batch_1_and_throughput_that_of_each_batch() -> None:
    first, second = _rows(_entry(0.25, 5.0), _entry(0.5, 8.0), _entry(0.25, 16.0, batch=8))
    assert {name: first[f"latency_{name}_ms"] for name in ("selector", "model", "both", "whole")} == {
        "selector": 2.0,
        "model": 3.0,
        "both": 5.0,
        "whole": 10.0,
    }
    assert first["latency_both_ms_p90"] == 6.0 and first["latency_whole_ms_p90"] == 12.0
    assert first["throughput_both_b1"] == 200.0 and first["throughput_both_b8"] == 500.0
    assert first["throughput_selector_b8"] == 4000.0 and math.isnan(first["throughput_both_b32"])
    assert second["latency_both_ms"] == 8.0 and math.isnan(second["throughput_both_b8"])
    assert first["latency_device"] == "cpu, A CPU, 1 thread"


def test_rows_without_latencies_have_empty_columns() -> None:
    other = _rows(_entry(0.25, 5.0, selector="other"))[0]
    for row in (_rows()[0], other, _rows(_entry(0.25, 5.0), ratios=(math.nan,))[0]):
        assert tuple(name for name in row if name in LATENCY) == LATENCY
        assert all(row[name] == "" if isinstance(row[name], str) else math.isnan(row[name]) for name in LATENCY)


@pytest.mark.parametrize(
    ("both", "expected"),
    [
        ((5.0, 9.0, 12.0), (0.5 + 0.25 / 3, "")),  # 10 lies a third of the way from 9 to 12
        ((5.0, 10.0, 12.0), (0.5, "")),
        ((5.0, 9.0, 10.0), (0.75, "above")),
        ((11.0, 12.0, 13.0), (math.nan, "none")),
        ((5.0, 11.0, 12.0), (0.25 + 0.25 * 5 / 6, "")),
        ((11.0, 9.0, 12.0), (0.5 + 0.25 / 3, "")),  # noise: the largest crossing counts
    ],
)
def test_break_even_is_the_largest_ratio_that_is_not_slower(both: tuple[float, ...], expected: Any) -> None:
    value, outside = break_even_time((0.25, 0.5, 0.75), both, (10.0,) * 3)
    assert outside == expected[1] and value == pytest.approx(expected[0], nan_ok=True)


def test_each_ratio_is_compared_with_the_whole_image_beside_it() -> None:
    # 1 ms is saved at 0.25 and 1 ms lost at 0.5, however slow the machine became in between.
    assert break_even_time((0.25, 0.5), (9.0, 21.0), (10.0, 20.0)) == (pytest.approx(0.375), "")


def test_all_rows_of_a_selector_have_its_break_even_at_each_batch() -> None:
    rows = _rows(_entry(0.25, 8.0), _entry(0.5, 12.0), _entry(0.25, 11.0, batch=8), _entry(0.25, 5.0, batch=32))
    texts = [break_even_time_text(rows[0], batch) for batch in (1, 8, 32, 256)]
    assert texts == ["0.38", "none", ">0.25", ""]
    assert rows[1]["break_even_time_b1"] == pytest.approx(0.375) and rows[1]["break_even_time_b1_range"] == ""


def test_what_runs_no_selector_or_no_model_has_no_break_even() -> None:
    for missing in ("selector", "both", "whole"):
        row = _rows(replace(_entry(0.25, 5.0), **{missing: None}))[0]
        assert math.isnan(row["break_even_time_b1"]) and row["break_even_time_b1_range"] == ""


def test_texts_of_latencies() -> None:
    row = _rows(_entry(0.25, 5.0))[0]
    assert latency_text(row, "both") == "5.0 (6.0)" and latency_text({}, "both") == ""


def test_the_batch_of_throughputs_is_the_largest_that_all_rows_have() -> None:
    many = _rows(_entry(0.25, 5.0), _entry(0.25, 9.0, batch=8), _entry(0.5, 5.0), _entry(0.5, 9.0, batch=8))
    few = _rows(_entry(0.25, 5.0), _entry(0.25, 9.0, batch=8), _entry(0.5, 5.0))
    assert throughput_batch(many) == 8 and throughput_batch(few) == 1 and throughput_batch(_rows()) is None
    assert throughput_batch([*many, {}]) == 8  # rows that were not measured do not count


def test_the_setting_measured_last_is_shown_unless_another_is_named() -> None:
    notices: list[str] = []
    gpu = Latencies(replace(SETTING, device="cuda (A GPU)"), "2026-02", ())
    cpu = Latencies(SETTING, "2026-01", ())
    assert chosen_latencies([gpu, cpu], None, notices.append) is gpu
    assert notices == [
        "latencies of cuda (A GPU) are shown, which were measured last; --latency-device shows cpu, A CPU, 1 thread"
    ]
    assert chosen_latencies([gpu, cpu], "a cpu", pytest.fail) is cpu and chosen_latencies([]) is None
    with pytest.raises(UsageError, match="no latencies of device 'TPU'; there are cuda"):
        chosen_latencies([gpu, cpu], "TPU")
    with pytest.raises(UsageError, match="no latencies of device 'TPU'; there are none"):
        chosen_latencies([], "TPU")


def test_the_leaderboard_has_the_columns(world: Any) -> None:
    record = world.cell("good", 0.25, 0.6)
    own = {"task_id": record.task.identity.short, "selector_id": record.selector.identity.short}
    store_latencies(world.store, [Latencies(SETTING, "2026", (replace(_entry(0.25, 5.0), **own),))])
    assert tuple(name for name in COLUMNS if name in LATENCY) == LATENCY
    (row,) = load_leaderboard(world.store.root, LeaderboardOptions(intervals=False)).frame.to_dict("records")
    assert row["latency_both_ms"] == 5.0 and row["break_even_time_b1_range"] == "above"
    with pytest.raises(UsageError, match="no latencies of device 'cuda'"):
        load_leaderboard(world.store.root, LeaderboardOptions(intervals=False, latency_device="cuda"))
