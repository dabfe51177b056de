"""The sweep: results, independence from resources, and error messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import toy_bench as toy

from ltrp_bench.harness.evaluation.cell_writer import skip_reason
from ltrp_bench.harness.evaluation.options import SweepOptions
from ltrp_bench.harness.evaluation.score_cache import ScoreCache
from ltrp_bench.harness.evaluation.sweep import run_sweep
from ltrp_bench.results.store.run_store import RunStore
from ltrp_bench.selectors.controls import DownsampleControl, RandomControl
from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.base import MetricRow


@pytest.mark.parametrize(
    "options", [{"batch_size": 1, "workers": 0}, {"batch_size": 7, "workers": 3}, {"batch_size": 64}]
)
def test_results_do_not_depend_on_resources(tmp_path: Path, options: dict[str, Any]) -> None:
    toy.sweep(tmp_path / "a", batch_size=16, workers=2)
    toy.sweep(tmp_path / "b", **options)
    assert toy.contents(tmp_path / "a") == toy.contents(tmp_path / "b")


def test_measured_values(tmp_path: Path) -> None:
    records = toy.sweep(tmp_path, recorder := toy.Recorder())
    assert recorder.notices == []
    values = {(r.selector.name, r.keep_ratio, r.seed): r.value("coverage", "all") for r in records}
    assert values["full", 1.0, 0] == 1.0
    # The square spans at most 3 x 3 of 24 or 25 patches, so half of the patches hold all of it.
    assert values["oracle", 0.5, 0] == 1.0 and values["oracle", 0.25, 0] > 0.8
    for seed in (0, 1):
        assert values["random", 0.5, seed] == pytest.approx(0.5, abs=0.06)
    # The bright square wins under mean brightness.
    assert values["plain", 0.5, 0] > 0.9
    kept = RunStore(tmp_path).read_images(records[0].fingerprint)
    patches = {row["patches"] for rows in kept.values() for row in rows}
    assert patches == {6}  # round(0.25 * 24) and round(0.25 * 25)
    random = [r for r in records if r.selector.name == "random" and r.keep_ratio == 0.5]
    assert random[0].metrics != random[1].metrics


def test_a_selector_scores_an_image_once(tmp_path: Path) -> None:
    def run(out: str, ratios: list[float]) -> int:
        net = toy.NetSelector()
        toy.sweep(tmp_path / out, groups=toy.toy_groups(selectors=[net], ratios=ratios))
        return net.calls["images"]

    assert run("a", [0.1, 0.25, 0.5, 0.9]) == 150 + 1  # once more, to count its operations
    assert run("a", [0.1, 0.25, 0.5, 0.9]) == 0
    # Other keep ratios later: the scores are on disk.
    assert run("a", [0.3]) == 0
    toy.sweep(tmp_path / "b", groups=toy.toy_groups(selectors=[toy.NetSelector()], ratios=[0.3]))
    assert toy.contents(tmp_path / "a").items() >= toy.contents(tmp_path / "b").items()


@pytest.mark.parametrize("damage", [lambda b: b[:-3], lambda b: b[:-3] + b"abc", lambda b: b""])
@pytest.mark.parametrize(("span", "scored"), [((0, 64), 64 + 1), ((128, 150), 22)])
def test_damaged_scores_are_computed_again(tmp_path: Path, damage: Any, span: tuple[int, int], scored: int) -> None:
    """Operations are counted on one more image unless an earlier span's scores in the cache tell them."""
    groups = toy.toy_groups(selectors=[toy.NetSelector()], ratios=[0.25])
    toy.sweep(tmp_path, groups=groups)
    assert len(list((tmp_path / "scores").rglob("*.safetensors"))) == 3
    images = toy.load(toy.ToyTask(), *span)
    file = ScoreCache(RunStore(tmp_path), groups[0], print).path(images.image_ids, images.grids)
    file.write_bytes(damage(file.read_bytes()))
    net, recorder = toy.NetSelector(), toy.Recorder()
    toy.sweep(tmp_path, recorder, toy.toy_groups(selectors=[net], ratios=[0.5]))
    assert net.calls["images"] == scored
    assert recorder.notices == [f"cached scores in {file} are damaged: they are computed again"]
    toy.sweep(tmp_path / "new", groups=toy.toy_groups(selectors=[toy.NetSelector()], ratios=[0.5]))
    assert toy.contents(tmp_path).items() >= toy.contents(tmp_path / "new").items()


