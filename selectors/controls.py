"""Controls and references that methods are compared with: baselines without a model, the whole image, the oracle."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import torch
from torch import Tensor

from ltrp_bench.selectors.base import BatchContext, Role, Selector, Supervision
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.normalization import channelwise
from ltrp_bench.selectors.option_checks import check_whole
from ltrp_bench.selectors.topk import tie_keys


class Control(Selector):
    """Base class of controls on the task's own patch grid, without weights or labels.

    Args:
        patch_size: side of a patch in pixels."""

    role: Role = "control"
    supervision = Supervision.none()
    task_patch = True

    def __init__(self, patch_size: int = 16) -> None:
        check_whole(f"selector {self.name!r}", "patch_size", patch_size, 1)
        self.patch_size = patch_size

    def _grid(self, images: Tensor, context: BatchContext | None) -> tuple[int, int]:
        if context is not None and context.grid is not None:
            return context.grid
        return self.grid_of(images)


class FullControl(Control):
    """Equal scores for all patches; only meaningful at keep ratio 1, as the reference of the whole image."""

    name = "full"
    uses_pixels = False
    role = "reference"
    keeps_every_patch = True

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        return torch.zeros(len(images), *self._grid(images, context), device=images.device)


class RandomControl(Control):
    """Uniformly random order, a hash of image id and seed; without ids a hash of the pixels."""

    name = "random"
    uses_pixels = False
    stochastic = True

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        gh, gw = self._grid(images, context)
        if context is not None:
            ids, seed = list(context.image_ids), context.seed
        else:
            content = images.float().cpu().contiguous()
            ids, seed = [hashlib.sha256(x.numpy().tobytes()).hexdigest() for x in content], 0
        # Keys other than those of the tie-break: constant scores must not give the same order.
        keys = tie_keys([f"random:{i}" for i in ids], gh * gw, seed)
        ranks = np.argsort(np.argsort(keys, axis=1), axis=1).astype(np.float32)
        return torch.from_numpy(ranks).view(-1, gh, gw).to(images.device)


class CenterControl(Control):
    """Nearness to the center of the image, where photographers put their subject.

    Patches at equal distance tie exactly.
    """

    name = "center"
    uses_pixels = False
    version = 2

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        near = torch.from_numpy(centre_map(self._grid(images, context))).float()
        return near.to(images.device).expand(len(images), -1, -1)


def centre_map(grid: tuple[int, int]) -> np.ndarray:
    """[gh, gw] int64 nearness of each patch to the center: minus its squared distance, on a square image.

    Integers, so that mirrored patches tie exactly.
    """
    gh, gw = grid
    common = math.gcd(gh, gw)
    # Twice the steps from the center, in a unit that divides both sides.
    y, x = (2 * np.arange(gh) + 1 - gh) * (gw // common), (2 * np.arange(gw) + 1 - gw) * (gh // common)
    return -(y[:, None] ** 2 + x[None] ** 2)


class VarianceControl(Control):
    """Variance of the pixels of a patch, averaged over the RGB channels: local contrast."""

    name = "variance"

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        p = self.patch_size
        patches = images.float().unfold(2, p, p).unfold(3, p, p)
        return (patches.var(dim=(-1, -2), unbiased=False) * channelwise(self.std, patches) ** 2).mean(1)


class OracleControl(Control):
    """Ranks patches by ground truth: the ceiling of coverage, but no bound for tasks with a model.

    For coverage no ranking keeps more of the objects on average. The ceiling of a group of objects is another ranking:
    "oracle.unseen" has that of unseen objects, and its other numbers are ceilings of nothing.

    Args:
        patch_size: side of a patch in pixels.
        group: objects to rank for, for coverage only: "all", "seen", "unseen", a size, "things", "stuff" or a category;
            several joined by "+" select the objects that belong to all of them, such as "unseen+small".
    """

    name = "oracle"
    uses_pixels = False
    role = "reference"
    needs_context = True
    tag_option = "group"
    later_options = ("group",)
    # 2: on coverage tasks an exact ceiling, no longer the share of a patch that objects cover.
    version = 2

    def __init__(self, patch_size: int = 16, group: str = "all") -> None:
        super().__init__(patch_size)
        groups = tuple(part.strip() for part in group.split("+"))
        if not all(groups):
            raise UsageError(f"selector 'oracle': group {group!r} has an empty part; write names joined by '+'")
        self.oracle_groups = () if groups == ("all",) else groups

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        if context is None or context.objects is None:
            raise InputError("the oracle needs ground truth, which this task does not provide")
        return context.objects.to(images.device)


class DownsampleControl(Control):
    """A smaller image with as many patches as would be kept; the scores are constant and not used.

    Tasks that support it give the model the whole image, shrunk by sqrt(keep ratio) along each side.
    """

    name = "downsample"
    uses_pixels = False
    reduces_by_downsampling = True

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        return torch.zeros(len(images), *self._grid(images, context), device=images.device)
