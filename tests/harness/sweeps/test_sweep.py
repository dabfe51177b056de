"""A sweep from a file, and what the command line gives instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ltrp_bench.harness.evaluation.recipes import SelectorRecipe, TaskRecipe
from ltrp_bench.harness.sweeps.sweep import Sweep, effective_tables, read_sweep
from ltrp_bench.selectors.errors import BenchError, InputError, UsageError

TEXT = """\
selectors:
  - random
  - {name: random, label: fine, options: {patch_size: 4}}
  - {name: dino, weights: $FOLDER/dino.pth, label: ours}
tasks:
  - shapes-coverage
  - name: shapes-det
    label: small
    limit: 5
    model_weights: ~/model.pth
    options:
      score_threshold: 0.5
keep_ratios: [.5]
seeds: [3, 4]
limit: 9
out: $FOLDER/runs
engine: {name: serial, workers: 0, gpus_per_job: .5}
max_pixels: 1000
"""
FINE = SelectorRecipe(name="random", label="fine", options={"patch_size": 4})
DINO = SelectorRecipe(name="dino", weights="$FOLDER/dino.pth", label="ours")
SMALL = TaskRecipe(
    name="shapes-det",
    label="small",
    arguments={"limit": 5, "model_weights": "~/model.pth", "score_threshold": 0.5},
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, the home and `$FOLDER`, with the files that `TEXT` names."""
    monkeypatch.setenv("FOLDER", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in ("dino.pth", "model.pth", "other.pth"):
        (tmp_path / name).touch()
    return tmp_path


def read(text: str) -> Sweep:
    Path("s.yaml").write_text(text)
    return read_sweep("s.yaml")


def test_paths_stay_as_they_were_written(folder: Path) -> None:
    sweep = read(TEXT)
    assert sweep.selectors == (SelectorRecipe(name="random"), FINE, DINO)
    assert sweep.tasks == (TaskRecipe(name="shapes-coverage"), SMALL)
    assert sweep.defaults == {"limit": 9} and sweep.grid == {"keep_ratio": (0.5,), "seed": (3, 4)}
    assert sweep.compute == {"workers": 0, "max_pixels": 1000}
    assert sweep.workers == {"engine": "serial", "gpus_per_job": 0.5}
    assert sweep.output == {"out": "$FOLDER/runs"}
    assert sweep.choose((), (), ()) == (sweep.selectors, sweep.tasks)
    assert DINO.expanded().weights == f"{folder}/dino.pth"
    assert SMALL.expanded().arguments["model_weights"] == f"{folder}/model.pth"


def test_names_choose_from_a_file_and_add_to_it(folder: Path) -> None:
    sweep = read(TEXT)
    assert sweep.choose(["center", "ours"], ["small"], ["ours=other.pth"]) == (
        (SelectorRecipe(name="center"), SelectorRecipe(name="dino", weights="other.pth", label="ours")),
        (SMALL,),
    )
    assert sweep.choose(["random"], ["coco-det"], ()) == (
        (SelectorRecipe(name="random"), FINE),
        (TaskRecipe(name="coco-det"),),
    )


def test_without_a_file_names_are_needed() -> None:
    assert Sweep().choose(["random"], ["coco-det"], ()) == (
        (SelectorRecipe(name="random"),),
        (TaskRecipe(name="coco-det"),),
    )
    for selectors, tasks, option in (((), ["coco-det"], "--selector;"), (["random"], (), "--task;")):
        with pytest.raises(UsageError, match=f"give at least one {option}"):
            Sweep().choose(selectors, tasks, ())


@pytest.mark.parametrize(
    ("old", "new", "kind", "message"),
    [
        ("- random", "- rondom", UsageError, "s.yaml:2: no selector 'rondom'; did you mean 'random'?"),
        ("name: shapes-det", "name: shapes-dte", UsageError, "s.yaml:7: no task 'shapes-dte'; did you mean"),
        ("/dino.pth", "/none.pth", InputError, "s.yaml:4: weights of selector 'dino': no file /"),
        ("$FOLDER/dino", "$NOWHERE/dino", UsageError, "s.yaml:4: $NOWHERE/dino.pth: the environment variable NOWHERE"),
        ("~/model", "~/none", InputError, "s.yaml:10: model_weights of task 'shapes-det': no such file"),
        ("label: ours", "label: fine", UsageError, "s.yaml:4: two selectors are called 'fine': choose another label"),
        ("label: ours", "label: random", UsageError, "s.yaml:4: two selectors are called 'random'"),
        ("label: small", "label: shapes-coverage", UsageError, "s.yaml:8: two tasks are called 'shapes-coverage'"),
        ("score_threshold: 0.5", "limit: 3", UsageError, "s.yaml:12: limit is given twice"),
        ("score_threshold: 0.5", "score_treshold: 0.5", UsageError, "s.yaml:12: task 'shapes-det' has no option 'sc"),
        ("score_threshold: 0.5", "score_threshold: x", UsageError, "s.yaml:12: task 'shapes-det': score_threshold mu"),
        ("patch_size: 4", "patch_size: big", UsageError, "s.yaml:3: selector 'random': patch_size must be a whole num"),
        ("patch_size: 4", "weights: a", UsageError, "s.yaml:3: selector 'random' has no option 'weights'; there are "),
    ],
)
def test_mistakes_have_their_line(folder: Path, old: str, new: str, kind: type[BenchError], message: str) -> None:
    with pytest.raises(kind) as caught:
        sweep = read(TEXT.replace(old, new, 1))
        sweep.choose((), (), ())
        sweep.check_options()
    assert str(caught.value).startswith(message)


def test_no_selector_in_a_file_is_said_with_its_name(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"give at least one --selector, or write it into s\.yaml; "):
        read("tasks: [coco-det]\n").choose((), (), ())


def test_what_was_run_reads_as_the_same_sweep(folder: Path) -> None:
    sweep = read(TEXT)
    compute: dict[str, Any] = {"device": "cpu", "skip_bad_images": True, "max_pixels": None}
    tables = effective_tables(
        sweep.selectors,
        sweep.tasks,
        grid={"keep_ratio": (0.5,), "seed": (3,), "full": False},
        compute=compute,
        workers={"engine": "auto", "jobs": None, "address": "there:1"},
        out="runs",
    )
    again = read(yaml.safe_dump(tables))
    assert (again.selectors, again.tasks, again.defaults) == (sweep.selectors, sweep.tasks, {})
    assert again.grid == {"keep_ratio": (0.5,), "seed": (3,), "full": False} and again.output == {"out": "runs"}
    assert again.compute == {"device": "cpu", "skip_bad_images": True}
    assert again.workers == {"engine": "auto", "address": "there:1"}
