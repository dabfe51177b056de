from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import ltrp_bench as lb
from ltrp_bench.results.leaderboard.build import COLUMNS
from ltrp_bench.results.store.run_store import RunStore


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> lb.Results:
    out = tmp_path_factory.mktemp("results") / "runs"
    options = {"out": out, "engine": "serial", "limit": 8, "progress": False}
    return lb.evaluate(["variance", "random"], "shapes-coverage", [0.25, 0.5], **options)  # type: ignore[arg-type]


def test_the_leaderboard_has_intervals_and_ranks(results: lb.Results) -> None:
    board = results.leaderboard(resamples=100)
    assert len(board) == 2 * (2 + 1)  # two keep ratios, and the area under the curve
    assert (board["all_low"] <= board["all"]).all() and (board["all"] <= board["all_high"]).all()
    assert set(board["rank"]) <= {1, 2}
    assert list(results.leaderboard(all_columns=True, resamples=100).columns) == list(COLUMNS)


def test_curves_have_a_row_a_group_and_keep_ratio(results: lb.Results) -> None:
    curves = results.curves(intervals=False)
    assert len(curves) == 2 * 2 * 3
    board = results.leaderboard(intervals=False).set_index(["selector", "keep_ratio"])
    for row in curves.itertuples():
        assert row.value == board.loc[(row.selector, row.keep_ratio), row.group]


def test_images_have_a_row_an_image_and_cell(results: lb.Results) -> None:
    images = results.images()
    assert len(images) == 2 * 2 * 8 and images["image_id"].nunique() == 8
    store = RunStore(results.folder)
    for record in store.read_cells():
        own = images[(images["selector"] == record.selector.name) & (images["keep_ratio"] == record.keep_ratio)]
        for image_id, rows in store.read_images(record.fingerprint).items():
            kept = [row["kept"] for row in rows if row["category"]]
            assert own.set_index("image_id").loc[image_id, "all"] == pytest.approx(np.mean(kept))


def test_only_the_cells_of_the_call_are_in_its_results(results: lb.Results) -> None:
    options = {"out": results.folder, "engine": "serial", "limit": 8, "progress": False}
    own = lb.evaluate("random", "shapes-coverage", 0.25, **options)  # type: ignore[arg-type]
    assert len(own) == 1 and set(own.images()["selector"]) == {"random"}
    assert len(lb.load_results(results.folder)) == 4


def test_figures_are_drawn_one_at_a_time(results: lb.Results) -> None:
    figure = results.plot(resamples=100)
    assert figure._repr_png_()[:4] == b"\x89PNG"  # type: ignore[attr-defined]
    with pytest.raises(lb.UsageError, match="only the reduction drop makes models faster"):
        results.plot("pareto", resamples=100)
    with pytest.raises(lb.UsageError, match="no task 'coco-det' in the results"):
        results.plot(task="coco-det", resamples=100)
    with pytest.raises(lb.UsageError, match="no kind of figure 'bars'; there are curves, gap, pareto"):
        results.plot(kind="bars")  # type: ignore[arg-type]
    with pytest.raises(lb.UsageError, match="no group of categories 'sen'; did you mean 'seen'"):
        results.plot(groups="sen")  # type: ignore[arg-type]


def test_a_notebook_shows_a_table(results: lb.Results) -> None:
    text = results._repr_html_()
    assert text.count("<table") == 1 and "variance" in text and str(results.folder) not in text


def test_a_report_is_written(results: lb.Results, tmp_path: Path) -> None:
    path = results.report(tmp_path / "r.html", resamples=100)
    assert path == tmp_path / "r.html" and path.read_text().startswith("<!doctype html>")


def test_results_compare_equal_with_themselves(results: lb.Results) -> None:
    found = lb.compare(results, results.folder, resamples=100)
    assert len(found.rows) == 4 and found.regressions == ()
    assert found._repr_markdown_() == found.markdown()


def test_mistakes_are_one_line(results: lb.Results, tmp_path: Path) -> None:
    with pytest.raises(lb.UsageError, match="there is no option 'resample'; did you mean 'resamples'"):
        results.leaderboard(resample=100)
    with pytest.raises(lb.UsageError, match="no cell has the metric 'AP'; there are coverage"):
        results.images("AP")
    with pytest.raises(lb.InputError, match="is not a folder"):
        lb.load_results(tmp_path / "none")
    with pytest.raises(lb.UsageError, match="there is no option 'tol'"):
        lb.compare(results, results, tol=1)
