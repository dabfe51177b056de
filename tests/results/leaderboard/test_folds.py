"""The crossover: only complete pairs of folds are averaged, and the others are shown."""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ltrp_bench.results.leaderboard.build import LeaderboardOptions, load_leaderboard
from ltrp_bench.results.leaderboard.folds import COLUMNS, crossover, without_other_fold
from ltrp_bench.results.leaderboard.rows import area_rows, rows_of
from ltrp_bench.results.schema.record import CellRecord, Identity, SelectorInfo, TaskInfo, cell_fingerprint
from ltrp_bench.results.schema.rows import MetricRow
from ltrp_bench.results.store.run_store import RunStore

Values = tuple[float, float, float]


def cell(
    selector: str,
    fold: int | None,
    values: Values = (0.5, 0.6, 0.4),
    *,
    trained: int | None = None,
    weights: str | None = None,
    options: dict[str, Any] | None = None,
    keep_ratio: float = 0.25,
    seed: int = 0,
    stochastic: bool = False,
    images: int = 10,
    skipped: tuple[str, ...] = (),
) -> CellRecord:
    """A cell as `run` stores it: the fold is in the task's label set and split, and in the selector's weights."""
    what: dict[str, Any] = {"name": "shapes-coverage", "data": "shapes v1", "images": images, "narrow_as": "seen"}
    if fold is None:
        what |= {"split": "hash", "label_set": "imagenet1k"}
    else:
        what |= {"split": f"hash of {fold}", "label_set": f"shapes-seen/{fold}"}
    own = Identity.of({"name": selector, "options": options or {}, "weights": weights, "version": 1})
    label_sets = () if trained is None else (f"shapes-seen/{trained}",)
    task = Identity.of(what)
    groups = zip(("all", "seen", "unseen"), values, strict=True)
    return CellRecord(
        fingerprint=cell_fingerprint(own.value, task.value, keep_ratio, seed, "none"),
        selector=SelectorInfo(selector, "labels" if label_sets else "none", label_sets, stochastic, own),
        task=TaskInfo("shapes-coverage", "coverage", task),
        keep_ratio=keep_ratio,
        seed=seed,
        reduction="none",
        images=images - len(skipped),
        skipped=skipped,
        metrics=tuple(MetricRow("coverage", group, None, value, 10) for group, value in groups),
        records_sha256="",
    )


def vit(fold: int, values: Values = (0.5, 0.6, 0.4), **extra: Any) -> CellRecord:
    return cell(f"vit.shapes{fold}", fold, values, **{"trained": fold, "weights": f"weights {fold}", **extra})


def only(frame: pd.DataFrame, **wanted: object) -> dict[str, Any]:
    for name, value in wanted.items():
        frame = frame[frame[name] == value]
    assert len(frame) == 1, frame.to_string()
    return {str(key): value for key, value in frame.iloc[0].items()}


def test_folds_are_averaged_and_shown() -> None:
    frame = crossover([vit(0, (0.5, 0.7, 0.3)), vit(1, (0.6, 0.65, 0.55))])
    assert tuple(frame.columns) == COLUMNS
    row = only(frame, selector="vit.shapes", supervision="shapes-seen")
    assert row["complete"] and row["missing"] == "" and row["seeds"] == 1 and row["images"] == 10
    assert row["all"] == pytest.approx(0.55) and row["seen"] == pytest.approx(0.675)
    assert row["gap"] == pytest.approx(0.25)
    assert row["gap_0"] == pytest.approx(0.4) and row["gap_1"] == pytest.approx(0.1)
    assert row["unseen_1"] == 0.55 and len(row["fingerprints"].split()) == 2


def test_areas_of_each_fold() -> None:
    records = [
        *(vit(0, (0.5, 0.7, 0.3), keep_ratio=0.25), vit(1, (0.5, 0.6, 0.4), keep_ratio=0.25)),
        *(vit(0, (0.8, 0.9, 0.7), keep_ratio=0.5), vit(1, (0.8, 0.8, 0.8), keep_ratio=0.5)),
    ]
    (area,) = area_rows(rows_of(crossover(records), records, lambda record, metric: None))
    assert [area.values[f"seen_{fold}"] for fold in (0, 1)] == pytest.approx([0.8, 0.7])
    assert [area.values[f"gap_{fold}"] for fold in (0, 1)] == pytest.approx([0.3, 0.1])
    assert area.values["gap"] == pytest.approx(0.2)


