"""Normalization of 8-bit images."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ltrp_bench.selectors.normalization import channelwise


def normalize_bytes(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Normalize 8-bit images.

    Args:
        images: [B, 3, H, W] uint8.
        mean, std: per channel of RGB in [0, 1].

    Returns:
        [B, 3, H, W] float32 on the same device.
    """
    levels = images.float()
    # Computed in float32 and in this order: the weights of a resumed run depend on the last bit.
    return (levels - channelwise(mean, levels) * 255) / (channelwise(std, levels) * 255)
