"""The static site: its pages, in a browser from a folder; nothing is written if no archive passes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from report_pages import Tab

from ltrp_bench.results.leaderboard.build import LeaderboardOptions
from ltrp_bench.results.report.site import build_site
from ltrp_bench.results.report.submissions import Rules
from ltrp_bench.results.store.archive import export

RULES = Rules(splits={"5p1i7"}, version="0.2.0")


@pytest.fixture(scope="module")
def built(module_world: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of two tasks and three selectors, and of a broken archive."""
    world, folder = module_world, tmp_path_factory.mktemp("site")
    for task in ("shapes-coverage", "shapes-cls"):
        for name, skill in (("ltrp", 0.7), ("evit", 0.4), ("package.module:Class<b>", 0.1)):
            for ratio in (0.25, 0.5):
                record = world.cell(name, ratio, skill, task=task, split="5p1i7")
                path = world.store.provenance_path(record.fingerprint)
                path.write_text(json.dumps({"versions": {"ltrp-bench": "0.1.0"}, "command": ["/x/ltrp-bench", "run"]}))
    export(world.store.root, folder / "lab <b>.zip")
    (folder / "broken.zip").write_bytes(b"no archive")
    archives = [folder / "lab <b>.zip", folder / "broken.zip"]
    found = build_site(archives, folder / "out", RULES, LeaderboardOptions(resamples=100), title="Ours & theirs")
    assert [len(one.cells) for one in found] == [12, 0]
    return folder / "out"


def test_pages(built: Path) -> None:
    names = sorted(path.name for path in built.glob("*.html"))
    tasks = [name for name in names if name.startswith("task-")]
    assert len(tasks) == 2 and tasks[0].startswith("task-shapes-cls-none-")
    selectors = [f"selector-{name}.html" for name in ("evit", "ltrp", "package.module-Class-b")]
    assert names == sorted(["index.html", "submit.html", *selectors, *tasks])
    assert sorted(path.name for path in (built / "assets").iterdir()) == [
        *("plotly.js", "report.css", "report.js", "theme.js")
    ]
    index = (built / "index.html").read_text()
    assert "Ours &amp; theirs" in index and "<b>" not in index and all(f'href="{name}"' in index for name in names[1:])
    assert "lab &lt;b&gt;</strong>: 12 cells" in index
    assert "broken</strong>: left out: it is truncated or not an archive" in index
    assert "Beyond chance, ltrp leads on" in index and "first or tied for first: ltrp (keep ratio 0.25, 0.5)" in index
    assert not any("http://" in path.read_text() or "https://" in path.read_text() for path in built.glob("*.html"))


def test_a_page_shows_its_rows_in_a_browser(browser: Any, built: Path) -> None:
    task = next(built.glob("task-shapes-cls-*.html"))
    tab = Tab(browser, task)
    page = tab.page
    assert page.locator("#board tbody tr").count() == 9 and set(tab.column("task")) == {"shapes-cls"}
    assert "Beyond chance, ltrp leads on shapes-cls" in page.locator("#findings").inner_text()
    page.fill("#f-text", "evit")
    # Playwright hears of a new address later than the page knows it.
    assert page.evaluate("location.search") == "?selector=evit"
    page.locator("#board td.num a").first.click()
    page.wait_for_selector("dialog[open]")
    assert "lab <b>" in (page.locator("dialog").text_content() or "")
    page.click("#d-close")
    # The theme that was chosen holds for the next pages.
    page.click("#theme")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.click("nav.site a >> nth=1")
    page.wait_for_selector("ol.guide li")
    assert page.locator("ol.guide li").count() == 4 and page.locator("#theme").inner_text() == "Light"
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.click("#theme")
    page.click("nav a >> nth=0")
    page.wait_for_function("document.documentElement.dataset.theme === 'light'")
    tab.done()
    tab = Tab(browser, built / "selector-evit.html")
    assert tab.page.locator("#board tbody tr").count() == 6 and set(tab.column("selector")) == {"evit"}
    assert not tab.page.locator("#findings").is_visible()
    # Lines between tables are for tables of several rows.
    assert tab.page.locator("#board tr.first").count() == 0
    tab.done()


def test_nothing_is_written_if_all_fail(tmp_path: Path) -> None:
    (tmp_path / "broken.zip").write_bytes(b"no archive")
    (found,) = build_site([tmp_path / "broken.zip"], tmp_path / "out", RULES)
    assert found.reason and not (tmp_path / "out").exists()