def test_a_harder_half_cancels_out() -> None:
    """Half A is easier by 0.2 for a label-free selector: both gaps are 0.2, with opposite signs."""
    records = [cell("variance", fold, (0.5, *halves)) for fold, halves in enumerate([(0.6, 0.4), (0.4, 0.6)])]
    row = only(crossover(records), selector="variance", supervision="none")
    assert (row["gap_0"], row["gap_1"]) == (pytest.approx(0.2), pytest.approx(-0.2))
    assert row["gap"] == pytest.approx(0.0) and row["complete"]


def test_a_missing_fold_is_shown_and_not_averaged() -> None:
    frame = crossover([vit(0), cell("variance", 1)])
    for name, lacking, held in (("vit.shapes", 1, 0), ("variance", 0, 1)):
        row = only(frame, selector=name)
        assert not row["complete"] and row["missing"] == f"lacks fold {lacking}" and row["seeds"] == 0
        assert math.isnan(row["gap"]) and math.isnan(row[f"gap_{lacking}"])
        assert row[f"gap_{held}"] == pytest.approx(0.2)


def test_weights_evaluated_on_the_other_fold_do_not_pair() -> None:
    wrong = cell("vit.shapes1", 0, trained=1, weights="weights 1")
    frame = crossover([vit(0), vit(1), wrong])
    assert only(frame, selector="vit.shapes")["complete"]
    row = only(frame, selector="vit.shapes1")
    assert row["missing"] == "trained on fold 1, evaluated on fold 0" and math.isnan(row["all"])
    assert row["all_0"] == 0.5 and math.isnan(row["all_1"])


def test_a_missing_keep_ratio_and_a_missing_seed() -> None:
    records = [vit(fold, keep_ratio=ratio) for fold in (0, 1) for ratio in (0.25, 0.5)][:-1]
    records += [cell("variance", 1, keep_ratio=ratio) for ratio in (0.25, 0.5)]
    row = only(crossover(records), selector="vit.shapes", keep_ratio=0.5)
    assert row["missing"] == "fold 1 lacks keep ratio 0.5" and row["all_0"] == 0.5

    seeds = [(0, 0), (0, 1), (1, 0)]
    row = only(crossover(cell("random", fold, seed=seed, stochastic=True) for fold, seed in seeds))
    assert row["missing"] == "one fold lacks seed 1" and math.isnan(row["all"])


def test_the_deviation_over_seeds_is_that_of_the_average() -> None:
    """Noise with opposite signs in the folds does not count as deviation of their average."""
    values = {(0, 0): 0.1, (0, 1): 0.3, (1, 0): 0.3, (1, 1): 0.1}
    records = [cell("random", f, (v, v, v), seed=s, stochastic=True) for (f, s), v in values.items()]
    row = only(crossover(records))
    assert row["all"] == pytest.approx(0.2) and row["all_std"] == pytest.approx(0.0, abs=1e-12) and row["seeds"] == 2
    records[3] = cell("random", 1, (0.5, 0.5, 0.5), seed=1, stochastic=True)
    assert only(crossover(records))["all_std"] == pytest.approx(statistics.stdev([0.2, 0.4]))


def test_folds_with_different_images_do_not_pair() -> None:
    row = only(crossover([vit(0, skipped=("7",)), vit(1)]))
    assert row["missing"] == "the folds left out different images"
    frame = crossover([vit(0, images=20), vit(1)])
    assert len(frame) == 2 and not frame["complete"].any()


def test_options_that_differ_do_not_pair() -> None:
    frame = crossover([vit(0, options={"layer": 3}), vit(1, options={"layer": 4})])
    assert len(frame) == 2 and set(frame["missing"]) == {"lacks fold 0", "lacks fold 1"}
    # The fold itself may differ, and so may files of weights without a tag.
    for name in ("mine", "my.module:ResNet50"):
        records = [cell(name, f, trained=f, options={"fold": f}, weights=f"file {f}") for f in (0, 1)]
        assert only(crossover(records), selector=name)["complete"]
    # Label-free selectors must be identical.
    frame = crossover([cell("ltrp.shapes", fold, weights=f"w{fold}") for fold in (0, 1)])
    assert len(frame) == 2 and not frame["complete"].any()


