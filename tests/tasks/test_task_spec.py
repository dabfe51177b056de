"""Values of options are checked against their types before anything is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.tasks.catalog import (
    CATALOG,
    coco_coverage,
    coco_det,
    imagenet_cls,
    nuswide_multilabel,
    shapes_coverage,
    shapes_det,
    shapes_multilabel,
    shapes_seg,
    voc_det,
)
from ltrp_bench.tasks.data.base import RandomLimit, limited
from ltrp_bench.tasks.task_spec import TaskSpec


@pytest.mark.parametrize(
    ("spec", "given", "message"),
    [
        (
            coco_det,
            {"pach": 8},
            "task 'coco-det' has no option 'pach'; its options: limit, limit_seed, data, subset, exif, strict, ",
        ),
        (shapes_det, {"patch": 8}, "has no option 'patch'"),
        (shapes_seg, {"model": "x"}, "has no option 'model'"),
        (coco_coverage, {"device": "cpu"}, "has no option 'device'"),
        (coco_det, {"reduction": None}, "reduction must be one of drop, fill, got None"),
        (coco_det, {"narrow_as": "narrow"}, "narrow_as must be one of seen, unseen, got 'narrow'"),
        (voc_det, {"rule": "07"}, "rule must be one of area, 11points, got '07'"),
        (shapes_multilabel, {"head": "mlp"}, "head must be one of ml-decoder, linear or null, got 'mlp'"),
        (shapes_coverage, {"fold": 2}, "fold must be one of 0, 1, got 2"),
        (shapes_coverage, {"fold": True}, "fold must be one of 0, 1, got True"),
        (shapes_coverage, {"images": "many"}, "images must be a whole number, got 'many'"),
        (shapes_coverage, {"images": True}, "images must be a whole number, got True"),
        (shapes_coverage, {"limit": 2.5}, "limit must be a whole number or null, got 2.5"),
        (coco_coverage, {"grid": "14"}, "grid must be a whole number or a list of whole numbers, got '14'"),
        (coco_coverage, {"grid": [1.5, 2]}, "grid must be a whole number or a list of whole numbers"),
        (coco_coverage, {"split": 3}, "split must be text or a path or null, got 3"),
        (imagenet_cls, {"crop_pct": "0.9"}, "crop_pct must be a number or null, got '0.9'"),
    ],
)
def test_wrong_options_are_one_line(spec: TaskSpec, given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        spec(**given)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_values_of_the_right_type_are_taken() -> None:
    task = shapes_coverage(images=np.int64(3), fold=1, limit=None, split=None, narrow_as="unseen")
    assert len(task) == 3 and task.split.label_set == "shapes-seen/1" and task.identity()["narrow_as"] == "unseen"


def test_the_folder_may_come_first() -> None:
    with pytest.raises(UsageError, match="no folder|give"):
        coco_coverage()
    for given in ({}, {"data": Path("/nowhere")}):
        with pytest.raises(Exception, match="/nowhere"):
            coco_coverage(*([] if given else ["/nowhere"]), **given)


def test_a_task_without_a_split_needs_one() -> None:
    with pytest.raises(UsageError, match=r"nuswide-multilabel has no bundled split: .* --split FILE"):
        nuswide_multilabel("/nowhere")


def test_specs_are_complete() -> None:
    for name, spec in CATALOG.items():
        assert name == spec.name and "\n" not in spec.summary and spec.summary.endswith(".")
        assert spec.fixed.keys().isdisjoint(spec.option_defaults)


@pytest.mark.parametrize("name", [name for name in CATALOG if name.startswith("shapes-")])
def test_a_random_subset_is_the_same_for_all_tasks_and_part_of_the_identity(name: str) -> None:
    weights = {} if name == "shapes-coverage" else {"random_weights": 0}
    first, drawn = (CATALOG[name](limit=5, **weights, **seed) for seed in ({}, {"limit_seed": 2}))
    ids = [drawn.image_id(index) for index in range(5)]
    assert ids == list(limited([f"{number:06d}" for number in range(1000)], RandomLimit(5, 2)))
    assert "limit_seed" not in first.identity() and drawn.identity() == {**first.identity(), "limit_seed": 2}
    # The images are those of their ids.
    whole = CATALOG[name](**weights)
    assert (drawn.load(4).image == whole.load(int(ids[4])).image).all() and int(ids[4]) > 4


def test_a_seed_needs_a_limit() -> None:
    with pytest.raises(UsageError, match="limit_seed draws some of the images: give limit as well"):
        CATALOG["shapes-coverage"](limit_seed=2)
