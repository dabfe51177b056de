"""Retention and gaps from the whole image, computed by hand, by repeating images, and for simulated data."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ltrp_bench.results.leaderboard.build import LeaderboardOptions, load_leaderboard
from ltrp_bench.results.leaderboard.export import latex, markdown
from ltrp_bench.results.leaderboard.folds import crossover
from ltrp_bench.results.leaderboard.retention import GAP_FROM_WHOLE, RETENTION, RETENTION_COLUMNS, add_retention
from ltrp_bench.results.leaderboard.roles import SelectorRoles
from ltrp_bench.results.leaderboard.rows import TableRow, rows_of
from ltrp_bench.results.schema.record import CellRecord, Identity, TaskInfo, cell_fingerprint
from ltrp_bench.results.statistics.bootstrap import Draws, Estimate
from ltrp_bench.results.statistics.replicates import estimates
from ltrp_bench.results.summaries.registry import parse_summary

LACKING = "no retention and no gap from the whole image: "
NOISE = np.random.default_rng(0).normal(size=400)
JACKKNIFE = np.random.default_rng(1).normal(size=50)


def _estimate(point: float) -> Estimate:
    """Estimate whose draws and jackknife are the point times a factor that all estimates share."""
    return Estimate("key", point, point * (1 + 0.1 * NOISE), point * (1 + 0.1 * JACKKNIFE))


def _row(selector: str, seen: float, unseen: float, **about: Any) -> TableRow:
    every = (seen + unseen) / 2
    values = {"task": "t", "task_id": "1", "reduction": "fill", "metric": "AP", "ratios": "0.5", "complete": True}
    values |= {"selector": selector, "selector_id": "i", "missing": "", "all": every, "seen": seen, "unseen": unseen}
    found = {"all": _estimate(every), "seen": _estimate(seen), "unseen": _estimate(unseen)}
    return TableRow({**values, "gap": seen - unseen, **about}, {**found, "gap": found["seen"] - found["unseen"]})


def _column(rows: list[TableRow], name: str) -> list[float]:
    return [row.values[name] for row in rows]


def test_values_by_hand() -> None:
    rows = [_row("ltrp", 0.4, 0.2), _row("full", 0.5, 0.4, ratios="1"), _row("center", 0.3, 0.28, ratios="auc 0.5-1")]
    add_retention(rows, method="percentile", notice=pytest.fail)
    assert _column(rows, "retention_seen") == pytest.approx([0.8, math.nan, 0.6], nan_ok=True)
    assert _column(rows, "retention_unseen") == pytest.approx([0.5, math.nan, 0.7], nan_ok=True)
    assert _column(rows, "retention_all") == pytest.approx([0.3 / 0.45, math.nan, 0.29 / 0.45], nan_ok=True)
    assert _column(rows, GAP_FROM_WHOLE) == pytest.approx([0.2 - 0.1, math.nan, 0.02 - 0.1], nan_ok=True)
    # The draws of the row and of the whole image share their factor: it cancels in the retention, not in the gap.
    assert rows[0].values["retention_seen_low"] == pytest.approx(0.8) == rows[0].values["retention_seen_high"]
    ends = np.quantile(0.1 * (1 + 0.1 * NOISE), [0.025, 0.975])
    assert [rows[0].values[f"{GAP_FROM_WHOLE}_{end}"] for end in ("low", "high")] == pytest.approx(ends)
    assert all(math.isnan(rows[1].values[name]) for name in RETENTION_COLUMNS)


def test_exposed_rows_have_no_gap_from_the_whole_image() -> None:
    """Their gap says nothing of unseen categories; what they retain of each group is a fact all the same."""
    exposures = ("none", "exposed", "open", "unknown")
    rows = [*(_row("vit", 0.4, 0.2, exposure=one) for one in exposures), _row("full", 0.5, 0.4, exposure="none")]
    add_retention(rows)
    assert _column(rows[:4], GAP_FROM_WHOLE) == pytest.approx([0.1, *[math.nan] * 3], nan_ok=True)
    assert _column(rows[:4], "retention_unseen") == pytest.approx([0.5] * 4)
    add_retention(rows, count_exposed=True)
    assert _column(rows[:4], GAP_FROM_WHOLE) == pytest.approx([0.1] * 4)


def test_undefined_where_the_whole_image_has_no_value() -> None:
    rows = [_row("ltrp", 0.4, 0.0), _row("full", 0.5, 0.0)]
    add_retention(rows)
    assert math.isnan(rows[0].values["retention_unseen"]) and math.isnan(rows[0].values["retention_unseen_low"])
    assert rows[0].values["retention_seen"] == pytest.approx(0.8)
    assert rows[0].values[GAP_FROM_WHOLE] == pytest.approx(0.4 - 0.5)
    rows = [_row("ltrp", 0.4, math.nan), _row("full", 0.5, math.nan)]
    add_retention(rows)
    assert [math.isnan(rows[0].values[name]) for name in (*RETENTION, GAP_FROM_WHOLE)] == [True, False, True, True]


def test_a_value_without_an_interval() -> None:
    """Cells without a resampling summary have a retention but no interval."""
    for without in (0, 1):
        rows = [_row("ltrp", 0.4, 0.2), _row("full", 0.5, 0.4)]
        rows[without].estimates = None
        add_retention(rows)
        assert rows[0].values["retention_seen"] == pytest.approx(0.8)
        assert math.isnan(rows[0].values["retention_seen_low"]) and math.isnan(rows[0].values["gap_from_whole_high"])


def test_only_the_whole_image_of_the_same_task_counts() -> None:
    notices: list[str] = []
    rows = [
        *(_row("ltrp", 0.4, 0.2), _row("ltrp", 0.4, 0.2, reduction="drop"), _row("full", 0.8, 0.8, reduction="drop")),
        *(_row("full", 1.0, 1.0, task_id="2"), _row("full", 1.0, 1.0, metric="AP50")),
        *(_row("ltrp", 0.4, 0.2, reduction="none"), _row("full", 1.0, 1.0, reduction="none")),
    ]
    add_retention(rows, notice=notices.append)
    assert _column(rows, "retention_seen")[:2] == pytest.approx([math.nan, 0.5], nan_ok=True)
    assert all(math.isnan(value) for value in _column(rows, "retention_seen")[2:])
    assert notices == [f"t (fill): {LACKING}no finished cell of `full`; repeat the run to add it"]


def test_several_whole_images() -> None:
    """Selectors of other names or options may keep every patch too; they must agree."""
    notices: list[str] = []
    roles = SelectorRoles(stored_whole=frozenset({"own:Whole"}))
    rows = [_row("ltrp", 0.4, 0.2), _row("full", 0.5, 0.4), _row("own:Whole", 0.5, 0.4)]
    add_retention(rows, roles=roles, notice=notices.append)
    assert rows[0].values["retention_seen"] == pytest.approx(0.8) and math.isnan(rows[2].values["retention_seen"])
    rows[2] = _row("own:Whole", 0.5, 0.3, selector_id="j")
    add_retention(rows, roles=roles, notice=notices.append)
    assert math.isnan(rows[0].values["retention_seen"])
    assert notices == [
        f"t (fill): {LACKING}several selectors keep every patch, with different values (full i, own:Whole j)"
    ]


def test_an_incomplete_whole_image() -> None:
    notices: list[str] = []
    rows = [
        _row("ltrp", 0.4, 0.2),
        _row("full", math.nan, math.nan, complete=False, missing="2 images that others have"),
    ]
    add_retention(rows, notice=notices.append)
    assert all(math.isnan(rows[0].values[name]) for name in RETENTION_COLUMNS)
    assert notices == [f"t (fill): {LACKING}`full` lacks 2 images that others have"]


def _rows_of(frame: pd.DataFrame, selector: str) -> dict[str, Any]:
    found = frame[frame["selector"] == selector].set_index("ratios")
    return {str(name): row for name, row in found.iterrows()}


def test_stored_cells(world: Any) -> None:
    """Retention in a complete leaderboard: several seeds, one cell of the whole image, areas, and exports."""
    for ratio in world.ratios:
        for seed in (0, 1):
            world.cell("random", ratio, 0.2 + 0.1 * seed, reduction="drop", seed=seed, stochastic=True)
    world.cell("full", 1.0, 0.6, 0.1, reduction="drop")
    world.cell("random", 0.5, 0.3)  # a task without a model
    notices: list[str] = []
    frame = load_leaderboard(world.store.root, notice=notices.append).frame
    assert notices == []
    full = _rows_of(frame, "full")["1"]
    rows = _rows_of(frame[frame["reduction"] == "drop"], "random")
    assert set(rows) == {"0.25", "0.5", "1", "auc 0.25-1"}
    for row in rows.values():
        for group in ("all", "seen", "unseen"):
            assert row[f"retention_{group}"] == pytest.approx(row[group] / full[group], abs=1e-12)
            assert row[f"retention_{group}_low"] < row[f"retention_{group}"] < row[f"retention_{group}_high"]
        assert row["gap_from_whole"] == pytest.approx(row["gap"] - full["gap"])
    # Every value of a row is the whole image's less a constant, apart from clipping: pairing makes the interval narrow.
    width, paired = (rows["1"][f"{name}_high"] - rows["1"][f"{name}_low"] for name in ("gap", "gap_from_whole"))
    assert paired < width / 10
    assert math.isnan(_rows_of(frame[frame["reduction"] == "none"], "random")["0.5"]["retention_all"])
    text = markdown(frame)
    row = rows["0.25"]
    cell = f"{row['retention_all']:.3f} [{row['retention_all_low']:.3f}, {row['retention_all_high']:.3f}]"
    assert cell in text and cell in latex(frame, ["selector", "retention"])
    assert f"{row['retention_seen']:.3f} / {row['retention_unseen']:.3f}" in text and "gap from whole" in text
    none = text.split("### ")[2]  # the task without a model, after "drop"
    assert none.startswith("shapes-coverage, coverage, none") and "retention" not in none


def test_folds_are_averaged_before_they_are_divided(make_record: Any) -> None:
    """The retention of an average over folds is that average / the average of the whole image over both folds."""

    def cell(selector: str, ratio: float, fold: int, seen: float, unseen: float) -> CellRecord:
        record: CellRecord = make_record(selector, ratio, values=((seen + unseen) / 2, seen, unseen), reduction="drop")
        what = Identity.of({"name": "shapes-det", "label_set": f"shapes-seen/{fold}"})
        fingerprint = cell_fingerprint(record.selector.identity.value, what.value, ratio, 0, "drop")
        return replace(record, fingerprint=fingerprint, task=TaskInfo("shapes-det", "coverage", what))

    records = [cell("evit", 0.25, 0, 0.4, 0.2), cell("evit", 0.25, 1, 0.6, 0.2)]
    records += [cell("full", 1.0, 0, 0.8, 0.6), cell("full", 1.0, 1, 0.5, 0.7)]
    rows = rows_of(
        crossover(records),
        records,
        lambda record, metric: {name: _estimate(record.value(metric, name)) for name in ("all", "seen", "unseen")},
    )
    add_retention(rows, notice=pytest.fail)
    (row,) = (row for row in rows if row.values["selector"] == "evit")
    assert row.values["retention_seen"] == pytest.approx(0.5 / 0.65)
    assert row.values["retention_unseen"] == pytest.approx(0.2 / 0.65)
    assert row.values["gap_from_whole"] == pytest.approx((0.2 + 0.4) / 2 - (0.2 - 0.2) / 2)
    assert row.values["retention_unseen_low"] == pytest.approx(0.2 / 0.65) == row.values["retention_unseen_high"]
    # Without the whole image of one fold there is nothing to compare with.
    notices: list[str] = []
    rows = rows_of(crossover(records[:-1]), records, lambda record, metric: None)
    add_retention(rows, notice=notices.append)
    assert notices == [f"shapes-det (drop): {LACKING}`full` lacks fold 1"]
    assert all(math.isnan(row.values["retention_all"]) for row in rows)


def test_skipped_images_are_not_compared(world: Any) -> None:
    world.cell("good", 0.5, 0.6, reduction="fill")
    world.cell("full", 1.0, 0.6, reduction="fill", skipped=("image 7",))
    notices: list[str] = []
    frame = load_leaderboard(world.store.root, LeaderboardOptions(intervals=False), notice=notices.append).frame
    assert frame["retention_all"].isna().all()
    assert notices == [f"shapes-coverage (fill): {LACKING}`full` lacks 1 images that others have"]


def test_ratios_of_repeated_images() -> None:
    """Each draw of a retention equals the quotient of the metrics of really repeated images."""
    rng = np.random.default_rng(4)
    images, objects = [f"image {i}" for i in range(25)], 60
    image, category, whole = rng.integers(0, 25, objects), rng.integers(0, 2, objects), rng.random(objects)
    own = whole * rng.random(objects)

    def meta() -> dict[str, Any]:
        groups = {"all": ["a", "b"], "seen": ["a"], "unseen": ["b"]}
        about = {"kind": "means", "images": images, "categories": ["a", "b"], "groups": groups, "metrics": ["top1"]}
        return {"meta": about, "image": image, "category": category}

    draws = Draws.of(images, "task", 30)
    rows = []
    for selector, values in (("ltrp", own), ("full", whole)):
        found = estimates(parse_summary({**meta(), "values": values[None]}, "test"), ["top1"], draws)["top1"]
        points = {name: one.point for name, one in found.items()}
        row = _row(selector, points["seen"], points["unseen"], all=points["all"])
        rows.append(TableRow(row.values, {**found, "gap": found["seen"] - found["unseen"]}))
    seen: list[Estimate] = []
    keep = Estimate.interval
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Estimate, "interval", lambda one, *rest: (seen.append(one), keep(one, *rest))[1])
        add_retention(rows)
    for draw, weights in enumerate(draws.weights[1:31]):
        drawn = np.repeat(np.arange(25), weights)
        entries = [entry for one in drawn for entry in np.flatnonzero(image == one)]
        for place, members in enumerate(((0, 1), (0,), (1,))):
            kept = [entry for entry in entries if category[entry] in members]
            assert seen[place].draws[draw] == pytest.approx(own[kept].mean() / whole[kept].mean())
        halves = [[entry for entry in entries if category[entry] == side] for side in (0, 1)]
        gaps = [values[halves[0]].mean() - values[halves[1]].mean() for values in (own, whole)]
        assert seen[3].draws[draw] == pytest.approx(gaps[0] - gaps[1])


@pytest.mark.slow
def test_intervals_cover_the_truth() -> None:
    """400 simulated data sets of 200 images whose seen objects are easier, and lose less, than unseen ones."""
    rng = np.random.default_rng(5)
    worlds, size = 400, 200
    draws = Draws.of([f"image {i}" for i in range(size)], "coverage", 500)
    truth = {"retention_seen": 0.9, "retention_unseen": 0.75, GAP_FROM_WHOLE: (0.9 * 0.6 - 0.75 * 0.5) - (0.6 - 0.5)}
    inside = dict.fromkeys(truth, 0)
    for _ in range(worlds):
        clutter = rng.beta(8, 2, size) / 0.8  # of an image, shared by both groups and both rows
        found = {}
        for selector, kept in (("ltrp", (0.9, 0.75)), ("full", (1.0, 1.0))):
            means = [
                rng.binomial(20, np.clip(level * factor * clutter, 0, 1)) / 20
                for level, factor in zip((0.6, 0.5), kept, strict=True)
            ]
            groups = {"seen": means[0], "unseen": means[1], "all": (means[0] + means[1]) / 2}
            total = draws.weights.sum(1)
            made = {name: draws.estimate(draws.weights @ values / total) for name, values in groups.items()}
            row = _row(selector, made["seen"].point, made["unseen"].point)
            found[selector] = TableRow(row.values, {**made, "gap": made["seen"] - made["unseen"]})
        add_retention(list(found.values()))
        values = found["ltrp"].values
        for name, value in truth.items():
            inside[name] += values[f"{name}_low"] <= value <= values[f"{name}_high"]
    assert all(0.92 <= count / worlds <= 0.98 for count in inside.values()), inside
