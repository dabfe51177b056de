"""The catalog: names and defaults of all options, bundled splits, entry points."""

from __future__ import annotations

import json
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from ltrp_bench.tasks.catalog import CATALOG
from ltrp_bench.tasks.registry import GROUP, create_task, default_split, option_names
from ltrp_bench.tasks.splits.split import load_split

WITHOUT_SPLIT = {"nuswide-multilabel"}

OPTIONS = Path(__file__).with_name("task_options.json")
"""Task -> option -> default, as they were when every task was a function with these parameters; users rely on them."""


def test_names_and_defaults_of_options_are_stable() -> None:
    assert {name: spec.option_defaults for name, spec in CATALOG.items()} == json.loads(OPTIONS.read_text())


def test_every_entry_point_names_its_spec() -> None:
    own = {e.name: e for e in entry_points(group=GROUP) if e.value.startswith("ltrp_bench.")}
    assert own.keys() == CATALOG.keys()
    assert all(own[name].load() is spec for name, spec in CATALOG.items())


@pytest.mark.parametrize("task", CATALOG)
def test_every_task_has_a_split_that_ships(task: str) -> None:
    name, note = default_split(task)
    assert "\n" not in note and "split" in option_names(task)
    if task in WITHOUT_SPLIT:
        assert name is None and note == "no bundled split for its categories"
    else:
        assert name is not None and load_split(name).states
        assert name.startswith("shapes/") == task.startswith("shapes-")


def test_the_default_split_is_the_one_that_is_used(shared_dir: Path) -> None:
    """Tasks without a model, built without a split; of two layouts the note names the other one."""
    folders = {"coco-coverage": "coco", "stuff-coverage": "coco_stuff", "voc-coverage": "voc2012"}
    folders["ade20k-coverage"] = "ade20k"
    built = {name: create_task(name, shared_dir / "data" / folder, limit=1) for name, folder in folders.items()}
    built["shapes-coverage"] = create_task("shapes-coverage", images=1)
    for name, task in built.items():
        split, _ = default_split(name)
        assert split is not None and task.split.fingerprint() == load_split(split).fingerprint(), name
    assert "imagenet1k_cocostuff171" in default_split("stuff-coverage")[1]
    assert default_split("shapes-coverage") == ("shapes/0", "fold 0; the other fold swaps the halves: shapes/1")
