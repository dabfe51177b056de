"""Reconstructions with and without a patch are those from which the pseudo scores are computed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ltrp_bench.harness.visualization.images import DisplayImage
from ltrp_bench.harness.visualization.reconstruction import Reconstruction, reconstruct
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.ltrp.cross_density import cross_density
from ltrp_bench.selectors.ltrp.cross_mae import CrossMAE, CrossMAEConfig
from ltrp_bench.selectors.ltrp.mae import complement, random_visible
from ltrp_bench.selectors.ltrp.mae_checkpoints import save_mae
from ltrp_bench.selectors.ltrp.selector import LTRPTeacher
from ltrp_bench.selectors.ltrp.semantic_density import Hide, semantic_density
from ltrp_bench.selectors.normalization import normalize
from ltrp_bench.tasks.data.shapes.world import MEAN, STD

PATCH, SIDE = 8, 12


def on_pixels(patches: np.ndarray) -> np.ndarray:
    mask = np.zeros(SIDE * SIDE, bool)
    mask[patches] = True
    return mask.reshape(SIDE, SIDE).repeat(PATCH, 0).repeat(PATCH, 1)


def check(reconstruction: Reconstruction, image: DisplayImage) -> None:
    """Properties of every reconstruction."""
    visible = on_pixels(reconstruction.visible)
    np.testing.assert_allclose(reconstruction.original, image.sample.image / 255, atol=1e-6)
    np.testing.assert_allclose(reconstruction.pixels[visible], reconstruction.original[visible], atol=1e-5)
    assert np.abs(reconstruction.pixels[~visible] - reconstruction.original[~visible]).mean() > 0.01
    for removal in reconstruction.removals:
        assert (np.isnan(removal.difference) == visible).all()
        assert np.abs(removal.pixels - reconstruction.pixels)[~visible].max() > 0
        assert np.nanmean(removal.difference) == pytest.approx(reconstruction.scores[removal.position], rel=1e-4)


@pytest.mark.parametrize("hide", ["decoder", "encoder_decoder"])
def test_differences_add_up_to_the_pseudo_scores(teacher: Any, display_images: list[DisplayImage], hide: str) -> None:
    selector = teacher(f"hide={hide}")
    reconstructions = reconstruct(selector, display_images, [0, 5, 13], seed=0, device="cpu")
    for image, reconstruction in zip(display_images, reconstructions, strict=True):
        assert [removal.position for removal in reconstruction.removals] == [0, 5, 13]
        check(reconstruction, image)
        mae = selector.mae
        pixels = torch.from_numpy(image.sample.image).permute(2, 0, 1)[None] / 255
        visible = random_visible(1, 144, 14, torch.Generator().manual_seed(0))
        indices, scores = semantic_density(mae, normalize(pixels, mae.mean, mae.std), visible, hide=hide)
        np.testing.assert_array_equal(reconstruction.visible, indices[0])
        np.testing.assert_allclose(reconstruction.scores, scores[0], rtol=1e-4)


@pytest.fixture
def cross_teacher(tmp_path: Path) -> Callable[..., LTRPTeacher]:
    """`cross_teacher(hide=...)`: the `ltrp-teacher` of an untrained CrossMAE for the images of `shapes`."""
    torch.manual_seed(0)
    sizes = {"embed_dim": 32, "depth": 2, "heads": 2, "decoder_dim": 32, "decoder_depth": 2, "decoder_heads": 2}
    mae = CrossMAE(CrossMAEConfig(image_size=96, patch_size=PATCH, mean=MEAN, std=STD, **sizes))
    save_mae(tmp_path / "cross.safetensors", mae)
    return functools.partial(LTRPTeacher, tmp_path / "cross.safetensors")


@pytest.mark.parametrize("hide", ["decoder", "encoder_decoder"])
def test_cross_attending_decoder(
    cross_teacher: Callable[..., LTRPTeacher], display_images: list[DisplayImage], hide: Hide
) -> None:
    """Scores are those of all masked positions even where the teacher samples them."""
    selector = cross_teacher(hide=hide, positions=3)
    for image, reconstruction in zip(
        display_images, reconstruct(selector, display_images, [2, 7], seed=0, device="cpu"), strict=True
    ):
        assert [removal.position for removal in reconstruction.removals] == [2, 7]
        check(reconstruction, image)
        pixels = torch.from_numpy(image.sample.image).permute(2, 0, 1)[None] / 255
        visible = torch.from_numpy(reconstruction.visible)[None]
        mae, masked = selector.mae, complement(visible, SIDE * SIDE)
        assert isinstance(mae, CrossMAE)
        in_encoder = hide == "encoder_decoder"
        scores = cross_density(mae, normalize(pixels, MEAN, STD), visible, masked, hide_in_encoder=in_encoder)
        np.testing.assert_allclose(reconstruction.scores, scores[0], rtol=1e-4)


def test_by_default_the_patches_of_highest_and_lowest_score_are_removed(
    teacher: Any, display_images: list[DisplayImage]
) -> None:
    selector = teacher("mask_ratio=0.75")
    for one in reconstruct(selector, display_images, [], seed=0, device="cpu"):
        assert len(one.visible) == 36
        assert [removal.position for removal in one.removals] == [one.scores.argmax(), one.scores.argmin()]
    first, other = (reconstruct(selector, display_images[:1], [], seed=seed, device="cpu")[0] for seed in (0, 1))
    assert (first.visible != other.visible).any()


def test_an_image_does_not_depend_on_the_others(teacher: Any, display_images: list[DisplayImage]) -> None:
    selector = teacher()
    alone, both = (
        reconstruct(selector, images, [], seed=0, device="cpu")[-1] for images in (display_images[1:], display_images)
    )
    np.testing.assert_array_equal(alone.scores, both.scores)
    np.testing.assert_array_equal(alone.removals[0].pixels, both.removals[0].pixels)


def test_positions_and_seeds_out_of_range(teacher: Any, display_images: list[DisplayImage]) -> None:
    with pytest.raises(UsageError, match="--remove 14: the visible patches are 0 to 13"):
        reconstruct(teacher(), display_images, [14], seed=0, device="cpu")
    with pytest.raises(UsageError, match="--seed -1: a seed is an integer from 0 to"):
        reconstruct(teacher(), display_images, [], seed=-1, device="cpu")
