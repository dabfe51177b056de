"""Normalization of 8-bit images."""

from __future__ import annotations

import pytest
import torch

from ltrp_bench.harness.training.pixels import normalize_bytes
from ltrp_bench.selectors.normalization import normalize


def test_bytes_are_scaled_and_normalized() -> None:
    images = torch.randint(256, (2, 3, 5, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    found = normalize_bytes(images, mean, std)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, normalize(images.float() / 255, mean, std))


@pytest.mark.parametrize(("level", "expected"), [(0, -2.0), (255, 2.0)])
def test_by_hand(level: int, expected: float) -> None:
    images = torch.full((1, 3, 1, 1), level, dtype=torch.uint8)
    assert normalize_bytes(images, (0.5,) * 3, (0.25,) * 3).flatten().tolist() == [expected] * 3