def test_bad_images_stop_or_are_left_out(tmp_path: Path) -> None:
    groups = toy.toy_groups(toy.ToyTask(bad=[5, 149]), selectors=[toy.NetSelector(), toy.PlainSelector()])
    with pytest.raises(InputError, match="toy 5 is corrupt") as caught:
        toy.sweep(tmp_path, groups=groups)
    assert "\n" not in str(caught.value)
    records = toy.sweep(tmp_path, groups=groups, skip_bad_images=True)
    assert {record.skipped for record in records} == {("toy 5", "toy 149")}
    assert {record.images for record in records} == {148}
    assert skip_reason(RunStore(tmp_path), records[0], "toy 149") == "image toy 149 is corrupt"
    # A run that may skip no image counts these results as unfinished, and replaces them once it can read all images.
    with pytest.raises(InputError, match="toy 5 is corrupt"):
        toy.sweep(tmp_path, groups=groups)
    assert toy.sweep(tmp_path, groups=groups, skip_bad_images=True) == records
    whole = toy.toy_groups(selectors=[toy.NetSelector(), toy.PlainSelector()])
    assert {record.images for record in toy.sweep(tmp_path, groups=whole)} == {150}
    toy.sweep(tmp_path / "new", groups=whole)
    assert toy.contents(tmp_path) == toy.contents(tmp_path / "new")


def test_a_kill_while_a_cell_is_measured_again_leaves_it_unfinished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    selectors = [toy.NetSelector()]
    toy.sweep(tmp_path, groups=toy.toy_groups(toy.ToyTask(bad=[5]), selectors), skip_bad_images=True)

    def kill(self: RunStore, path: Path, data: bytes, *, sync: bool = True) -> None:
        if path.parent.name == "provenance":
            raise KeyboardInterrupt
        write(self, path, data, sync=sync)

    write = RunStore.write
    monkeypatch.setattr(RunStore, "write", kill)
    with pytest.raises(KeyboardInterrupt):
        toy.sweep(tmp_path, groups=toy.toy_groups(selectors=selectors))
    monkeypatch.undo()
    assert {record.images for record in toy.sweep(tmp_path, groups=toy.toy_groups(selectors=selectors))} == {150}


def test_spans_with_skipped_images_are_measured_again(tmp_path: Path) -> None:
    """A run that may skip no image does not reuse spans of a run that skipped some."""
    selectors = [toy.NetSelector()]
    with pytest.raises(KeyboardInterrupt):
        toy.sweep(
            tmp_path,
            toy.Recorder(interrupt_after=1),
            toy.toy_groups(toy.ToyTask(bad=[5]), selectors),
            skip_bad_images=True,
        )
    toy.sweep(tmp_path, groups=toy.toy_groups(selectors=selectors))
    toy.sweep(tmp_path / "new", groups=toy.toy_groups(selectors=selectors))
    assert toy.contents(tmp_path) == toy.contents(tmp_path / "new")


def test_nothing_readable(tmp_path: Path) -> None:
    groups = toy.toy_groups(toy.ToyTask(images=3, bad=range(3)), selectors=[toy.NetSelector()])
    with pytest.raises(InputError, match="not one of its 3 images"):
        toy.sweep(tmp_path, groups=groups, skip_bad_images=True)


class _Shapeless(toy.PlainSelector):
    name = "shapeless"

    def scores(self, images: torch.Tensor) -> torch.Tensor:
        return super().scores(images).flatten(1)


class _Raising(toy.PlainSelector):
    name = "raising"

    def scores(self, images: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("mat1 and mat2\nshapes cannot be multiplied")


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        (toy.BrokenSelector(), "'broken' returned NaN or infinite scores for image 'toy 0'"),
        (_Shapeless(), r"'shapeless' returned scores of shape \[1, 16\]; expected \[1, gh, gw\]"),
        (_Raising(), "'raising' failed on image 'toy 0': RuntimeError"),
    ],
)
def test_selectors_of_third_parties_that_fail(tmp_path: Path, selector: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        toy.sweep(tmp_path, groups=toy.toy_groups(selectors=[selector]))


class _OddRows(toy.ToyTask):
    def predict(self, samples: Any, reductions: Any) -> list[list[dict[str, Any]]]:
        return [[{"category": "a", "surplus": 1}] for _ in samples]


class _FewRows(toy.ToyTask):
    def predict(self, samples: Any, reductions: Any) -> list[list[dict[str, Any]]]:
        return []


class _SameIds(toy.ToyTask):
    def image_id(self, index: int) -> str:
        return "toy 1"


class _Infinite(toy.ToyTask):
    def compute_metrics(self, records: Any) -> list[MetricRow]:
        return [MetricRow("coverage", "all", None, float("inf"), 1)]


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (_OddRows(), "'toy-coverage', image 'toy 0': the columns of a row differ"),
        (_FewRows(), "gave rows of 0 images for 1"),
        (_SameIds(), "one image id to several images"),
        (_Infinite(), "infinite"),
    ],
)
def test_tasks_of_third_parties_that_fail(tmp_path: Path, task: toy.ToyTask, message: str) -> None:
    with pytest.raises(InputError, match=message):
        toy.sweep(tmp_path, groups=toy.toy_groups(task, selectors=[toy.NetSelector()]))


