"""Density from positions drawn for each removal: exact where it can be, unbiased, and better than an even sample."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.ltrp.cross_density import cross_density
from ltrp_bench.selectors.ltrp.cross_mae import CrossMAE, CrossMAEConfig
from ltrp_bench.selectors.ltrp.mae import complement, random_visible
from ltrp_bench.selectors.ltrp.positions import spread_positions

BATCH, SEEN = 3, 7


@pytest.fixture(scope="module")
def mae() -> CrossMAE:
    torch.manual_seed(0)
    sizes = {"embed_dim": 32, "depth": 3, "heads": 2, "decoder_dim": 24, "decoder_depth": 2, "decoder_heads": 3}
    model = CrossMAE(CrossMAEConfig(image_size=48, patch_size=8, **sizes)).eval().requires_grad_(False)
    for name, parameter in model.named_parameters():  # attention that is far from uniform
        parameter.mul_(3 if ".q.weight" in name else 1.5)
    return model


@pytest.fixture(scope="module")
def scene() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images, their visible patches, and all masked ones."""
    draw = torch.Generator().manual_seed(1)
    visible = random_visible(BATCH, 36, SEEN, draw)
    return torch.randn(BATCH, 3, 48, 48, generator=draw), visible, complement(visible, 36)


def starts(value: float) -> torch.Tensor:
    return torch.full((BATCH,), value)


@pytest.mark.parametrize("distance", ["l1", "l2"])
def test_a_single_position_is_exact(mae: CrossMAE, scene: Any, distance: Any) -> None:
    images, visible, masked = scene
    for position in (0, 11, 28):
        asked = masked[:, position : position + 1]
        exact = cross_density(mae, images, visible, asked, distance=distance)
        for samples in (1, 3):
            found = cross_density(mae, images, visible, asked, distance=distance, samples=samples, starts=starts(0.4))
            torch.testing.assert_close(found, exact, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("distance", ["l1", "l2"])
@pytest.mark.parametrize("samples", [1, 3])
def test_the_mean_over_starts_is_the_density(mae: CrossMAE, scene: Any, distance: Any, samples: int) -> None:
    images, visible, masked = scene
    exact = cross_density(mae, images, visible, masked, distance=distance)
    many = 1000
    offsets = (torch.arange(many, dtype=torch.float64) + 0.5) / many
    for image in range(BATCH):
        copies = [x[image : image + 1].expand(many, *x.shape[1:]) for x in scene]
        found = cross_density(mae, *copies, distance=distance, samples=samples, starts=offsets).mean(0)
        torch.testing.assert_close(found, exact[image], rtol=0.02, atol=1e-5)


def test_it_is_closer_than_as_many_positions_drawn_evenly(mae: CrossMAE, scene: Any) -> None:
    images, visible, masked = scene
    exact = cross_density(mae, images, visible, masked)
    drawn, even = 0.0, 0.0
    for k in range(20):
        offsets = starts((k + 0.5) / 20)
        found = cross_density(mae, images, visible, masked, samples=4, starts=offsets)
        drawn += float((found / exact).log().square().mean())
        asked = spread_positions(masked, 4, (6, 6), offsets)
        even += float((cross_density(mae, images, visible, asked) / exact).log().square().mean())
    assert drawn < 0.5 * even


def test_neither_memory_nor_batch_changes_scores(mae: CrossMAE, scene: Any) -> None:
    images, visible, masked = scene
    offsets = torch.tensor([0.1, 0.7, 0.5])
    whole = cross_density(mae, images, visible, masked, samples=3, starts=offsets, max_memory_mb=1000)
    small = cross_density(mae, images, visible, masked, samples=3, starts=offsets, max_memory_mb=0.01)
    torch.testing.assert_close(small, whole, atol=1e-6, rtol=1e-4)
    again = cross_density(mae, images, visible, masked, samples=3)
    assert again.shape == (BATCH, SEEN) and torch.isfinite(again).all()


def test_half_precision(mae: CrossMAE, scene: Any) -> None:
    images, visible, masked = scene
    options: dict[str, Any] = {"samples": 4, "starts": starts(0.3)}
    full = cross_density(mae, images, visible, masked, **options)
    half = cross_density(CrossMAE(config_of(mae)).eval().bfloat16(), images, visible, masked, **options)
    assert full.dtype == half.dtype == torch.float32 and torch.isfinite(half).all()


def config_of(mae: CrossMAE) -> CrossMAEConfig:
    return CrossMAEConfig(**mae.config)


def test_samples_need_a_patch_hidden_in_the_decoder(mae: CrossMAE, scene: Any) -> None:
    images, visible, masked = scene
    with pytest.raises(UsageError, match="samples need a patch hidden in the decoder"):
        cross_density(mae, images, visible, masked, samples=3, hide_in_encoder=True)
