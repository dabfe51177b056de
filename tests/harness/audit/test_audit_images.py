"""The images of an audit: brought to one size, flipped with their ground truth, and queried as a run does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import toy_bench as toy
from broken_selectors import PATCH, BatchStatistics, Sound

from ltrp_bench.harness.audit.audit_images import AuditImages
from ltrp_bench.harness.evaluation.scorer import Scorer
from ltrp_bench.selectors.contract import check_contract
from ltrp_bench.selectors.controls import OracleControl


@pytest.fixture(scope="module")
def images() -> AuditImages:
    return AuditImages.of(toy.ToyTask(images=14), 12)


def test_the_first_images_of_a_task(images: AuditImages) -> None:
    assert len(images) == 12 and images.ids == tuple(f"toy {i}" for i in range(12))
    assert len(AuditImages.of(toy.ToyTask(images=3), 12)) == 3


def test_images_of_several_sizes_are_brought_to_one(images: AuditImages) -> None:
    assert {one.image.shape for one in images.samples} == {(40, 40, 3), (32, 48, 3)}
    same = images.one_size()
    assert {one.image.shape for one in same.samples} == {(40, 40, 3)}
    assert {one.shape for one in same.objects} == {(5, 5)} == set(same.grids) and same.ids == images.ids
    assert same.one_size() is same
    found = {f.check: f for f in check_contract(same.probe(BatchStatistics(), "cpu"))}
    assert found["batch"].status == "broken"
    found = {f.check: f for f in check_contract(same.probe(OracleControl(PATCH), "cpu"))}
    assert found["order"].status == "kept"


@pytest.mark.parametrize("axis", [0, 1])
def test_flips_take_the_ground_truth_along(images: AuditImages, axis: int) -> None:
    flipped = images.mirrored(axis)
    for one, other in zip(images.samples, flipped.samples, strict=True):
        np.testing.assert_array_equal(np.flip(one.image, axis), other.image)
    for objects, other_objects in zip(images.objects, flipped.objects, strict=True):
        np.testing.assert_array_equal(np.flip(objects, axis), other_objects)
    assert flipped.ids == images.ids


def test_a_probe_gives_the_scores_of_a_run(images: AuditImages) -> None:
    run = Scorer(Sound(), torch.device("cpu"), 1).scores(images.samples, images.grids, 0, images.objects)
    for one, other in zip(images.probe(Sound(), "cpu").scores(), run, strict=True):
        np.testing.assert_array_equal(one, other)
