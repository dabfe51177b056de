"""DINO's views of images: area and ratio of crops, color jitter, order."""

from __future__ import annotations

import torch

from ltrp_bench.harness.training.data.multi_crop import color_jitter, random_crops, views
from ltrp_bench.harness.training.options.pretraining import CropOptions


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_crops_have_areas_and_ratios_in_range_and_depend_on_the_generator_alone() -> None:
    at = (torch.arange(64) + 0.5) / 64
    ramps = torch.stack([at.expand(64, 64), at[:, None].expand(64, 64), torch.zeros(64, 64)]).expand(200, 3, 64, 64)
    crops = random_crops(ramps, 16, (0.2, 0.5), generator())
    assert crops.shape == (200, 3, 16, 16)
    # Red is the column, green the row: each pixel says where it was taken from.
    wide = (crops[:, 0, 8, -2] - crops[:, 0, 8, 1]).abs() * 16 / 13
    high = (crops[:, 1, -2, 8] - crops[:, 1, 1, 8]) * 16 / 13
    area, ratio = wide * high, wide / high
    assert area.min() > 0.19 and area.max() < 0.51 and 0.74 < ratio.min() < 0.85 < 1.2 < ratio.max() < 1.34
    assert area.max() - area.min() > 0.25
    mirrored = (crops[:, 0, 8, 0] > crops[:, 0, 8, -1]).float().mean()
    assert 0.35 < mirrored < 0.65
    assert torch.equal(crops, random_crops(ramps, 16, (0.2, 0.5), generator()))
    assert not torch.equal(crops, random_crops(ramps, 16, (0.2, 0.5), generator(1)))


def test_a_whole_crop_is_the_image_or_its_mirror_image() -> None:
    image = torch.rand(1, 3, 24, 24, generator=generator()).expand(20, 3, 24, 24)
    crops = random_crops(image, 24, (1.0, 1.0), generator())
    # Where the ratio stretches the box beyond the image it is cut to it; about square ones show all.
    errors = [min(float((c - p).abs().max()) for p in (image[0], image[0].flip(-1))) for c in crops]
    assert min(errors) < 0.2 and crops.min() >= 0 and crops.max() <= 1


def test_color_jitter_does_what_its_options_say() -> None:
    images = torch.rand(40, 3, 8, 8, generator=generator())
    still = CropOptions(jitter=0, grey_chance=0)
    torch.testing.assert_close(color_jitter(images, still, generator()), images, atol=1e-5, rtol=0)
    grey = color_jitter(images, CropOptions(jitter=0, grey_chance=1), generator())
    luma = (images * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1)
    for channel in range(3):
        torch.testing.assert_close(grey[:, channel], luma, atol=1e-4, rtol=0)
    some = color_jitter(images, CropOptions(jitter=0.4, jitter_chance=0.5, grey_chance=0), generator())
    changed = ((some - images).abs().amax((1, 2, 3)) > 1e-3).float().mean()
    assert 0.25 < changed < 0.75 and some.min() >= 0 and some.max() <= 1


def test_views_come_view_by_view() -> None:
    images = torch.rand(3, 3, 32, 32, generator=generator())
    large, small = views(images, 16, CropOptions(local_crops=4), generator())
    assert large.shape == (6, 3, 32, 32) and small.shape == (12, 3, 16, 16)
    assert views(images, 16, CropOptions(local_crops=0), generator())[1].shape == (0, 3, 16, 16)
