"""Flips and quarter turns of images and boxes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ltrp_bench.harness.training.data.geometry import image_tensor, random_turn, turned, turned_box
from ltrp_bench.tasks.data.shapes.world import SIZE


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirror", [False, True])
def test_boxes_turn_with_their_images(turns: int, mirror: bool) -> None:
    mask = np.zeros((SIZE, SIZE), bool)
    mask[10:22, 50:90] = True
    x, y, w, h = turned_box(np.array([50, 10, 40, 12]), turns, mirror)
    ys, xs = np.nonzero(turned(mask, turns, mirror))
    assert (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) == (x, y, x + w, y + h)


def test_the_eight_symmetries_of_the_square() -> None:
    image = np.arange(12).reshape(2, 2, 3)
    made = {turned(image, turns, mirror).tobytes() for turns in range(4) for mirror in (False, True)}
    assert len(made) == 8


def test_random_turns_cover_all_eight() -> None:
    rng = np.random.default_rng(0)
    assert {random_turn(rng) for _ in range(200)} == {(turns, mirror) for turns in range(4) for mirror in (False, True)}


def test_an_image_becomes_a_tensor_with_channels_first() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)[:, ::-1]
    found = image_tensor(pixels)
    assert found.dtype == torch.uint8
    assert found.is_contiguous()
    np.testing.assert_array_equal(found.permute(1, 2, 0).numpy(), pixels)
