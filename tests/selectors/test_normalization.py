from __future__ import annotations

import torch

from ltrp_bench.selectors.normalization import channelwise, denormalize, normalize

MEAN, STD = (0.5, 0.25, 0.125), (0.5, 0.25, 2.0)


def test_channelwise_broadcasts_over_batch_and_pixels() -> None:
    values = channelwise(MEAN, torch.zeros(2, 3, 4, 5, dtype=torch.float64))
    assert values.dtype == torch.float64
    assert values.tolist() == [[[0.5]], [[0.25]], [[0.125]]]


def test_normalize_by_hand() -> None:
    images = torch.tensor([[1.0, 0.5], [0.5, 0.25], [0.125, 4.125]]).view(3, 1, 2)
    expected = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 2.0]]).view(3, 1, 2)
    assert torch.equal(normalize(images, MEAN, STD), expected)
    assert torch.equal(normalize(images[None], MEAN, STD), expected[None])
    assert torch.equal(denormalize(expected, MEAN, STD), images)


def test_normalize_is_one_subtraction_and_one_division() -> None:
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    by_hand = (images - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)
    assert torch.equal(normalize(images, mean, std), by_hand)
