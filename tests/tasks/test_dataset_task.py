"""Common parts of tasks on a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.base import Downsample, Keep
from ltrp_bench.tasks.catalog import shapes_coverage
from ltrp_bench.tasks.splits.split import shapes_split


@pytest.fixture(scope="module")
def task() -> Any:
    return shapes_coverage(images=3)


def test_identity_holds_data_and_split(task: Any) -> None:
    split = shapes_split(0)
    own = {"data": task.dataset.revision, "images": 3, "split": split.fingerprint(), "label_set": split.label_set}
    assert task.identity() == {**own, "narrow_as": "seen", "grid": [12, 12]}
    task.identity()["images"] = 4
    assert task.identity()["images"] == 3, "a copy"


def test_ids_and_groups_are_the_data_sets(task: Any) -> None:
    assert [task.image_id(i) for i in range(len(task))] == list(task.dataset.ids)
    for category, state in task.split.states.items():
        assert task._group_of(category) == state


def test_a_selection_on_another_grid_is_refused(task: Any) -> None:
    task._check_grid(Keep(np.ones((12, 12), bool)), (12, 12))
    task._check_grid(Downsample(0.5), (12, 12))
    with pytest.raises(InputError, match=r"shapes-coverage: a selection of \(3, 4\) patches, the grid is \(12, 12\)"):
        task._check_grid(Keep(np.ones((3, 4), bool)), (12, 12))


def test_object_masks_are_the_annotations(task: Any) -> None:
    sample = task.load(0)
    masks = task.object_masks(sample)
    truth = task.dataset.truth(0, masks=True)
    assert [name for name, _ in masks] == [item.category for item in truth.objects]
    assert all(mask.dtype == bool and mask.shape == sample.image.shape[:2] for _, mask in masks)
    assert [mask.sum() for _, mask in masks] == [item.area for item in truth.objects]


def test_a_split_without_a_category_is_refused(tmp_path: Path) -> None:
    mine = tmp_path / "mine.csv"
    mine.write_text("category,state\ncat,seen\n")
    with pytest.raises(InputError, match=r"shapes-coverage: .* and 11 others not in the split 'mine' \(1 categories\)"):
        shapes_coverage(images=1, split=mine)
