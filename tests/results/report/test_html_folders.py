"""Reports of large, sparse and empty run folders."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from report_pages import EXTRA, SELECTORS, TASKS, Tab, fill_run_folder

from ltrp_bench.results.leaderboard.build import LeaderboardOptions
from ltrp_bench.results.report.html import write_report
from ltrp_bench.results.schema.record import ResultsError
from ltrp_bench.results.store.run_store import RunStore


def test_ten_selectors_and_five_tasks_stay_below_five_megabytes(browser: Any, world: Any, tmp_path: Path) -> None:
    ratios = tuple(round(0.1 * i, 1) for i in range(1, 11))
    fill_run_folder(world, TASKS, (*SELECTORS, *EXTRA), ratios)
    out = tmp_path / "report.html"
    assert write_report(world.store.root, out, LeaderboardOptions(resamples=100)) == out.stat().st_size <= 5_000_000
    tab = Tab(browser, out)
    assert tab.page.locator("#board tbody tr").count() == 5 * (10 * 10 + 10)
    assert "package.module:Class<b>" in tab.column("selector") and tab.page.locator("#board td b").count() == 0
    tab.done()
    again = tmp_path / "again.html"
    write_report(world.store.root, again, LeaderboardOptions(resamples=100))
    assert out.read_bytes() == again.read_bytes()


def test_without_resampling_summaries_or_gallery(browser: Any, world: Any, tmp_path: Path) -> None:
    world.cell("ltrp", 0.25, 0.5, summary=False)
    out = tmp_path / "report.html"
    notices: list[str] = []
    write_report(world.store.root, out, notice=notices.append)
    assert len(notices) == 1 and notices[0].startswith("1 of 1 cells have no resampling summary")
    tab = Tab(browser, out)
    assert "start the run again" in (tab.page.locator("#a-note").text_content() or "")
    assert "No images are stored" in (tab.page.locator("#g-grid").text_content() or "")
    # Without intervals there is no word about them.
    visible = tab.page.locator("body").inner_text()
    assert not any(word in visible for word in ("Brackets", "bands", "Intervals", "significant"))
    assert "Nothing is compared" in visible
    tab.done()


def test_nothing_to_report(tmp_path: Path) -> None:
    RunStore(tmp_path / "empty").prepare()
    with pytest.raises(ResultsError, match="no finished cell; `ltrp-bench run --out"):
        write_report(tmp_path / "empty", tmp_path / "x.html")
    with pytest.raises(ResultsError, match="is not a folder"):
        write_report(tmp_path / "nowhere", tmp_path / "x.html")


def test_a_metric_over_nothing_is_noted(browser: Any, world: Any, tmp_path: Path) -> None:
    record = world.cell("ltrp", 0.25, 0.5, summary=False)
    world.cell("random", 0.25, 0.3, summary=False)
    metrics = tuple(replace(row, value=float("nan")) for row in record.metrics)
    world.store.write(world.store.cell_path(record.fingerprint), replace(record, metrics=metrics).to_json().encode())
    write_report(world.store.root, tmp_path / "report.html")
    tab = Tab(browser, tmp_path / "report.html")
    texts = dict(zip(tab.column("selector"), tab.column("all"), strict=True))
    assert texts["ltrp"] == "nothing to measure" and texts["random"].startswith("0.")
    tab.done()
