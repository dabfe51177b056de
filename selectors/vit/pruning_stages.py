"""Full ranking from a method that prunes in stages: by the stage a patch survived to, then by its score there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ltrp_bench.selectors.errors import UsageError


@dataclass(frozen=True)
class Stage:
    """Input, scores and output of one pruning stage.

    Attributes:
        entered: [B, n] raster index of the patch of each input token; -1 for a fused token, which is no patch.
        scores: [B, n] scores of these tokens, greater = keep.
        kept: [B, m] raster indices of the output tokens, as in `entered`, in their order.
    """

    entered: Tensor
    scores: Tensor
    kept: Tensor


def staged_scores(stages: Sequence[Stage], patches: int) -> Tensor:
    """Scores whose order is: first by the number of stages survived, then by the score at the last stage entered.

    A patch that stage i dropped is scored by stage i; survivors of all stages by the last one. A patch that survived
    s stages scores in [s, s + 0.5] (`level_scores`).

    Args:
        stages: in order, at least one; all patches enter the first.
        patches: L.

    Returns:
        [B, L] float32. Equal scores of a stage stay equal.
    """
    batch, device = len(stages[0].entered), stages[0].entered.device
    # One place more than patches: tokens that are no patch write there.
    survived = torch.zeros(batch, patches + 1, dtype=torch.long, device=device)
    score = torch.zeros(batch, patches + 1, dtype=torch.float64, device=device)
    for stage in stages:
        score.scatter_(1, _places(stage.entered, patches), stage.scores.double())
        kept = _places(stage.kept, patches)
        survived.scatter_add_(1, kept, torch.ones_like(kept))
    return level_scores(survived[:, :patches], score[:, :patches])


def level_scores(levels: Tensor, scores: Tensor) -> Tensor:
    """Scores whose order is: by level first, then by score within the level.

    Args:
        levels: [B, L] whole numbers from 0 on.
        scores: [B, L] finite, comparable within an image's level.

    Returns:
        [B, L] float32: level + [0, 0.5], the scores of an image's level stretched linearly over that range (a level
        of equal scores, or of one patch, lies at its foot).
    """
    score, out = scores.double(), levels.double()
    for level in range(int(levels.max()) + 1):
        here = levels == level
        low = score.masked_fill(~here, torch.inf).amin(1, keepdim=True)
        high = score.masked_fill(~here, -torch.inf).amax(1, keepdim=True)
        stretched = (score - low) / (high - low).clamp_min(torch.finfo(torch.float32).tiny)
        out = torch.where(here, out + stretched * 0.5, out)
    return out.float()


def _places(index: Tensor, patches: int) -> Tensor:
    return torch.where(index < 0, patches, index)


def quarter_stages(depth: int) -> tuple[int, ...]:
    """The published stages for any depth: a quarter, a half and three quarters of the blocks (3, 6, 9 of 12)."""
    if depth < 4:
        raise UsageError(f"a ViT of {depth} blocks has no three places to prune at: give stages=")
    return tuple(depth * quarter // 4 for quarter in (1, 2, 3))


def check_stages(stages: Sequence[int], depth: int) -> tuple[int, ...]:
    """`stages` as a tuple; `UsageError` unless they are block numbers (from 0) of this depth, rising."""
    found = tuple(stages)
    whole = all(isinstance(s, int) and not isinstance(s, bool) for s in found)
    if not found or not whole or list(found) != sorted(set(found)) or found[0] < 0 or found[-1] >= depth:
        raise UsageError(f"stages must be rising block numbers from 0 to {depth - 1}, got {list(found)}")
    return found


def check_rate(name: str, rate: float) -> float:
    """`rate` as a float; `UsageError` unless 0 < rate <= 1."""
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 < rate <= 1:
        raise UsageError(f"{name} must be in (0, 1], got {rate!r}")
    return float(rate)
