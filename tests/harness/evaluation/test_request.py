"""From names and option strings to selectors and tasks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import toy_bench as toy

from ltrp_bench.harness.evaluation.options import Request
from ltrp_bench.harness.evaluation.recipes import SelectorRecipe, TaskRecipe
from ltrp_bench.harness.evaluation.request import (
    announce_assumptions,
    build_selector,
    equipped,
    resolve_request,
    selector_recipes,
    weights_tags,
)
from ltrp_bench.harness.evaluation.task_arguments import task_recipes
from ltrp_bench.selectors.controls import RandomControl
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.registry import create_task

SHAPES = ("shapes-coverage", "shapes-det")


def _arguments(notices: list[str] | None = None, **options: Any) -> dict[str, dict[str, Any]]:
    request = Request(selectors=("random",), tasks=SHAPES, **options)
    recipes = task_recipes(request, ([] if notices is None else notices).append)
    return {one.name: dict(equipped(one, request.device, 1).arguments) for one in recipes}


def test_every_task_is_paired_with_every_selector_once() -> None:
    request = Request(
        selectors=("random", "ltrp", "random"),
        tasks=("shapes-coverage", "shapes-coverage"),
        shared={"limit": 3},
        selector_options=("random.patch_size=4",),
    )
    pairs = resolve_request(request, pytest.fail)
    assert [(selector.name, task.info.name) for selector, task in pairs] == [
        ("random", "shapes-coverage"),
        ("ltrp.shapes", "shapes-coverage"),
    ]
    assert pairs[0][1] is pairs[1][1] and pairs[0][1].images == 3
    assert pairs[0][0].selector.patch_size == 4


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request(selectors=(), tasks=SHAPES), "give at least one --selector"),
        (Request(selectors=("random",), tasks=()), "give at least one --task"),
        (Request(selectors=("random", "rondom"), tasks=SHAPES), "no selector 'rondom'; did you mean 'random'"),
        (Request(selectors=("random",), tasks=("shapes-dot",)), "no task 'shapes-dot'; did you mean 'shapes-det'"),
    ],
)
def test_names_are_checked_first(request_: Request, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        resolve_request(request_, pytest.fail)


def test_an_unknown_split_is_found_before_a_task_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ltrp_bench.harness.evaluation.request.create_task", pytest.fail)
    with pytest.raises((UsageError, InputError), match="nowhere"):
        resolve_request(Request(selectors=("random",), tasks=SHAPES, shared={"split": "nowhere.csv"}), pytest.fail)


def test_weights_of_the_domain_and_fold_of_a_task() -> None:
    assert weights_tags(create_task("shapes-coverage", limit=1)) == ("shapes", "shapes0")
    assert weights_tags(create_task("shapes-coverage", limit=1, fold=1)) == ("shapes", "shapes1")
    assert weights_tags(toy.ToyTask()) == ("shapes",)


def test_shared_options_reach_the_tasks_that_have_them() -> None:
    notices: list[str] = []
    arguments = _arguments(notices, shared={"limit": 3, "model": None}, task_options=("score_threshold=0.5",))
    assert arguments == {
        "shapes-coverage": {"limit": 3},
        "shapes-det": {"limit": 3, "score_threshold": 0.5, "device": "cpu"},
    }
    assert notices == ["--task-option score_threshold does not apply to shapes-coverage"]


def test_options_of_one_task() -> None:
    arguments = _arguments(task_options=("shapes-det.fold=1", "shapes-det.limit=9"), device="cuda")
    assert arguments == {"shapes-coverage": {}, "shapes-det": {"fold": 1, "limit": 9, "device": "cuda"}}


def test_a_folder_for_one_task_or_for_all() -> None:
    tasks = ("coco-coverage", "coco-det")
    request = Request(selectors=("random",), tasks=tasks, data=("all", "coco-det=one"))
    found = task_recipes(request, pytest.fail)
    assert {one.name: one.arguments["data"] for one in found} == {"coco-coverage": "all", "coco-det": "one"}


def test_one_task_and_selector_several_times() -> None:
    """Options of a name reach all entries of it, those of a label one; what flags give wins over recipes."""
    request = Request(
        selectors=(SelectorRecipe(name="random", options={"patch_size": 4}), "random", SelectorRecipe(name="random")),
        tasks=(
            TaskRecipe(name="shapes-coverage", arguments={"fold": 1, "limit": 9}, label="other fold"),
            TaskRecipe(name="shapes-coverage"),
        ),
        defaults={"limit": 5, "narrow_as": "unseen"},
        shared={"limit": 2},
        task_options=("other fold.images=7", "shapes-coverage.seed=3"),
    )
    assert selector_recipes(request) == [
        SelectorRecipe(name="random", options={"patch_size": 4}),
        SelectorRecipe(name="random"),
    ]
    common = {"limit": 2, "narrow_as": "unseen", "seed": 3}
    assert task_recipes(request, pytest.fail) == [
        TaskRecipe(name="shapes-coverage", arguments={**common, "fold": 1, "images": 7}, label="other fold"),
        TaskRecipe(name="shapes-coverage", arguments=common),
    ]
    pairs = resolve_request(request, pytest.fail)
    assert [(one.selector.patch_size, task.task.split.label_set) for one, task in pairs] == [
        *((4, "shapes-seen/1"), (8, "shapes-seen/1"), (4, "shapes-seen/0"), (8, "shapes-seen/0"))
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": ("there",)}, "--data: none of the tasks in this run has such an option"),
        (
            {"data": ("SHAPES-DET=/there",)},
            r"--data SHAPES-DET=/there: 'SHAPES-DET' is .*; did you mean 'shapes-det'\?",
        ),
        ({"shared": {"no_such": 1}}, r"--no-such: none of the tasks .* \(shapes-coverage, shapes-det\)"),
        ({"task_options": ("score_threshold",)}, "--task-option score_threshold: write TASK.key=value or key=value"),
        ({"task_options": ("coco-det.fold=1",)}, "'coco-det' is not in this run"),
    ],
)
def test_options_that_belong_to_no_task(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        _arguments(**options)


class Assuming(RandomControl):
    name = "assuming"
    assumptions = ("mean and std are ImageNet's",)

    def __init__(self, patch_size: int = 8) -> None:
        super().__init__(patch_size)
        self.readings = {"rate": 1.0}


def test_what_was_assumed_is_said_once_and_readings_are_part_of_the_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"{__name__}:Assuming"
    notices: list[str] = []
    request = Request(selectors=(name, "random"), tasks=("shapes-coverage",), shared={"limit": 1})
    pairs = resolve_request(request, notices.append)
    assert notices == [f"{name}: mean and std are ImageNet's"]
    identities = [entry.info.identity.value for entry, _ in pairs]
    assert identities[0]["readings"] == {"rate": 1.0} and "readings" not in identities[1]
    monkeypatch.setattr(pairs[0][1].task, "assumptions", ("classes are in the order of folders",))
    announce_assumptions([*pairs[0], *pairs[1]], notices.append)
    assert notices[1:] == [notices[0], "shapes-coverage: classes are in the order of folders"]


def test_an_edit_of_the_users_own_selector_changes_its_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "from ltrp_bench.selectors.controls import RandomControl\n\n\nclass Mine(RandomControl):\n    name = 'mine'\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    identities = []
    for module, text in (("own_a", code), ("own_b", code + "# edited\n")):
        (tmp_path / f"{module}.py").write_text(text)
        name = f"{module}:Mine"
        (recipe,) = selector_recipes(Request(selectors=(name,), tasks=()))
        identities.append(build_selector(replace(recipe, tags=("photos",))).info.identity.value)
    assert len(identities[0]["source"]) == 64 and identities[0]["source"] != identities[1]["source"]
