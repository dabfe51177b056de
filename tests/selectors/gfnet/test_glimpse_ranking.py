"""The ranking from glimpses against a sort of tuples."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ltrp_bench.selectors.gfnet.glimpse_ranking import glimpse_ranking


def ranking_by_hand(corners: list[tuple[int, int]], crop: int, grid: tuple[int, int], patch: int) -> list[list[int]]:
    """The same order as a sort of tuples, pixel by pixel."""
    keys = {}
    for row in range(grid[0]):
        for column in range(grid[1]):
            y, x = (row + 0.5) * patch, (column + 0.5) * patch
            best: tuple[Any, ...] | None = None
            away = []
            for step, (top, left) in enumerate(corners):
                inside = sum(
                    top <= row * patch + i < top + crop and left <= column * patch + j < left + crop
                    for i in range(patch)
                    for j in range(patch)
                )
                centre = (y - top - crop / 2) ** 2 + (x - left - crop / 2) ** 2
                dy, dx = max(top - y, y - top - crop, 0), max(left - x, x - left - crop, 0)
                away.append((dy**2 + dx**2, centre))
                if inside and best is None:
                    best = (0, step, -inside, centre)
            keys[row, column] = best or (1, *min(away))
    return [[sum(other > keys[r, c] for other in keys.values()) for c in range(grid[1])] for r in range(grid[0])]


@pytest.mark.parametrize("corners", [[(3, 5)], [(0, 0), (20, 8), (4, 24)], [(16, 16), (16, 16), (0, 24)]])
def test_ranking_equals_one_by_hand(corners: list[tuple[int, int]]) -> None:
    found = glimpse_ranking(torch.tensor([corners, corners[::-1]]), 16, (5, 6), 8)
    assert found[0].tolist() == ranking_by_hand(corners, 16, (5, 6), 8)
    assert found[1].tolist() == ranking_by_hand(corners[::-1], 16, (5, 6), 8)


def test_earlier_glimpses_come_first_and_the_ranking_is_full() -> None:
    scores = glimpse_ranking(torch.tensor([[[0, 0], [64, 64]]]), 32, (12, 12), 8)[0]
    first, second = scores[:4, :4], scores[8:, 8:]
    assert first.min() > second.max() and second.min() > scores[:4, 4:].max()
    # All 144 patches have a place, the farthest the last: the published wrapper keeps 64 at most.
    assert scores.min() == scores[0, 11] == scores[11, 0] == 0 and scores.unique().numel() == 27