def test_two_weights_of_one_fold_are_ambiguous() -> None:
    row = only(crossover([vit(0), vit(0, (0.9, 0.9, 0.9), weights="other"), vit(1)]))
    assert not row["complete"] and row["missing"].startswith("fold 0 has 2 weights") and math.isnan(row["all"])
    assert math.isnan(row["all_0"]) and row["all_1"] == 0.5


def test_rows_without_the_other_fold_are_counted(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    alone = [cell("center", 0, keep_ratio=ratio) for ratio in (0.25, 0.5)]
    for record in (vit(0), vit(0, (0.9, 0.9, 0.9), weights="other"), vit(1), cell("random", 1), *alone):
        store.write_cell(record, {}, {"x": "int64"}, {})
    frame = load_leaderboard(tmp_path, LeaderboardOptions(folds=True, intervals=False)).frame
    assert {"at 0.25: lacks fold 0", "lacks fold 0"} & set(frame["missing"])
    shown, lines = without_other_fold(frame)
    # What is incomplete for another reason stays.
    assert set(shown["selector"]) == {"vit.shapes"} and not shown["complete"].any()
    assert [line.partition(" left")[0] for line in lines] == [
        "shapes-coverage: 2 rows without fold 1",
        "shapes-coverage: 1 row without fold 0",
    ]


def test_undefined_values_stay_undefined() -> None:
    row = only(crossover([vit(0, (0.5, 0.5, math.nan)), vit(1)]))
    assert row["complete"] and row["seen"] == pytest.approx(0.55) and math.isnan(row["gap"])


def test_order_of_records_does_not_matter() -> None:
    records = [vit(0), vit(1), cell("variance", 0), cell("variance", 1), vit(0, keep_ratio=0.5)]
    pd.testing.assert_frame_equal(crossover(records), crossover(records[::-1]))


def test_tasks_without_folds_are_reported(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    notices: list[str] = []
    store.prepare()
    options = LeaderboardOptions(folds=True, intervals=False)
    store.write_cell(cell("variance", None), {}, {"x": "int64"}, {})
    assert len(load_leaderboard(tmp_path, options, notice=notices.append).frame) == 0
    assert notices[-1] == "no finished cell of a task with folds; run both with --task-option fold=0 and fold=1"
    for record in (vit(0), vit(1)):
        store.write_cell(record, {}, {"x": "int64"}, {})
    notices.clear()
    assert len(load_leaderboard(tmp_path, options, notice=notices.append).frame) == 1
    assert notices == ["tasks without folds are left out: shapes-coverage"]


def test_the_gap_of_the_controls_is_subtracted(tmp_path: Path) -> None:
    records = [vit(0, (0.5, 0.8, 0.4)), vit(1, (0.5, 0.6, 0.4)), vit(0, keep_ratio=0.5), vit(1, keep_ratio=0.5)]
    for fold in (0, 1):
        records += [cell("variance", fold, (0.5, 0.5, 0.6)), cell("center", fold, (0.5, 0.6, 0.4))]
    store = RunStore(tmp_path)
    for record in records:
        store.write_cell(record, {}, {"x": "int64"}, {})

    def adjusted(ratios: str, selector: str, **extra: Any) -> float:
        frame = load_leaderboard(tmp_path, LeaderboardOptions(intervals=False, **extra)).frame
        return float(only(frame, selector=selector, ratios=ratios)["gap_adjusted"])

    assert adjusted("0.25", "vit.shapes", folds=True) == pytest.approx(0.3 - 0.05)
    assert adjusted("0.25", "center", folds=True) == pytest.approx(0.15)
    # Controls of the same table count, and all of them must be there.
    assert math.isnan(adjusted("0.5", "vit.shapes", folds=True))
    assert adjusted("0.25", "vit.shapes", folds=True, controls=("center",)) == pytest.approx(0.3 - 0.2)
    assert math.isnan(adjusted("0.25", "vit.shapes", folds=True, controls=("center", "random")))
