"""Measures of scores against maps made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from broken_selectors import PATCH, NaNOnOne, Sound

from ltrp_bench.harness.audit.audit_images import AuditImages
from ltrp_bench.harness.audit.measures import (
    Mean,
    agreement,
    center_bias,
    flip_invariance,
    measure,
    overlap,
    spearman,
    tied,
)
from ltrp_bench.harness.evaluation.plan import selector_entry
from ltrp_bench.selectors.controls import centre_map
from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.catalog import shapes_coverage


def test_measures_against_hand_made_maps() -> None:
    assert tied(np.zeros((2, 2))) == 1 and tied(np.arange(4.0).reshape(2, 2)) == 0
    assert tied(np.array([[1.0, 1.0], [2.0, 3.0]])) == pytest.approx(1 / 3)
    assert spearman(np.zeros(4), np.arange(4.0)) is None
    assert spearman(np.arange(5.0), np.array([0.0, 1.0, 4.0, 3.0, 2.0])) == pytest.approx(0.6)
    left = np.zeros((2, 4))
    left[:, :2] = 1
    assert overlap(left, left, "a", 0.5) == 1 and overlap(left, 1 - left, "a", 0.5) == 0
    ramp = np.arange(12.0).reshape(3, 4)
    mean = flip_invariance([ramp, np.zeros((3, 4))], [np.flip(ramp, 1), ramp], 1)
    assert mean.value == pytest.approx(1) and mean.images == 1
    assert flip_invariance([ramp], [ramp], 0).value == pytest.approx(spearman(ramp, ramp[::-1]))


def test_the_center_map_itself_has_a_center_bias_of_one() -> None:
    near = centre_map((4, 6)).astype(float)
    assert center_bias([near, -near]).value == pytest.approx(0) and center_bias([near]).value == pytest.approx(1)
    assert center_bias([np.zeros((4, 6))]) == Mean(None, 0)


def test_agreement_leaves_constant_maps_out_of_the_correlation_alone() -> None:
    ramp, flat = np.arange(16.0).reshape(4, 4), np.zeros((4, 4))
    rank, shared = agreement([ramp, flat], [ramp, ramp], ["a", "b"])
    assert rank == Mean(pytest.approx(1), 1) and shared.images == 2 and shared.value is not None
    assert Mean.of([None, 1.0, 3.0]) == Mean(2.0, 2) and Mean.of([None]).json() == {"value": None, "images": 0}


def test_json_keys() -> None:
    images = AuditImages.of(shapes_coverage(images=2), 2)
    entries = [selector_entry(kind(), name, {}) for kind, name in ((Sound, "a"), (Sound, "b"))]
    got = measure(entries[0], entries[1:], images, "cpu").json()
    assert list(got) == ["tied_neighbours", "constant_images", "centre_bias", "flip_invariance", "agreement"]
    assert list(got["flip_invariance"]) == ["horizontal", "vertical"]
    assert got["agreement"] == {
        "b": {
            "spearman": {"value": pytest.approx(1), "images": 2},
            "overlap_at_0.25": {"value": 1.0, "images": 2},
        }
    }


def test_a_selector_that_fails_is_named() -> None:
    images = AuditImages.of(shapes_coverage(images=6), 6)
    with pytest.raises(InputError, match="selector 'theirs' fails on image '000004': 1 of 144 scores"):
        measure(selector_entry(Sound(), "mine", {}), [selector_entry(NaNOnOne(), "theirs", {})], images, "cpu")
    assert images.grids[0] == (96 // PATCH, 96 // PATCH)
