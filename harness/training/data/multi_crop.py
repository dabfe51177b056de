"""DINO's global and local views of a batch of images; their randomness comes from a generator alone.

Crops are sampled from tensors rather than files, so an image is decoded once for all of its views.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ltrp_bench.harness.training.options.pretraining import CropOptions
from ltrp_bench.selectors.normalization import channelwise

LUMA = (0.299, 0.587, 0.114)
# RGB to luma and two axes of color (YIQ): hue is an angle there.
YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))


def random_crops(images: Tensor, size: int, scale: tuple[float, float], generator: torch.Generator) -> Tensor:
    """[B, 3, H, W] -> [B, 3, size, size]: one random resized crop per image, mirrored half the time.

    Area uniform in `scale`, ratio log-uniform in [3/4, 4/3] (Szegedy et al., 2015); bilinear sampling.
    """
    b = len(images)
    area, ratio, left, top, mirrored = torch.rand(5, b, generator=generator)
    area = scale[0] + (scale[1] - scale[0]) * area
    ratio = torch.exp((2 * ratio - 1) * math.log(4 / 3))
    w, h = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    # affine_grid's coordinates run over [-1, 1]: a crop is a scale and a shift of its center.
    x, y = (2 * left - 1) * (1 - w), (2 * top - 1) * (1 - h)
    theta = torch.zeros(b, 2, 3)
    theta[:, 0, 0], theta[:, 0, 2] = torch.where(mirrored < 0.5, -w, w), x
    theta[:, 1, 1], theta[:, 1, 2] = h, y
    grid = F.affine_grid(theta.to(images), [b, 3, size, size], align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def color_jitter(images: Tensor, options: CropOptions, generator: torch.Generator) -> Tensor:
    """[B, 3, H, W] RGB in [0, 1] under random brightness, contrast, saturation and hue; some turned to grayscale."""
    draws = torch.rand(6, len(images), generator=generator).view(6, -1, 1, 1, 1).to(images)
    strength = options.jitter * (draws[4] < options.jitter_chance)
    brightness, contrast, saturation = (1 + strength * (2 * draws[i] - 1) for i in range(3))
    luma = channelwise(LUMA, images)
    images = images * brightness
    images = _towards((images * luma).sum(1, keepdim=True).mean((2, 3), keepdim=True), images, contrast)
    images = _towards((images * luma).sum(1, keepdim=True), images, saturation)
    images = _turn_hue(images, (strength / 4) * (2 * draws[3] - 1) * 2 * math.pi)
    grey = (images * luma).sum(1, keepdim=True).expand_as(images)
    return torch.where(draws[5] < options.grey_chance, grey, images).clamp(0, 1)


def views(images: Tensor, local_size: int, options: CropOptions, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """[B, 3, S, S] RGB in [0, 1] -> global views [2*B, 3, S, S] and local ones [n*B, 3, s, s], view by view."""
    size = images.shape[-1]
    large = [random_crops(images, size, options.global_scale, generator) for _ in range(2)]
    small = [random_crops(images, local_size, options.local_scale, generator) for _ in range(options.local_crops)]
    made = [color_jitter(crop, options, generator) for crop in large + small]
    empty = images.new_zeros(0, 3, local_size, local_size)
    return torch.cat(made[:2]), torch.cat(made[2:]) if small else empty


def _towards(plain: Tensor, images: Tensor, factor: Tensor) -> Tensor:
    return (plain + (images - plain) * factor).clamp(0, 1)


def _turn_hue(images: Tensor, angle: Tensor) -> Tensor:
    """Turn the two color axes of each image by `angle` [B, 1, 1, 1] radians."""
    to = images.new_tensor(YIQ)
    cos, sin = angle.flatten().cos(), angle.flatten().sin()
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    turn = torch.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos], dim=1).view(-1, 3, 3)
    return torch.einsum("bij,bjhw->bihw", torch.linalg.inv(to) @ turn @ to, images).clamp(0, 1)
