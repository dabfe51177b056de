"""Suites that ship with the package are valid sweeps."""

from __future__ import annotations

from pathlib import Path

import pytest

from ltrp_bench.harness.sweeps.suites import find_document, suite_names, suite_title
from ltrp_bench.harness.sweeps.sweep import read_sweep
from ltrp_bench.selectors.errors import InputError, UsageError


@pytest.mark.parametrize("name", suite_names())
def test_a_suite_has_a_title_and_names_what_there_is(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("CHECKPOINTS", "COCO", "VOC", "COCO_STUFF", "ADE20K", "IMAGENET"):
        monkeypatch.setenv(variable, str(tmp_path))
    sweep = read_sweep(name)
    for one in sweep.selectors:
        if one.weights is not None:
            (tmp_path / one.weights.removeprefix("$CHECKPOINTS/")).touch()
    for one in sweep.tasks:
        (tmp_path / one.arguments.get("model_weights", "none").removeprefix("$CHECKPOINTS/")).touch()
    selectors, tasks = sweep.choose((), (), ())
    assert (selectors, tasks) == (sweep.selectors, sweep.tasks) and selectors and tasks
    assert suite_title(name).endswith(".") and {"ltrp", "random"} <= {one.name for one in selectors}
    sweep.check_options()


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("paper/imagenet", "imagenet-cls"),
        ("paper/coco-multilabel", "coco-multilabel"),
        ("paper/coco-det", "coco-det"),
        ("paper/ade20k-seg", "ade20k-seg"),
    ],
)
def test_the_papers_suites_keep_49_and_147_of_196_patches(name: str, task: str) -> None:
    sweep = read_sweep(name)
    assert [round(196 * ratio) for ratio in sweep.grid["keep_ratio"]] == [49, 147]
    assert [one.name for one in sweep.tasks] == [task]
    # Without the checkpoints, what is missing is said with its line; selectors without weights need none.
    assert sweep.choose(["random", "dpc-knn"], (), (), "other.pth") == (
        (sweep.selectors[10], sweep.selectors[9]),
        sweep.tasks,
    )
    with pytest.raises((UsageError, InputError), match=rf"^{name}:\d+: "):
        sweep.choose((), (), ())


@pytest.mark.parametrize("name", [name for name in suite_names() if name.startswith("real/")])
def test_a_suite_of_real_models_marks_a_judge_that_also_ranks(name: str) -> None:
    sweep = read_sweep(name)
    assert sweep.grid["keep_ratio"] == (0.1, 0.25, 0.5, 0.75, 0.9)
    rankers = {one.weights for one in sweep.selectors} - {None}
    shared = [one.label for one in sweep.tasks if one.arguments.get("model_weights") in rankers]
    assert shared == (["ViT-Tiny, drop"] if name == "real/imagenet" else [])
    # In the fill track, a smaller whole image stands beside every selector.
    assert ("downsample" in {one.name for one in sweep.selectors}) == (name != "real/coverage")


def test_files_come_before_suites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_document("shapes/quick").name == "shapes/quick"
    (tmp_path / "shapes").mkdir()
    (tmp_path / "shapes" / "quick").write_text("selectors: [center]\n")
    assert find_document("shapes/quick").data == {"selectors": ["center"]}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("shapes/quik", "no file or suite 'shapes/quik'; did you mean 'shapes/quick'?"),
        ("sweep.yml", "--config sweep.yml: no such file"),
    ],
)
def test_what_is_not_there_is_one_line(given: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_document(given)
    assert str(caught.value).startswith(message)
