"""A module with a loss, as mmengine's Runner trains it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from ltrp_bench.harness.training.pixels import normalize_bytes


class LossModel(BaseModel):
    """A module with a loss.

    Args:
        module: the module that is trained and saved.
        loss: (module, normalized images, the sample's other parts (labels, boxes), ..., generator) -> scalar loss.
        mean, std: normalization of the images, per channel of RGB in [0, 1].
        seed: seed of the generator that `loss` is given.

    Attributes:
        iteration: iterations done; set before each one.
    """

    def __init__(
        self,
        module: nn.Module,
        loss: Callable[..., Tensor],
        mean: tuple[float, ...],
        std: tuple[float, ...],
        seed: int,
    ) -> None:
        super().__init__()
        # Not `module`: mmengine takes that prefix for a wrapper's and strips it when it resumes.
        self.trained = module
        self._loss, self._mean, self._std, self._seed = loss, mean, std, seed
        self.iteration = 0

    def init_weights(self) -> None:
        """Do nothing. Otherwise the Runner would replace loaded weights by calling `init_weights` of timm's ViTs."""

    def forward(self, images: Tensor, *others: Tensor, mode: str = "tensor") -> dict[str, Tensor]:  # type: ignore[override]
        """Loss of a batch; its randomness depends on (seed, iteration, rank) alone.

        Args:
            images: [B, 3, H, W] uint8.
            others: labels, boxes, ... of the batch.
            mode: "loss", the only one of a training model.

        Returns:
            {"loss": scalar}.
        """
        if mode != "loss":
            raise ValueError(f"a training model only has mode 'loss', not {mode!r}")
        rank = int(os.environ.get("RANK", 0))
        key = (self._seed * 1_000_003 + self.iteration) * 1_009 + rank
        generator = torch.Generator().manual_seed(key)
        device = next(self.parameters()).device
        # Channels last is faster for convolutions, on a CPU as on a GPU.
        pixels = normalize_bytes(images.to(device), self._mean, self._std)
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        moved: list[Any] = [x.to(device) for x in others]
        return {"loss": self._loss(self.trained, pixels, *moved, generator)}
