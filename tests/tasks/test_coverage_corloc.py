"""CorLoc of coverage tasks: rows, metrics and summaries by hand; without the option all is as before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from drawn_objects import DIAGONAL, by_hand, draw, measure, value

from ltrp_bench.results.summaries.registry import parse_summary
from ltrp_bench.tasks.base import Keep
from ltrp_bench.tasks.coverage import CoverageTask
from ltrp_bench.tasks.data.coco import CocoDataset
from ltrp_bench.tasks.segment_coverage import SegmentCoverageTask


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> CocoDataset:
    return draw(tmp_path_factory.mktemp("drawn"))


BELOW = np.array([[0, 0], [1, 1]], bool)
"""The lower half, 8 x 4 pixels: just half of its box is the cow's."""


def row(category: str, iou: float) -> dict[str, Any]:
    return {"category": category, "size": "small", "area": 1.0, "kept": 0.0, "iou": iou}


RECORDS = {
    "1": [row("", 0.0), row("cat", 0.6), row("dog", 0.1)],
    "2": [row("", 0.0), row("dog", 0.7), row("dog", 0.2)],
    "3": [row("", 0.0), row("cow", 0.499)],
    "4": [row("", 0.0)],
}


def test_rows_by_hand(drawn: CocoDataset) -> None:
    task = by_hand(drawn, corloc=True)
    sample = task.load(0)
    ((image, cat, dog, cow),) = task.predict([sample], [Keep(DIAGONAL)])
    # Of two equal components the first, 4 x 4 pixels.
    assert [one["iou"] for one in (image, cat, dog, cow)] == [0.0, 1 / 16, 4 / 20, 0.0]
    ((image, cat, dog, cow),) = task.predict([sample], [Keep(BELOW)])
    assert [one["iou"] for one in (image, cat, dog, cow)] == [0.0, 0.0, round(4 / 36, 9), 0.5]
    assert set(cow) == set(task.row_schema)
    rows = measure(task, BELOW)
    assert [value(rows, "corloc", group) for group in ("all", "seen", "unseen")] == [1.0, 1.0, 0.0]
    assert value(rows, "corloc_gap") == 1.0
    nothing = task.predict([sample], [Keep(np.zeros((2, 2), bool))])[0]
    assert all(one["iou"] == 0.0 for one in nothing)


def test_metrics_count_images_by_hand(drawn: CocoDataset) -> None:
    task = by_hand(drawn, corloc=True)
    found = {(r.group, r.category): (r.value, r.n) for r in task.compute_metrics(RECORDS) if r.metric == "corloc"}
    assert found == {
        ("all", None): (pytest.approx(2 / 3), 3),
        ("seen", None): (0.5, 2),
        ("unseen", None): (0.5, 2),
        ("seen", "cat"): (1.0, 1),
        ("unseen", "dog"): (0.5, 2),
        ("seen", "cow"): (0.0, 1),
    }
    assert np.isnan(value(task.compute_metrics({}), "corloc"))


def test_resampled_images_by_hand(drawn: CocoDataset) -> None:
    summary = by_hand(drawn, corloc=True).resampling_summary(RECORDS)
    summary = parse_summary(summary.to_arrays(), "stored")
    pairs = [("corloc", group) for group in ("all", "seen", "unseen")]
    values = summary.all_values(pairs, np.array([[1, 1, 1, 1], [2, 1, 0, 1], [0, 0, 0, 1]]))
    np.testing.assert_allclose(values["corloc", "all"], [2 / 3, 1, np.nan])
    np.testing.assert_allclose(values["corloc", "seen"], [1 / 2, 1, np.nan])
    np.testing.assert_allclose(values["corloc", "unseen"], [1 / 2, 1 / 3, np.nan])
    # In other groups an image with a cat and a dog still counts once.
    other = replace(summary, groups={**summary.groups, "seen": ("cat", "dog"), "unseen": ("cow",)})
    assert other.measured("corloc", "seen") == 1.0 and other.measured("corloc", "unseen") == 0.0
    assert summary.measured("coverage", "all") == 0.0


def test_of_things_and_stuff_only_things_count(drawn: CocoDataset) -> None:
    for things, share, images in (({"cat", "tree"}, 0.0, 1), ({"cow"}, 1.0, 1), (set(), 1.0, 1)):
        task = by_hand(drawn, SegmentCoverageTask, things=things, corloc=True)
        rows = measure(task, BELOW)
        (found,) = [r for r in rows if (r.metric, r.group, r.category) == ("corloc", "all", None)]
        assert (found.value, found.n) == (share, images)
        ((*_, cow),) = task.predict([task.load(0)], [Keep(BELOW)])
        summary = task.resampling_summary({"1": [row("", 0.0), cow]})
        assert summary.measured("corloc", "seen") == pytest.approx(
            1.0 if "cow" in things or not things else np.nan, nan_ok=True
        )


def test_without_the_option_nothing_changes(drawn: CocoDataset) -> None:
    plain, measured = by_hand(drawn), by_hand(drawn, corloc=True)
    assert measured.identity() == {**plain.identity(), "corloc": True}
    assert "iou" not in CoverageTask.row_schema and "iou" not in plain.row_schema
    assert not any("corloc" in one.metric for one in measure(plain, BELOW))
    others = [one for one in measure(measured, BELOW) if "corloc" not in one.metric]
    assert others == measure(plain, BELOW)
    summary = plain.resampling_summary({"1": plain.predict([plain.load(0)], [Keep(BELOW)])[0]})
    assert "per_image" not in summary.to_arrays()["meta"]
