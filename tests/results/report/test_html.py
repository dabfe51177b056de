"""The report in headless Chromium: sorting, filters, slider, keyboard, small screens, dark theme; no requests."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_pages import EXTRA, HOSTILE, SELECTORS, TASKS, Tab, fill_run_folder

from ltrp_bench.results.leaderboard.build import LeaderboardOptions, load_leaderboard
from ltrp_bench.results.report.html import render, write_report
from ltrp_bench.results.report.page_data import ReportSource
from ltrp_bench.results.store.labels import Labels, add_labels

KEY = ("selector", "rank", "task", "metric", "keep_ratio", "all", "seen", "unseen", "gap")


@pytest.fixture(scope="module")
def small(module_world: Any) -> Path:
    fill_run_folder(module_world, TASKS[:2], (*SELECTORS[:3], *EXTRA[:1], "center"), (0.25, 0.5, 1.0))
    out = Path(module_world.store.root).with_name("report.html")
    write_report(module_world.store.root, out, LeaderboardOptions(resamples=200))
    return out


def test_sorting_and_filters(browser: Any, small: Path) -> None:
    tab = Tab(browser, small)
    page = tab.page
    rows = page.locator("#board tbody tr")
    assert rows.count() == 2 * (5 * 3 + 5) and page.locator("#f-count").text_content() == "40 of 40 rows"
    page.click('button[data-key="all"]')
    assert page.get_attribute('th:has(button[data-key="all"])', "aria-sort") == "descending"
    shown = [float(text.split()[0]) for text in tab.column("all") if re.match(r"[\d.]+", text)]
    assert shown == sorted(shown, reverse=True) and len(shown) == 38
    # Rows without a value are last in either order, and show what is missing.
    assert all("incomplete" in text for text in tab.column("all")[-2:])
    page.click('button[data-key="all"]')
    assert page.get_attribute('th:has(button[data-key="all"])', "aria-sort") == "ascending"
    shown = [float(text.split()[0]) for text in tab.column("all") if re.match(r"[\d.]+", text)]
    assert shown == sorted(shown) and "incomplete" in tab.column("all")[-1]
    page.fill("#f-text", "LTRP, evit")
    assert set(tab.column("selector")) == {"ltrp.shapes", "evit.shapes0"} and rows.count() == 16
    page.select_option("#f-ratio", "0.5")
    assert rows.count() == 4 and set(tab.column("keep_ratio")) == {"0.5"}
    page.select_option("#f-task", label="shapes-cls")
    assert rows.count() == 2 and page.locator("#f-count").text_content() == "2 of 40 rows"
    page.fill("#f-text", "")
    page.click("#f-reset")
    assert rows.count() == 40
    page.check("#f-complete")
    assert rows.count() == 38
    tab.done()


def test_every_number_links_to_its_fingerprint_and_command(browser: Any, small: Path, module_world: Any) -> None:
    tab = Tab(browser, small)
    page = tab.page
    page.fill("#f-text", "ltrp")
    page.select_option("#f-ratio", "0.25")
    link = page.locator("#board tbody tr").first.locator("td.num a").first
    link.focus()
    page.keyboard.press("Enter")  # with the keyboard
    page.wait_for_selector("dialog[open]")
    text = page.locator("dialog").text_content()
    prints = [record.fingerprint for record in module_world.store.read_cells()]
    assert text is not None and sum(one in text for one in prints) == 1 and "ltrp.shapes on shapes-" in text
    assert page.locator("dialog pre[data-command]").count() == 1
    page.keyboard.press("Escape")
    page.wait_for_function("!location.hash.startsWith('#row') && !document.querySelector('dialog').open")
    # A row can be linked to.
    page.goto(small.as_uri() + "#row-3")
    page.reload()
    page.wait_for_selector("dialog[open]")
    page.click("#d-close")
    # The row of an area lists all its cells.
    page.fill("#f-text", "ltrp")
    page.select_option("#f-ratio", index=4)
    page.locator("#board tbody tr").first.locator("td.num a").first.click()
    page.wait_for_function("document.querySelectorAll('dialog[open] pre[data-command]').length === 3")
    tab.done()


def test_slider_and_score_maps(browser: Any, small: Path) -> None:
    tab = Tab(browser, small)
    page = tab.page
    first = page.locator("#g-grid canvas[data-kept]").first
    page.wait_for_selector("#g-grid canvas[data-kept]")
    assert first.get_attribute("data-kept") == "49" and page.locator("#g-grid canvas").count() == 6

    def pixels() -> str:
        return str(page.eval_on_selector("#g-grid canvas[data-kept]", "c => c.toDataURL()"))

    before = pixels()
    page.focus("#g-ratio")
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelector('#g-grid canvas[data-kept]').dataset.kept === '59'")
    assert page.locator("#g-out").text_content() == "0.30" and pixels() != before
    page.check('input[name="g-mode"][value="map"]')
    page.wait_for_timeout(100)
    mapped = pixels()
    page.keyboard.press("Tab")
    page.select_option("#g-image", index=1)
    page.wait_for_timeout(100)
    assert pixels() != mapped
    # An image id that looks like a tag is shown as text.
    assert HOSTILE in page.locator("#g-image").inner_text() and page.locator("img[src=x]").count() == 0
    tab.done()


def test_curves_categories_and_agreement(browser: Any, small: Path) -> None:
    tab = Tab(browser, small)
    page = tab.page
    page.select_option("#c-task", label="shapes-coverage")
    lines = page.locator("#plot-unseen .scatterlayer .trace")
    assert lines.count() == 5 + 5  # a curve and a band each
    page.uncheck("#c-bands")
    assert lines.count() == 5
    legend = page.locator("#plot-legend button")
    assert legend.count() == 5
    legend.nth(0).click()
    assert legend.nth(0).get_attribute("aria-pressed") == "false" and lines.count() == 4
    assert "center" in (page.locator("#c-note").text_content() or "")
    page.locator("#plot-unseen").scroll_into_view_if_needed()
    box = page.locator("#plot-unseen .scatterlayer .points path").nth(1).bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_selector("#plot-unseen .hoverlayer .hovertext")
    assert "unseen 0." in (page.locator("#plot-unseen .hoverlayer").text_content() or "")

    page.select_option("#k-selector", label="evit.shapes0")
    cells = page.locator("#k-out td:first-child").all_text_contents()
    assert cells == [f"thing {k}" for k in (79, 78, 77, 76, 75, 0, 1, 2, 3, 4)]
    page.locator("#k-out a").first.click()
    page.wait_for_function("document.querySelectorAll('dialog[open] pre[data-command]').length === 1")
    page.click("#d-close")

    values = page.locator("#matrix tbody tr").nth(2).locator("td").all_text_contents()
    assert values[2] == "1.00" and len(values) == 5 and all(0 < float(v) < 0.3 for i, v in enumerate(values) if i != 2)
    page.select_option("#a-ratio", "0.5")
    assert page.locator("#matrix tbody tr").nth(2).locator("td").all_text_contents() != values
    tab.done()


@pytest.fixture(scope="module")
def exposed(small: Path, module_world: Any) -> Path:
    """The report, in which the labels of evit and the selector gradcam are exposed and open."""
    store = module_world.store
    board = load_leaderboard(store.root, LeaderboardOptions(resamples=200))
    frame = board.frame.assign(split_by="imagenet1k", seen_categories=60, unseen_categories=4, unseen_objects=9)
    frame = frame.assign(unseen_measured=4, exposed_unseen=0.5, supervision="imagenet21k+imagenet1k")
    frame["exposure"] = frame["selector"].map({"evit.shapes0": "exposed", "gradcam.shapes0": "open"}).fillna("none")
    frame["exposed_categories"] = np.where(frame["exposure"] == "exposed", "kite; <b>donut</b> (narrow)", "")
    frame = frame.assign(retention_all=0.5, retention_all_low=0.25, retention_all_high=0.75, retention_unseen=0.5)
    frame.loc[frame["exposure"] != "none", ["unseen_rank", "unseen_rank_last"]] = np.nan
    out = small.with_name("exposed.html")
    out.write_text(render(ReportSource(store, store.read_cells(), replace(board, frame=frame)), "exposed"))
    return out


def test_exposed_rows(browser: Any, exposed: Path) -> None:
    tab = Tab(browser, exposed)
    page = tab.page
    page.select_option("#f-task", label="shapes-coverage")
    page.select_option("#f-ratio", "0.25")
    assert page.locator("#f-splits").text_content() == (
        "shapes-coverage; unseen by imagenet1k: 4 of 64 categories, 9 objects. "
        "4 categories are few: their mean says little about unseen categories in general."
    )
    names = {"center", "evit.shapes0†", "gradcam.shapes0‡", "ltrp.shapes", "random"}
    assert set(tab.column("selector")) == names
    marks = {name: text[-1] for name, text in zip(tab.column("selector"), tab.column("unseen"), strict=True)}
    assert marks == {name: name[-1] if name[-1] in "†‡" else "]" for name in names}
    assert [text[-1] for text in tab.column("gap") if text[-1] in "†‡"] == ["†", "‡"]
    assert all(text[-1] == "]" for text in tab.column("seen")) and set(tab.column("retention_all")) == {
        "0.500 [0.250, 0.750]"
    }
    notes = page.locator("#f-notes p").all_text_contents()
    assert notes == [
        "† evit.shapes0: labels of imagenet21k+imagenet1k contain 2 (1 narrow) of the 4 categories called unseen: "
        "kite, <b>donut</b> (narrow); not ranked on unseen (shapes-coverage)",
        "‡ gradcam.shapes0: trained with imagenet21k+imagenet1k; which categories these showed cannot be known; "
        "not ranked on unseen (shapes-coverage)",
    ]
    titles = page.locator("#board abbr").evaluate_all("all => all.map(one => one.title)")
    assert {f"{title} (shapes-coverage)" for title in titles} == set(notes)
    # Without a filter, a line names all its tasks.
    page.select_option("#f-task", "")
    assert page.locator("#f-splits p").count() == 2
    assert (page.locator("#f-notes p").first.text_content() or "").endswith("(shapes-cls, shapes-coverage)")
    page.check("#f-exposed")
    assert not any(mark in text for text in tab.column("selector") for mark in "†‡")
    assert page.locator("#f-notes p").count() == 2 and page.locator("#f-count").text_content() == "6 of 40 rows"
    tab.done()


def test_curves_and_details_of_exposed_selectors(browser: Any, exposed: Path) -> None:
    tab = Tab(browser, exposed)
    page = tab.page
    assert page.locator("#plot-legend button").all_text_contents() == [
        *("ltrp.shapes", "evit.shapes0†", "gradcam.shapes0‡", "center", "random")
    ]
    second = page.locator("#plot-legend button").nth(1)
    second.focus()
    page.keyboard.press("Enter")
    assert second.get_attribute("aria-pressed") == "false"
    assert page.evaluate("document.activeElement.dataset.name") == "evit.shapes0"
    # Markers of exposed selectors are hollow on unseen categories: the paper shows through.
    fills = "all => all.map(one => getComputedStyle(one).fill)"
    hollow = page.locator("#plot-unseen .scatterlayer .points path").evaluate_all(fills).count("none")
    assert hollow == 3 and "none" not in page.locator("#plot-seen .scatterlayer .points path").evaluate_all(fills)
    assert "4 of 64 categories" in (page.locator("#c-splits").text_content() or "")
    assert page.locator("#c-exposed p").count() == 2
    page.fill("#f-text", "evit")
    page.locator("#board tbody tr").first.locator("td.num a").nth(1).click()
    text = page.locator("dialog").text_content() or ""
    assert "† evit.shapes0: labels of" in text and "retention on unseen0.5000" in text
    assert page.locator("dialog b").count() == 0
    tab.done()


def test_wide_screens_clip_nothing(browser: Any, exposed: Path) -> None:
    tab = Tab(browser, exposed, 1400)
    page = tab.page
    sizes = page.eval_on_selector("#leaderboard .scroll", "one => [one.scrollWidth, one.clientWidth]")
    assert sizes[0] <= sizes[1] and not page.locator("th.c-retention_all").is_visible()
    page.check("#f-retention")
    assert page.locator("th.c-retention_all").is_visible()
    tab.done()


def test_columns_are_explained_and_rows_sorted_by_rank(browser: Any, small: Path) -> None:
    tab = Tab(browser, small)
    page = tab.page
    titles = page.eval_on_selector_all("#board thead button", "all => all.map(b => [b.dataset.key, b.title])")
    assert all(len(title) > 10 for _, title in titles) and "random patches reach" in dict(titles)["break_even_random"]
    assert page.locator("#f-help dt").count() == len(titles) and "as random at" in (
        page.locator("#board thead").text_content() or ""
    )
    assert set(tab.column("metric")) == {"coverage"}
    page.select_option("#f-task", label="shapes-cls")
    page.select_option("#f-ratio", "0.25")
    ranks = [int(text.partition("–")[0]) for text in tab.column("rank")]
    assert ranks == sorted(ranks) and ranks[0] == 1 and len(ranks) == 5
    tab.done()


def test_a_link_shows_the_same_table(browser: Any, small: Path) -> None:
    tab = Tab(browser, small)
    page = tab.page
    page.select_option("#f-task", label="shapes-cls")
    page.fill("#f-text", "ltrp, evit")
    page.check("#f-complete")
    page.click('button[data-key="unseen"]')
    # Playwright's `page.url` hears of a new address later than the page knows it.
    shown, address = tab.column("unseen"), page.evaluate("location.href")
    assert address.endswith("?task=shapes-cls&selector=ltrp%2C+evit&complete=1&sort=-unseen")
    other = browser.new_context().new_page()
    other.goto(address)
    cells = other.locator("#board tbody td.c-unseen").all_text_contents()
    assert cells == shown and len(cells) == 8 and other.input_value("#f-text") == "ltrp, evit"
    other.context.close()
    page.click("#f-reset")
    assert page.evaluate("location.href") == small.as_uri()
    tab.done()


def test_radio_buttons_are_beside_their_labels(browser: Any, small: Path) -> None:
    tab = Tab(browser, small)
    for label in tab.page.locator("fieldset label").all():
        button, text = label.locator("input").bounding_box(), label.bounding_box()
        assert button["height"] + 12 > text["height"] and text["width"] > button["width"] + 30
    tab.done()


def test_reports_without_exposure_have_no_filter_for_it(browser: Any, small: Path) -> None:
    tab = Tab(browser, small)
    assert not tab.page.locator("#f-exposed").is_visible() and tab.page.locator("#f-notes p").count() == 0
    tab.done()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_small_screens_and_dark(browser: Any, small: Path, scheme: str) -> None:
    tab = Tab(browser, small, 400, scheme)
    page = tab.page
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(17, 17, 17)" if scheme == "dark" else "rgb(255, 255, 255)")
    # All controls are reached by Tab; the skip link is the first.
    reached = []
    for _ in range(22):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert reached[:2] == ["skip", "theme"]
    assert {"f-task", "f-ratio", "f-text", "f-complete", "f-sort", "f-reset", "scroll"} <= set(reached)
    # A row shows its key numbers without scrolling sideways.
    boxes = [page.locator(f"#board tbody tr >> nth=0 >> td.c-{key}").bounding_box() for key in KEY]
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= 400 and box["width"] > 20 for box in boxes)
    # The matrix has room for seven selectors; a note keeps its distance from what it is about.
    matrix, note, names, cell = (
        page.locator(name).first.bounding_box()
        for name in ("#matrix", "#a-note", "#matrix tbody th", "#matrix td >> nth=1")
    )
    assert names["width"] + 7 * cell["width"] <= 380 and cell["width"] <= 35
    assert note["y"] >= matrix["y"] + matrix["height"] + 6
    page.click("#theme")
    assert page.evaluate("document.documentElement.dataset.theme") != scheme
    tab.done()


def test_labels_stand_for_names(browser: Any, world: Any, tmp_path: Path) -> None:
    fill_run_folder(world, TASKS[:1], SELECTORS[:2], (0.25, 0.5))
    record = next(one for one in world.store.read_cells() if one.selector.name == SELECTORS[0])
    selector, task = record.selector.identity.short, record.task.identity.short
    add_labels(world.store, Labels({selector: "ours <b>"}, {task: "labelled task"}))
    write_report(world.store.root, tmp_path / "report.html", LeaderboardOptions(resamples=200))
    tab = Tab(browser, tmp_path / "report.html")
    page = tab.page
    assert set(tab.column("selector")) == {"ours <b>", SELECTORS[1]} and set(tab.column("task")) == {"labelled task"}
    for name in ("f-task", "c-task", "k-task"):
        assert "labelled task" in page.locator(f"#{name} option").all_text_contents()
    assert "ours <b>" in page.locator("#k-selector option").all_text_contents()
    page.fill("#f-text", "ours")
    assert set(tab.column("selector")) == {"ours <b>"}
    page.wait_for_selector("#g-grid canvas")
    captions = page.locator("#g-grid figcaption").all_text_contents()
    assert set(captions) == {"image", SELECTORS[1], "ours <b>"}
    assert "ours <b>" in page.locator("#matrix th").all_text_contents()
    tab.done()
