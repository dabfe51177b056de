"""Controls: selectors that are not methods, against which methods are read."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import torch
from torch import Tensor

from ltrp_bench.selectors.base import BatchContext, Role, Selector, Supervision
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.topk import tie_keys


class Control(Selector):
    """A control on the task's own patch grid: no weights, no labels."""

    role: Role = "control"
    supervision = Supervision.none()
    task_patch = True

    def __init__(self, patch_size: int = 16) -> None:
        if not isinstance(patch_size, int) or isinstance(patch_size, bool) or patch_size < 1:
            raise UsageError(f"selector {self.name!r}: patch_size is a whole number from 1 on, got {patch_size!r}")
        self.patch_size = patch_size

    def _grid(self, images: Tensor, context: BatchContext | None) -> tuple[int, int]:
        if context is not None and context.grid is not None:
            return context.grid
        return images.shape[2] // self.patch_size, images.shape[3] // self.patch_size


class FullControl(Control):
    """Every patch scores the same; only meaningful at keep ratio 1, the upper reference."""

    name = "full"
    role = "reference"
    keeps_every_patch = True

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        return torch.zeros(len(images), *self._grid(images, context), device=images.device)


class RandomControl(Control):
    """Uniform random order, by (image id, seed); without ids, by the image's content."""

    name = "random"
    stochastic = True

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        gh, gw = self._grid(images, context)
        if context is not None:
            ids, seed = list(context.image_ids), context.seed
        else:
            content = images.float().cpu().contiguous()
            ids, seed = [hashlib.sha256(x.numpy().tobytes()).hexdigest() for x in content], 0
        # Another stream than the tie-break's, or random would be what a constant score map gives.
        keys = tie_keys([f"random:{i}" for i in ids], gh * gw, seed)
        ranks = np.argsort(np.argsort(keys, axis=1), axis=1).astype(np.float32)
        return torch.from_numpy(ranks).view(-1, gh, gw).to(images.device)


class CenterControl(Control):
    """Nearness to the image's centre: photographers put their subject there.

    Patches equally far from it tie exactly, and are ordered as ties are.
    """

    name = "center"
    version = 2

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        near = torch.from_numpy(centre_map(self._grid(images, context))).float()
        return near.to(images.device).expand(len(images), -1, -1)


def centre_map(grid: tuple[int, int]) -> np.ndarray:
    """[gh, gw] int64 nearness of each patch to the centre: minus its squared distance, on a square image.

    Whole numbers, so that mirrored patches are equally near to the last bit.
    """
    gh, gw = grid
    common = math.gcd(gh, gw)
    # Twice the steps from the centre, both in units that go into either side.
    y, x = (2 * np.arange(gh) + 1 - gh) * (gw // common), (2 * np.arange(gw) + 1 - gw) * (gh // common)
    return -(y[:, None] ** 2 + x[None] ** 2)


class VarianceControl(Control):
    """Variance of a patch's pixels, mean of the channels in RGB units: plain local contrast."""

    name = "variance"

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        p = self.patch_size
        patches = images.float().unfold(2, p, p).unfold(3, p, p)
        std = torch.tensor(self.std, device=images.device)
        return (patches.var(dim=(-1, -2), unbiased=False) * std.view(1, 3, 1, 1) ** 2).mean(1)


class OracleControl(Control):
    """Share of a patch that annotated objects cover: ranks by ground truth, the ceiling of coverage."""

    name = "oracle"
    role = "reference"
    needs_context = True

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        if context is None or context.objects is None:
            raise InputError("the oracle needs ground truth; this task gives none")
        return context.objects.to(images.device)


class DownsampleControl(Control):
    """A smaller image with as many patches as were to be kept; the task makes it, so scores are all alike.

    Tasks that allow it hand the model an image shrunk by sqrt(keep ratio) along each side.
    """

    name = "downsample"
    reduces_by_downsampling = True

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        return torch.zeros(len(images), *self._grid(images, context), device=images.device)
