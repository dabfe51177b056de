"""The shared top-k: exact, nested, without favour among ties."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.topk import PatchSelection, count_kept, rank_patches, resample_scores, tie_keys, top_k


@pytest.mark.parametrize(
    ("ratio", "patches", "k"),
    [(0.25, 144, 36), (0.1, 144, 14), (0.001, 144, 1), (1, 9, 9), (0.5, 5, 2), (0.7, 5, 4), (0.75, 9, 7), (0.3, 9, 3)],
)
def test_count_kept(ratio: float, patches: int, k: int) -> None:
    assert count_kept(ratio, patches) == k


@pytest.mark.parametrize("ratio", [0, -0.1, 1.01, float("nan")])
def test_a_ratio_out_of_range_is_a_usage_error(ratio: float) -> None:
    with pytest.raises(UsageError, match="keep ratio"):
        count_kept(ratio, 10)


@settings(max_examples=60)
@given(
    st.integers(1, 4),
    st.integers(1, 7),
    st.integers(1, 7),
    st.floats(0.01, 1),
    st.integers(0, 2**31 - 1),
    st.integers(1, 4),
)
def test_the_kept_are_the_greatest(b: int, gh: int, gw: int, ratio: float, seed: int, levels: int) -> None:
    scores = torch.from_numpy(np.random.default_rng(seed).integers(0, levels, (b, gh, gw))).float()
    kept = top_k(scores, ratio, [str(i) for i in range(b)], seed).mask()
    assert (kept.flatten(1).sum(1) == count_kept(ratio, gh * gw)).all()
    for row, mask in zip(scores, kept, strict=True):
        if not mask.all():
            assert row[mask].min() >= row[~mask].max()


def test_ties_favour_no_position() -> None:
    ids = [f"image {i}" for i in range(4000)]
    share = top_k(torch.zeros(4000, 6, 6), 0.25, ids).mask().float().mean(0)
    assert (share - 0.25).abs().max() < 0.035  # one standard error is 0.007
    again = top_k(torch.zeros(1, 6, 6), 0.25, ids[17:18]).indices
    assert torch.equal(again, top_k(torch.zeros(4000, 6, 6), 0.25, ids).indices[17:18])
    assert not torch.equal(
        top_k(torch.zeros(1, 6, 6), 0.25, ["a"], 0).indices,
        top_k(torch.zeros(1, 6, 6), 0.25, ["a"], 1).indices,
    )


def test_the_tie_break_is_the_same_on_every_machine() -> None:
    assert rank_patches(torch.zeros(1, 2, 3), ["000000000139"], 7).tolist() == [TIE_ORDER]


TIE_ORDER = [2, 4, 3, 5, 1, 0]


def test_tie_keys_are_those_of_splitmix64() -> None:
    """The first numbers of the published generator from state 0: "" has the checksum 0, and a seed is a step."""
    published = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # sums past 2^64 wrap, silently
        assert [int(tie_keys([""], 1, seed)[0, 0]) for seed in range(4)] == published


def test_without_ids_every_image_counts_as_one_without_a_name() -> None:
    flat = torch.zeros(2, 3, 5)
    expected = rank_patches(flat, ["", ""], 0)
    assert torch.equal(rank_patches(flat), expected) and not torch.equal(rank_patches(flat, seed=1), expected)
    assert torch.equal(top_k(flat, 0.4).indices, expected[:, :6].sort(dim=1).values)


def test_a_selection_says_what_was_asked_for_and_masks_where_it_lies() -> None:
    kept = top_k(torch.tensor([[[0.0, 3.0, 1.0], [2.0, -1.0, 0.5]]]), 0.3)
    assert (kept.indices.tolist(), kept.grid, kept.keep_ratio) == ([[1, 3]], (2, 3), 0.3)
    assert kept.mask().tolist() == [[[False, True, False], [True, False, False]]]
    assert PatchSelection(kept.indices.to("meta"), (2, 3), 0.3).mask().device.type == "meta"


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_scores_that_are_not_finite_are_refused(bad: float) -> None:
    scores = torch.zeros(1, 2, 2)
    scores[0, 0, 1] = bad
    with pytest.raises(InputError, match="NaN or infinite"):
        top_k(scores, 0.5)


def test_wrong_shape_and_wrong_number_of_ids_are_refused() -> None:
    with pytest.raises(InputError, match="gh, gw"):
        top_k(torch.zeros(2, 4), 0.5)
    with pytest.raises(InputError, match="1 image ids for 2 images"):
        top_k(torch.zeros(2, 2, 2), 0.5, ["a"])


def test_resampling_keeps_the_order_of_a_ramp_and_the_mean() -> None:
    ramp = torch.arange(12.0).expand(1, 12, 12)
    for grid in ((14, 14), (6, 6), (5, 9)):
        out = resample_scores(ramp, grid)
        assert out.shape == (1, *grid) and (out.diff(dim=2) > 0).all()
        assert out.mean() == pytest.approx(5.5, abs=0.05)
    assert resample_scores(ramp, (12, 12)) is ramp


def test_resampling_by_hand() -> None:
    """Halving weighs pixels by a triangle twice as wide, (3, 3, 1) / 7; doubling lies between the centres."""
    halved = resample_scores(torch.tensor([[[7.0, 0, 0, 0]], [[0, 0, 7.0, 0]]]), (1, 2))
    torch.testing.assert_close(halved, torch.tensor([[[3.0, 0]], [[1.0, 3]]]))
    doubled = resample_scores(torch.tensor([[[0.0, 4.0]]]), (1, 4))
    torch.testing.assert_close(doubled, torch.tensor([[[0.0, 1, 3, 4]]]))


@pytest.mark.parametrize("grid", [(4, 1), (1, 4), (3, 1), (1, 1), (2, 3)])
def test_resampling_treats_rows_and_columns_alike(grid: tuple[int, int]) -> None:
    scores = torch.arange(10.0).view(1, 5, 2) ** 2
    turned = resample_scores(scores.transpose(1, 2), grid[::-1]).transpose(1, 2)
    torch.testing.assert_close(resample_scores(scores, grid), turned)
