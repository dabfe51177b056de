"""Semantic density on a CrossMAE: memory, sampled positions, and averages over maskings."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tensor_memory import PeakMemory

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.ltrp.cross_density import cross_density, predict_without
from ltrp_bench.selectors.ltrp.cross_mae import CrossMAE, CrossMAEConfig
from ltrp_bench.selectors.ltrp.mae import MAE, MAEConfig, complement, random_visible
from ltrp_bench.selectors.ltrp.positions import Sampling, spread_positions
from ltrp_bench.selectors.ltrp.semantic_density import average_density, semantic_density

SIZES: dict[str, Any] = {"image_size": 48, "patch_size": 8, "embed_dim": 32, "depth": 3, "heads": 2}
DECODER: dict[str, Any] = {"decoder_dim": 24, "decoder_depth": 2, "decoder_heads": 3}


def tiny() -> CrossMAE:
    torch.manual_seed(0)
    mae = CrossMAE(CrossMAEConfig(**SIZES, **DECODER)).eval().requires_grad_(False)
    for parameter in mae.parameters():  # larger than at initialization: attention that is far from uniform
        parameter.mul_(2)
    return mae


def images(batch: int) -> torch.Tensor:
    return torch.randn(batch, 3, 48, 48, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("hide_in_encoder", [False, True])
@pytest.mark.parametrize("distance", ["l1", "l2"])
def test_neither_memory_nor_batch_changes_scores(hide_in_encoder: bool, distance: Any) -> None:
    mae, batch = tiny(), images(5)
    visible = random_visible(5, 36, 6, torch.Generator().manual_seed(2))
    masked = complement(visible, 36)
    options: dict[str, Any] = {"hide_in_encoder": hide_in_encoder, "distance": distance}
    whole = cross_density(mae, batch, visible, masked, max_memory_mb=1000, **options)
    assert whole.shape == (5, 6) and whole.min() > 0
    for megabytes in (0.001, 0.1, 0.6):
        parts = cross_density(mae, batch, visible, masked, max_memory_mb=megabytes, **options)
        torch.testing.assert_close(parts, whole, atol=1e-6, rtol=1e-5)
    alone = cross_density(mae, batch[3:4], visible[3:4], masked[3:4], **options)
    torch.testing.assert_close(alone, whole[3:4], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("options", [{}, {"samples": 3}, {"hide_in_encoder": True}])
def test_the_working_memory_is_about_the_limit(options: dict[str, Any]) -> None:
    mae, batch, visible = tiny(), images(40), random_visible(40, 36, 12, torch.Generator().manual_seed(2))
    with PeakMemory() as memory:
        cross_density(mae, batch, visible, complement(visible, 36), max_memory_mb=4, **options)
    assert 0.35 < memory.peak / (4 * 2**20) < 1.4


@pytest.mark.parametrize("hide_in_encoder", [False, True])
def test_density_is_the_change_of_the_predictions(hide_in_encoder: bool) -> None:
    mae, batch = tiny(), images(2)
    visible = random_visible(2, 36, 6, torch.Generator().manual_seed(2))
    positions = complement(visible, 36)[:, ::3]
    scores = cross_density(mae, batch, visible, positions, hide_in_encoder=hide_in_encoder)
    anchor = mae.decode(mae.encode(batch, visible), positions)
    for removed in range(6):
        without = predict_without(mae, batch, visible, positions, removed, hide_in_encoder=hide_in_encoder)
        torch.testing.assert_close((without - anchor).abs().mean((1, 2)), scores[:, removed], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("sampling", "count"),
    [
        (Sampling(), 29),
        (Sampling(positions=4), 4),
        (Sampling(positions=0.25), 7),
        (Sampling(positions=1.0), 29),
        (Sampling(positions=1), 1),
        (Sampling(samples=3), 29),
        (Sampling(positions=12, samples=2), 12),
    ],
)
def test_average_is_the_mean_of_its_maskings(sampling: Sampling, count: int) -> None:
    """Seven visible patches: the last of the six sets of an order is filled up with its first six patches."""
    mae, batch = tiny(), images(2)
    draw = torch.Generator().manual_seed(3)
    orders = torch.stack([torch.randperm(36, generator=draw) for _ in range(4)]).view(2, 2, 36)
    offsets = torch.rand(2, 2, 2, generator=draw)
    found = average_density(mae, batch, mask_ratio=0.8, orders=orders, offsets=offsets, sampling=sampling)
    total, visits = torch.zeros(2, 36), torch.zeros(2, 36)
    for image in range(2):
        for order, offset in zip(orders[image], offsets[image], strict=True):
            again = torch.cat([order, order])
            for number, first in enumerate(range(0, 36, 7)):
                visible = again[first : first + 7].sort().values[None]
                place, start = ((offset.double() + number * (5**0.5 - 1) / 2) % 1)[:, None]
                asked = spread_positions(complement(visible, 36), count, (6, 6), place)
                scores = cross_density(
                    mae, batch[image : image + 1], visible, asked, samples=sampling.samples, starts=start
                )
                total[image, visible[0]] += scores[0]
                visits[image, visible[0]] += 1
    torch.testing.assert_close(found.flatten(1), total / visits, atol=1e-6, rtol=1e-3)


@pytest.mark.parametrize("sampling", [Sampling(positions=5), Sampling(samples=2)])
def test_sampled_positions_follow_the_image_and_not_its_batch(sampling: Sampling) -> None:
    mae, batch = tiny(), images(3)
    orders = torch.stack([torch.randperm(36, generator=torch.Generator().manual_seed(i)) for i in range(3)])[:, None]
    offsets = torch.tensor([[[0.1, 0.3]], [[0.6, 0.2]], [[0.4, 0.9]]])
    options: dict[str, Any] = {"mask_ratio": 0.8, "sampling": sampling}
    both = average_density(mae, batch, orders=orders, offsets=offsets, **options)
    alone = average_density(mae, batch[1:2], orders=orders[1:2], offsets=offsets[1:2], **options)
    torch.testing.assert_close(alone, both[1:2], atol=1e-6, rtol=1e-4)
    elsewhere = average_density(mae, batch, orders=orders, offsets=1 - offsets, **options)
    assert (elsewhere - both).abs().max() > 1e-3


def test_the_mean_over_samples_is_the_density_of_all_positions() -> None:
    mae, batch = tiny(), images(2)
    visible = random_visible(2, 36, 7, torch.Generator().manual_seed(2))
    masked = complement(visible, 36)
    scores = []
    for k in range(29):
        asked = spread_positions(masked, 4, (6, 6), torch.full((2,), (k + 0.5) / 29))
        scores.append(cross_density(mae, batch, visible, asked))
    torch.testing.assert_close(torch.stack(scores).mean(0), cross_density(mae, batch, visible, masked))


def test_either_decoder_goes_by_the_same_name() -> None:
    mae, batch = tiny(), images(2)
    visible = random_visible(2, 36, 6, torch.Generator().manual_seed(2))
    masked = complement(visible, 36)
    for hide, in_encoder in (("decoder", False), ("encoder_decoder", True)):
        expected = cross_density(mae, batch, visible, masked, hide_in_encoder=in_encoder, distance="l2")
        same, scores = semantic_density(mae, batch, visible, hide=hide, distance="l2")  # type: ignore[arg-type]
        assert same is visible and torch.equal(scores, expected)
    some = masked[:, 1:4]
    _, scores = semantic_density(mae, batch, visible, positions=some)
    assert torch.equal(scores, cross_density(mae, batch, visible, some))


def test_half_precision_keeps_the_order_roughly() -> None:
    mae, batch = tiny(), images(2)
    visible = random_visible(2, 36, 12, torch.Generator().manual_seed(5))
    _, full = semantic_density(mae, batch, visible)
    _, half = semantic_density(mae.bfloat16(), batch, visible)
    assert half.dtype == torch.float32
    assert torch.corrcoef(torch.stack([full.flatten(), half.flatten()]))[0, 1] > 0.9


def test_a_mae_takes_no_samples() -> None:
    torch.manual_seed(0)
    mae, batch = MAE(MAEConfig(**SIZES, **DECODER)), images(1)
    for sampling in (Sampling(positions=4), Sampling(samples=2)):
        with pytest.raises(UsageError, match="positions and samples are for a CrossMAE"):
            average_density(mae, batch, sampling=sampling)
    visible = torch.arange(6)[None]
    with pytest.raises(UsageError, match="positions and samples are for a CrossMAE"):
        semantic_density(mae, batch, visible, positions=torch.arange(6, 9)[None])
    with pytest.raises(UsageError, match="positions and samples are for a CrossMAE"):
        semantic_density(mae, batch, visible, samples=2)
