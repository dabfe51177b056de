"""Sampled positions: their number, their spread, and their chances."""

from __future__ import annotations

import pytest
import torch

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.ltrp.mae import complement, random_visible
from ltrp_bench.selectors.ltrp.positions import count_positions, hilbert_order, spread_positions


def test_positions_are_all_a_number_or_a_share() -> None:
    assert [count_positions(p, 177) for p in ("all", 1, 177, 0.25, 1e-9, 1.0)] == [177, 1, 177, 44, 1, 177]
    for wrong in (0, 178, -1, 0.0, 1.5, "none"):
        with pytest.raises(UsageError, match=f"from 1 to the 177 masked patches or a share .* not {wrong}"):
            count_positions(wrong, 177)  # type: ignore[arg-type]


def test_the_curve_through_a_square_moves_by_one_patch() -> None:
    assert hilbert_order((2, 2)).tolist() == [0, 3, 1, 2]
    places = hilbert_order((8, 8))
    assert sorted(places.tolist()) == list(range(64))
    patches = places.argsort()
    rows, columns = patches // 8, patches % 8
    steps = rows.diff().abs() + columns.diff().abs()
    assert (steps == 1).all()


def test_other_grids_leave_out_what_they_lack() -> None:
    square, part = hilbert_order((8, 8)).view(8, 8), hilbert_order((5, 7))
    assert sorted(part.tolist()) == list(range(35))
    assert torch.equal(part.argsort(), square[:5, :7].flatten().argsort())


@pytest.mark.parametrize("count", [1, 4, 12, 115, 116])
def test_every_masked_position_is_equally_likely(count: int) -> None:
    masked = complement(random_visible(2, 144, 28, torch.Generator().manual_seed(0)), 144)
    hits = torch.zeros(2, 144)
    for k in range(116):  # evenly spaced offsets: their picks cover every position equally often
        picks = spread_positions(masked, count, (12, 12), torch.full((2,), (k + 0.5) / 116))
        assert picks.shape == (2, count)
        assert all(len(set(row.tolist())) == count for row in picks)
        hits.scatter_add_(1, picks, torch.ones_like(hits.gather(1, picks)))
    assert (hits.gather(1, masked) == count).all() and hits.sum() == 2 * 116 * count


def test_offsets_near_one_stay_inside() -> None:
    masked = torch.arange(9)[None]
    for count in range(1, 10):
        picks = spread_positions(masked, count, (3, 3), torch.tensor([1 - 1e-7]))
        assert len(set(picks[0].tolist())) == count


def test_a_sample_is_spread_over_the_image() -> None:
    """Of 4 positions of an 8x8 grid, each quarter of the image gets one, wherever the sample starts."""
    quarter = (torch.arange(64) // 8 // 4) * 2 + torch.arange(64) % 8 // 4
    for offset in torch.linspace(0, 0.99, 12):
        picks = spread_positions(torch.arange(64)[None], 4, (8, 8), offset[None])
        assert sorted(quarter[picks[0]].tolist()) == [0, 1, 2, 3]
