"""The images of a span at the sizes that selectors ask for, each resized once for all of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor

from ltrp_bench.selectors.base import resize

HELD_BYTES: Final = 256 * 2**20
"""Memory for resized images of one span; beyond it, images are resized for each selector."""


class ResizedImages:
    """Resizes the images of a span, and holds what was resized.

    Args:
        images: [H, W, 3] uint8 RGB each.
        device: device of the resized images.

    Attributes:
        images: as given.
        seconds: time that was spent on resizing.
    """

    def __init__(self, images: Sequence[np.ndarray], device: torch.device) -> None:
        self.images = images
        self.seconds = 0.0
        self._device = device
        self._held: dict[tuple[tuple[int, ...], tuple[int, int]], Tensor] = {}
        self._bytes = 0

    def get(self, batch: Sequence[int], size: tuple[int, int]) -> Tensor:
        """Images of one batch at one size; not to be changed in place.

        Args:
            batch: indices of images of one size.
            size: (H', W').

        Returns:
            [B, 3, H', W'] float32 in [0, 1].
        """
        key = tuple(batch), (int(size[0]), int(size[1]))
        if key in self._held:
            return self._held[key]
        began = time.perf_counter()
        pixels = resize([self.images[i] for i in batch], key[1], self._device)
        self.seconds += time.perf_counter() - began
        if self._bytes + pixels.nbytes <= HELD_BYTES:
            self._held[key] = pixels
            self._bytes += pixels.nbytes
        return pixels
