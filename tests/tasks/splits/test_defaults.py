"""What a task takes for its split where none is given."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.tasks import registry
from ltrp_bench.tasks.registry import create_task, option_names
from ltrp_bench.tasks.splits.defaults import default_split
from ltrp_bench.tasks.splits.split import load_split

OWN = sorted(e.name for e in entry_points(group=registry.GROUP) if e.value.startswith("ltrp_bench."))
WITHOUT = {"nuswide-multilabel"}  # no split of its 81 concepts ships


@pytest.mark.parametrize("task", OWN)
def test_every_task_that_ships_has_a_split_that_ships(task: str) -> None:
    name, note = default_split(task)
    assert "\n" not in note and "split" in option_names(task)
    if task in WITHOUT:
        assert name is None and note
    else:
        assert name is not None and load_split(name).states
        assert name.startswith("shapes/") == task.startswith("shapes-")


def test_it_is_what_the_task_takes(shared_dir: Path) -> None:
    """Tasks without a model, built without a split, have that split; of two layouts the note names the other one."""
    where = {"coco-coverage": "coco", "stuff-coverage": "coco_stuff", "voc-coverage": "voc2012"}
    where["ade20k-coverage"] = "ade20k"
    built = {name: create_task(name, shared_dir / "data" / folder, limit=1) for name, folder in where.items()}
    built["shapes-coverage"] = create_task("shapes-coverage", images=1)
    for name, task in built.items():
        said, _ = default_split(name)
        assert said is not None and task.split.fingerprint() == load_split(said).fingerprint(), name
    assert "imagenet1k_cocostuff171" in default_split("stuff-coverage")[1]
    name, note = default_split("shapes-coverage")
    assert name == "shapes/0" and "shapes/1" in note


@pytest.fixture
def foreign(tmp_path: Path) -> Iterator[None]:
    """Somebody's own tasks: folds of a cross-validation, a split of their own, neither."""
    (tmp_path / "foreign_tasks.py").write_text(
        "def folds(fold=3, split=None): ...\ndef own(split='/data/mine.csv', fold=0): ...\ndef bare(limit=None): ...\n"
    )
    info = tmp_path / "foreign_tasks-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign-tasks\nVersion: 1.0\n")
    lines = "".join(f"{name} = foreign_tasks:{name}\n" for name in ("folds", "own", "bare"))
    (info / "entry_points.txt").write_text(f"[{registry.GROUP}]\n{lines}")
    sys.path.insert(0, str(tmp_path))
    registry._installed.cache_clear()
    yield
    sys.path.remove(str(tmp_path))
    sys.modules.pop("foreign_tasks", None)
    registry._installed.cache_clear()


@pytest.mark.usefixtures("foreign")
def test_nothing_is_made_up_for_tasks_of_others() -> None:
    assert default_split("own") == ("/data/mine.csv", "")
    for task in ("folds", "bare"):
        assert default_split(task) == (None, "no split of its categories ships")


def test_a_wrong_task_is_one_line() -> None:
    with pytest.raises(UsageError, match="did you mean 'coco-det'"):
        default_split("coco-dett")
