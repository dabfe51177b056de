"""The whole image, added to a plan where its cell is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
import toy_bench as toy

from ltrp_bench.harness.evaluation.options import Request
from ltrp_bench.harness.evaluation.plan import CellGroup, plan
from ltrp_bench.harness.evaluation.request import resolve_request
from ltrp_bench.harness.evaluation.whole_image import add_whole_images
from ltrp_bench.results.store.run_store import RunStore
from ltrp_bench.selectors.controls import RandomControl
from ltrp_bench.selectors.registry import identity


def _groups(seeds: tuple[int, ...] = (0,), reduction: str = "fill", *names: str) -> list[CellGroup]:
    """Cells of the toy task, which is one with a model, and of others of its kind if numbers of images are given."""
    pairs = []
    for images in map(int, names or ("20",)):
        task = toy.ToyTask(images=images)
        task.reduction = reduction  # type: ignore[assignment]
        pairs += toy.entries(task, toy.PlainSelector(), RandomControl(8))
    return plan(pairs, [0.25, 0.5], seeds, pytest.fail)


def _added(groups: list[CellGroup], folder: Path, notices: list[str]) -> list[tuple[str, int, float]]:
    """Cells of the whole image; all others must be as before, in order."""
    found = add_whole_images(groups, RunStore(folder), notices.append)
    assert [one for one in found if one.selector.name != "full"] == groups
    return [(one.selector.name, one.seed, cell.keep_ratio) for one in found if one not in groups for cell in one.cells]


def test_a_task_with_a_model_gets_the_whole_image(tmp_path: Path) -> None:
    notices: list[str] = []
    assert _added(_groups((3, 1)), tmp_path, notices) == [("full", 3, 1.0)]
    assert notices == [
        "full (the whole image) is also run on toy-coverage: retention and gaps are measured against it; --no-full "
        "leaves it out"
    ]
    # It is the cell that `--selector full` gives.
    groups = add_whole_images(_groups(), RunStore(tmp_path), notices.append)
    assert groups[-1].selector.info.identity.value == identity("full", domain="shapes")
    assert _added(_groups(reduction="drop"), tmp_path, notices) == [("full", 0, 1.0)]
    notices.clear()
    assert _added(_groups(reduction="none"), tmp_path, notices) == [] and notices == []


def test_each_task_gets_its_own_after_its_cells(tmp_path: Path) -> None:
    notices: list[str] = []
    groups = add_whole_images(_groups((0,), "fill", "20", "12"), RunStore(tmp_path), notices.append)
    names = [(group.selector.name, group.task.images) for group in groups]
    assert names == [("plain", 20), ("random", 20), ("full", 20), ("plain", 12), ("random", 12), ("full", 12)]
    assert len(notices) == 1 and notices[0].count("toy-coverage") == 1


def test_a_named_whole_image_is_not_added_again(tmp_path: Path) -> None:
    request = Request(selectors=("full", "random"), tasks=("shapes-det",), shared={"limit": 4})
    groups = plan(resolve_request(request, print), [1.0], [0], pytest.fail)
    assert add_whole_images(groups, RunStore(tmp_path), pytest.fail) == groups


def test_a_repeated_run_has_the_same_plan_and_evaluates_nothing(tmp_path: Path) -> None:
    notices: list[str] = []
    first = add_whole_images(_groups(), RunStore(tmp_path), notices.append)
    records = toy.sweep(tmp_path, groups=first)
    assert records[-1].selector.name == "full" and records[-1].value("coverage", "all") == 1.0
    progress = toy.Recorder()
    again = add_whole_images(_groups(), RunStore(tmp_path), pytest.fail)
    assert [group.label for group in again] == [group.label for group in first]
    assert toy.sweep(tmp_path, progress, groups=again) == records and progress.worked == 0
    # The whole image does not depend on the seed.
    assert _added(_groups((1,)), tmp_path, notices=[]) == []
    # Other images are another task.
    assert _added(_groups((1,), "fill", "12"), tmp_path, notices) == [("full", 1, 1.0)] and len(notices) == 2


def test_an_interrupted_run_ends_like_a_whole_one(tmp_path: Path) -> None:
    whole = add_whole_images(_groups(), RunStore(tmp_path / "whole"), lambda line: None)
    toy.sweep(tmp_path / "whole", groups=whole)
    for finished in (0, 1):
        groups = add_whole_images(_groups(), RunStore(tmp_path / "parts"), lambda line: None)
        with pytest.raises(KeyboardInterrupt):
            toy.sweep(tmp_path / "parts", toy.Recorder(interrupt_after=finished), groups=groups)
    groups = add_whole_images(_groups(), RunStore(tmp_path / "parts"), lambda line: None)
    toy.sweep(tmp_path / "parts", groups=groups)
    assert toy.contents(tmp_path / "whole") == toy.contents(tmp_path / "parts")


def test_a_damaged_record_of_another_cell_does_not_stop_a_run(tmp_path: Path) -> None:
    notices: list[str] = []
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells" / f"{'0' * 64}.json").write_text("{")
    assert _added(_groups(), tmp_path, notices) == [("full", 0, 1.0)] and len(notices) == 1