def test_downsample_runs_no_selector(tmp_path: Path) -> None:
    (record,) = toy.sweep(tmp_path, groups=toy.toy_groups(selectors=[DownsampleControl(8)], ratios=[0.5]))
    assert record.value("coverage", "all") == pytest.approx(0.5)
    assert not (tmp_path / "scores").exists()


def test_provenance_is_stored_beside_the_result(tmp_path: Path) -> None:
    groups = toy.toy_groups(selectors=[toy.PlainSelector()], ratios=[0.5])
    (record,) = run_sweep(groups, RunStore(tmp_path), SweepOptions(), toy.Recorder(), lambda: {"machine": "here"})
    text = (tmp_path / "provenance" / f"{record.fingerprint}.json").read_text()
    assert "here" in text and "group_seconds" in text
    assert "here" not in record.to_json()


def test_the_cost_of_a_cell_is_in_its_provenance(tmp_path: Path) -> None:
    groups = toy.toy_groups(selectors=[toy.NetSelector(), RandomControl(8)], ratios=[0.25, 0.5])
    records = toy.sweep(tmp_path, groups=groups)
    store = RunStore(tmp_path)
    costs = [store.read_provenance(r.fingerprint)["cost"] for r in records]
    assert all(cost["selector_ms"] > 0 and cost["model_ms"] > 0 for cost in costs)
    # 16 channels of 8 x 8 x 3 inputs for each of 25 patches, then tokens by tokens; a multiply-add is two.
    counted = [cost["selector_gflops"] * 1e9 for cost in costs]
    assert round(counted[0]) == 2 * 16 * (25 * 192 + 25 * 25)
    assert {n for n, r in zip(counted, records, strict=True) if r.selector.name == "random"} == {0.0}
    # Scores in the cache keep their cost.
    for path in (tmp_path / "cells").iterdir():
        path.unlink()
    again = toy.sweep(tmp_path, groups=groups)
    assert again == records
    found = [store.read_provenance(r.fingerprint)["cost"] for r in again]
    assert [cost["selector_gflops"] for cost in found] == [cost["selector_gflops"] for cost in costs]
    assert all(cost["selector_ms"] > 0 for cost in found)


class _CountingThreads(toy.PlainSelector):
    name = "counting-threads"
    seen: set[int]

    def scores(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.add(torch.get_num_threads())
        return super().scores(images)


@pytest.mark.parametrize(("options", "used"), [({}, 1), ({"threads": 2}, 2)])
def test_an_operation_takes_one_thread_unless_asked(tmp_path: Path, options: dict[str, Any], used: int) -> None:
    """Sums over parts of several threads are rounded otherwise, and would differ from machine to machine."""
    selector = _CountingThreads()
    selector.seen = set()
    groups = toy.toy_groups(toy.ToyTask(images=3), selectors=[selector], ratios=[0.5])
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        toy.sweep(tmp_path, groups=groups, **options)
        assert selector.seen == {used} and torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_progress_names_the_task_and_a_selector_that_is_alone(tmp_path: Path) -> None:
    recorder = toy.Recorder()
    toy.sweep(tmp_path / "many", recorder, toy.toy_groups(toy.ToyTask(100), ratios=(0.25,)), workers=0)
    assert recorder.labels == ["toy-coverage"] * 2  # once for each span
    recorder = toy.Recorder()
    one = toy.toy_groups(toy.ToyTask(100), [RandomControl(toy.PATCH)], (0.25,), (3,))
    toy.sweep(tmp_path / "one", recorder, one, workers=0)
    assert recorder.labels == ["random on toy-coverage, seed 3"] * 2
