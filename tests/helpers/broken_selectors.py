"""Selectors that each break the contract in one way, beside one that keeps it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ltrp_bench.selectors.base import BatchContext, Selector, Supervision

PATCH = 8


class Sound(Selector):
    """Contrast of a patch, with something to break."""

    name = "sound"
    patch_size = PATCH

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        assert context is not None
        return self.broken(nn.functional.avg_pool2d(images.mean(1).square(), PATCH), images, context)

    def broken(self, scores: Tensor, images: Tensor, context: BatchContext) -> Tensor:
        return scores


class NaNOnOne(Sound):
    def broken(self, scores: Tensor, images: Tensor, context: BatchContext) -> Tensor:
        for row, image in enumerate(context.image_ids):
            if image == "000004":
                scores[row, 2, 3] = math.nan
        return scores


class FlatScores(Sound):
    def broken(self, scores: Tensor, images: Tensor, context: BatchContext) -> Tensor:
        return scores.flatten(1)


class Raises(Sound):
    def broken(self, scores: Tensor, images: Tensor, context: BatchContext) -> Tensor:
        raise ZeroDivisionError("division by zero")


class ChangesInput(Sound):
    def broken(self, scores: Tensor, images: Tensor, context: BatchContext) -> Tensor:
        if "000003" in context.image_ids:
            images.mul_(0.5)
        return scores


class GlobalChance(Sound):
    def broken(self, scores: Tensor, images: Tensor, context: BatchContext) -> Tensor:
        return torch.rand_like(scores)


class BatchStatistics(Sound):
    def broken(self, scores: Tensor, images: Tensor, context: BatchContext) -> Tensor:
        return scores - scores.mean(0, keepdim=True) if len(scores) > 1 else scores


class PlaceInBatch(Sound):
    def broken(self, scores: Tensor, images: Tensor, context: BatchContext) -> Tensor:
        ramp = torch.linspace(0, 1, scores[0].numel()).view_as(scores[0])
        return scores + torch.arange(len(scores)).view(-1, 1, 1) * ramp


class FirstOfBatch(Sound):
    """Right for a batch's first image, and so when asked alone."""

    def broken(self, scores: Tensor, images: Tensor, context: BatchContext) -> Tensor:
        return torch.cat([scores[:1], scores[:1].expand(len(scores) - 1, -1, -1)])


class HiddenSeed(Sound):
    def broken(self, scores: Tensor, images: Tensor, context: BatchContext) -> Tensor:
        return scores if context.seed == 0 else -scores


class OnlySaysChance(Sound):
    stochastic = True


class ScoresAnything(Sound):
    def scores(self, images: Tensor, context: BatchContext | None = None) -> Tensor:
        return self._scores(images, context)


class WrongElsewhere(Sound):
    """Goes wrong on the device "cpu:0", which stands for another one."""

    elsewhere = False

    def to(self, device: torch.device | str) -> Selector:
        self.elsewhere = torch.device(device).index == 0
        return super().to(device)

    def broken(self, scores: Tensor, images: Tensor, context: BatchContext) -> Tensor:
        return -scores if self.elsewhere else scores


class Plain:
    """No base class, no context."""

    name = "plain"
    supervision = Supervision.none()
    mean = std = (0.5, 0.5, 0.5)
    patch_size = PATCH

    def __init__(self, wrap: Callable[[Tensor], Any] = lambda scores: scores) -> None:
        self.wrap = wrap

    def scores(self, images: Tensor) -> Any:
        return self.wrap(nn.functional.avg_pool2d(images.mean(1), PATCH))
