"""Areas of masks in patches."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ltrp_bench.tasks.metrics.patch_coverage import coverage_scores, covered_share, even_edges, patch_areas, patch_edges


@settings(max_examples=60)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 16), st.integers(1, 16), st.integers(0, 99))
def test_patch_areas_add_up_and_agree_with_fine_sampling(h: int, w: int, gh: int, gw: int, seed: int) -> None:
    mask = np.random.default_rng(seed).random((h, w)) < 0.4
    edges = even_edges(h, gh), even_edges(w, gw)
    areas = patch_areas(mask, *edges)
    assert areas.sum() == pytest.approx(mask.sum())
    fine = np.kron(mask, np.ones((gh, gw))).reshape(gh, h, gw, w).sum((1, 3)) / (gh * gw)
    np.testing.assert_allclose(areas, fine, atol=1e-9)
    patch = np.diff(edges[0])[:, None] * np.diff(edges[1])
    np.testing.assert_allclose(covered_share(mask, *edges), fine / patch, atol=1e-6)


def test_patch_edges_end_with_the_image() -> None:
    assert patch_edges(100, 50, 16) == (0.0, 32.0, 64.0, 96.0, 100.0)
    assert patch_edges(96, 96, 8) == even_edges(96, 12)


def test_an_empty_mask_has_no_area() -> None:
    assert patch_areas(np.zeros((4, 6), bool), even_edges(4, 2), even_edges(6, 3)).tolist() == [[0.0] * 3] * 2
    assert covered_share(np.ones((4, 6), bool), even_edges(4, 3), even_edges(6, 4)).dtype == np.float32


def test_shares_of_a_resized_mask_stay_within_0_and_1() -> None:
    """Resizing passes both ends by rounding."""
    mask = np.array([[1.000001, -0.000001], [1.0, 0.25]])
    assert covered_share(mask, even_edges(2, 2), even_edges(2, 2)).tolist() == [[1.0, 0.0], [1.0, 0.25]]


def test_coverage_scores_are_the_ceiling_of_every_choice() -> None:
    areas = np.random.default_rng(0).integers(0, 9, (4, 2, 3)).astype(float)
    shares = areas.reshape(4, 6) / areas.sum((1, 2))[:, None]
    scores = coverage_scores(areas)
    assert scores.dtype == np.float32 and scores.max() == 1.0
    for k in range(1, 6):
        best = max(shares[:, list(chosen)].sum() for chosen in itertools.combinations(range(6), k))
        assert shares[:, np.argsort(-scores.ravel())[:k]].sum() == pytest.approx(best)


def test_coverage_scores_by_hand() -> None:
    """An object of one pixel counts as much as a large one: (1, 0, 0, 0) and (0, 1/2, 1/2, 0)."""
    areas = np.array([[[1.0, 0], [0, 0]], [[0, 3], [3, 0]]])
    assert coverage_scores(areas).tolist() == [[1.0, 0.5], [0.5, 0.0]]


def test_scores_of_no_objects_are_zero() -> None:
    assert not coverage_scores(np.zeros((0, 2, 2))).any()
