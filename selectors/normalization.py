"""Normalization of images by one mean and one standard deviation per channel."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def channelwise(values: Sequence[float], like: Tensor) -> Tensor:
    """Per-channel numbers in a shape that broadcasts against images.

    Args:
        values: C numbers, one per channel.
        like: images [..., C, H, W] of a floating-point type, from which dtype and device are taken.

    Returns:
        [C, 1, 1].
    """
    return like.new_tensor(values).view(-1, 1, 1)


def normalize(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Subtracts the mean of each channel and divides by its standard deviation.

    Args:
        images: [..., C, H, W] of a floating-point type.
        mean, std: C numbers each, in the units of `images`.

    Returns:
        A new tensor of the shape, dtype and device of `images`.
    """
    return (images - channelwise(mean, images)) / channelwise(std, images)


def denormalize(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Undoes `normalize`; same arguments, same shape."""
    return images * channelwise(std, images) + channelwise(mean, images)
