"""The comparison of scores: of their order alone, up to rounding."""

from __future__ import annotations

import numpy as np
import pytest

from ltrp_bench.selectors.score_comparison import ScoreMatch, compare_scores

IDS = [str(i) for i in range(4)]


@pytest.fixture
def scores() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.random((12, 12)).astype(np.float32) for _ in IDS]


def test_only_the_order_counts(scores: list[np.ndarray]) -> None:
    assert compare_scores(scores, [np.exp(5 * one) for one in scores], IDS).mean == 1
    assert compare_scores(scores, [one + 1e-7 for one in scores], IDS).worst == 1


def test_one_swap_at_the_threshold(scores: list[np.ndarray]) -> None:
    swapped = [one.copy() for one in scores]
    order = np.argsort(-scores[2].ravel())
    place = [order[35], order[36]]  # the 36th is the last one kept at 0.25
    swapped[2].ravel()[place] = swapped[2].ravel()[place[::-1]]
    match = compare_scores(scores, swapped, IDS)
    assert match.image == "2" and match.worst == pytest.approx(1 - 2 / 144) and match.same()
    assert match.patches == 144 and match.mean == pytest.approx(1 - 2 / 144 / 5 / 4)


def test_another_order_is_not_rounding(scores: list[np.ndarray]) -> None:
    match = compare_scores(scores, [-one for one in scores], IDS)
    assert match.worst < 0.2 and not match.same()
    assert match.text.startswith(f"{1 - match.worst:.1%} of the patches decided otherwise")
    # A little on every image is no rounding.
    rng = np.random.default_rng(1)
    noisy = [one + 0.02 * rng.standard_normal(one.shape) for one in scores]
    assert not compare_scores(scores, noisy, IDS).same()


def test_ties_up_to_rounding_are_broken_alike() -> None:
    flat = np.full((3, 3), 0.7, np.float32)
    noise = flat + np.random.default_rng(0).random((3, 3)).astype(np.float32) * 1e-7
    assert compare_scores([flat], [noise], ["a"]).worst == 1


@pytest.mark.parametrize(
    ("worst", "mean", "patches", "same"),
    [
        (0.97, 0.995, 1000, True),
        (0.9699, 0.995, 1000, False),
        (0.97, 0.9949, 1000, False),
        # One swap of two patches, on a small grid.
        (0.5, 0.995, 4, True),
        (0.4999, 0.995, 4, False),
    ],
)
def test_thresholds(worst: float, mean: float, patches: int, same: bool) -> None:
    assert ScoreMatch(worst, mean, "a", 0.0, patches).same() is same
