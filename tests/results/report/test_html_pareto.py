"""Pareto plots of the report in headless Chromium."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from report_pages import SELECTORS, Tab

from ltrp_bench.results.leaderboard.build import LeaderboardOptions, load_leaderboard
from ltrp_bench.results.report.html import render
from ltrp_bench.results.report.page_data import ReportSource


def test_metric_over_cost(browser: Any, world: Any) -> None:
    records = [
        *(
            world.cell(name, ratio, 0.5, task="shapes-cls", reduction="drop")
            for name in SELECTORS
            for ratio in (0.25, 0.5)
        ),
        world.cell("ltrp.shapes", 0.25, 0.5, task="shapes-coverage"),
    ]
    board = load_leaderboard(world.store.root, LeaderboardOptions(intervals=False))
    both = 2 * board.frame["keep_ratio"].where(board.frame["task"] == "shapes-cls")
    frame = board.frame.assign(latency_both_ms=both, latency_whole_ms=4.0, latency_device="a device")
    frame = frame.assign(throughput_both_b8=1000 / both, throughput_whole_b8=250.0)
    out = world.store.root.with_name("timed.html")
    out.write_text(render(ReportSource(world.store, records, board), "not timed"))
    tab = Tab(browser, out)
    assert not tab.page.locator("#pareto").is_visible()
    tab.done()
    out.write_text(render(ReportSource(world.store, records, replace(board, frame=frame)), "timed"))
    tab = Tab(browser, out)
    page = tab.page
    assert page.locator("#p-task option").all_text_contents() == ["shapes-cls"]
    titles = page.locator("#pareto-plots .xtitle").all_text_contents()
    assert [title.partition(" (")[0] for title in titles] == [
        *("milliseconds at batch size 1", "images per second in batches of 8")
    ]
    lines = page.locator("#pareto-plots .plot:first-child .scatterlayer .trace")
    assert lines.count() == len(SELECTORS) + 1  # and the front
    assert page.locator("#pareto-plots .plot:first-child .shapelayer path").count() == 1  # the whole image's time
    page.locator("#pareto-legend button").first.click()
    assert lines.count() == len(SELECTORS)
    assert page.locator("#p-note").text_content() == "Measured on a device."
    tab.done()
