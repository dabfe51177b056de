"""Preparation of images: size, range and normalization, against torchvision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from ltrp_bench.selectors.controls import VarianceControl
from ltrp_bench.selectors.preparation import prepare_images


@pytest.mark.parametrize(("input_size", "size"), [(None, (24, 40)), ((32, 16), (32, 16)), ((30, 50), (30, 50))])
def test_against_torchvision(input_size: tuple[int, int] | None, size: tuple[int, int]) -> None:
    selector = VarianceControl(patch_size=8)
    selector.input_size, selector.mean, selector.std = input_size, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    images = np.random.default_rng(0).integers(0, 256, (2, 30, 50, 3), dtype=np.uint8)
    prepared = prepare_images(list(images), selector, (3, 5))
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    expected = tv.normalize(tv.resize(pixels, list(size), antialias=True), list(selector.mean), list(selector.std))
    assert prepared.shape == (2, 3, *size) and prepared.dtype == torch.float32
    torch.testing.assert_close(prepared, expected, rtol=1e-5, atol=1e-6)


def test_white_stays_within_the_range() -> None:
    selector = VarianceControl(patch_size=7)
    selector.mean, selector.std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    white = np.full((50, 61, 3), 255, np.uint8)
    assert prepare_images([white], selector, (5, 3)).max() == 1
