"""Semantic density from a few positions for each removal, drawn where the removal matters.

A removal changes a CrossMAE's predictions mostly at few positions, and each removal at others. One decoder pass with
all visible patches tells where: if a query attends to a patch with weight p, its attention output moves by p / (1 - p)
times its distance from the patch's value when the patch is left out. Positions are drawn in proportion to this
movement, and changes divided by their chances (Hansen & Hurwitz, 1943). The estimate is unbiased and varies much less
than one from as many positions drawn evenly.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from ltrp_bench.selectors.ltrp.cross_mae import CrossBlock, CrossMAE, KeysValues
from ltrp_bench.selectors.ltrp.distances import Distance
from ltrp_bench.selectors.ltrp.positions import GOLDEN_RATIO
from ltrp_bench.selectors.vit.layers import take

EXACT_DISTANCE = "donot_use_mm_for_euclid_dist"
LEAST_CHANCE = 0.1
"""Added to the importance of each position, as a share of the mean: it limits the weight of an unexpected change."""


def sampled_density(
    mae: CrossMAE, memory: list[KeysValues], positions: Tensor, samples: int, starts: Tensor, distance: Distance
) -> Tensor:
    """Estimate of the change at the positions [B, M] without each visible patch, [B, n] float32.

    Args:
        mae: the reconstructor.
        memory: keys and values of its decoder blocks.
        positions: [B, M] indices of masked patches.
        samples: number of positions drawn for each removal, a position possibly more than once.
        starts: [B] uniform random numbers in [0, 1), where the systematic samples start.
        distance: "l1" or "l2".
    """
    anchor, importance = _anchor(mae, memory, positions)
    removals, count = importance.shape[1:]
    if distance == "l2":
        importance = importance.square()
    importance = importance + LEAST_CHANCE * importance.mean(dim=2, keepdim=True)
    chances = importance / importance.sum(dim=2, keepdim=True)
    # Starts of the removals differ by steps of the golden ratio; each is uniform.
    steps = torch.arange(removals, device=positions.device) * GOLDEN_RATIO
    first = (starts.to(positions.device).double().unsqueeze(1) + steps) % 1
    targets = (first.unsqueeze(2) + torch.arange(samples, device=positions.device)) / samples
    picks = torch.searchsorted(chances.cumsum(dim=2), targets.float()).clamp_(max=count - 1)

    x = mae.blank(positions.gather(1, picks.flatten(1)))
    mask = ~torch.eye(removals + 1, dtype=torch.bool, device=positions.device)[1:]
    mask = mask.repeat_interleave(samples, dim=0)
    for block, known in zip(mae.decoder_blocks, memory, strict=True):
        x = block(x, known, mask)
    change = mae.decoder_pred(mae.decoder_norm(x)).float() - take(anchor, picks.flatten(1))
    change = (change.abs_() if distance == "l1" else change.square_()).mean(dim=2).view_as(picks)
    return (change / chances.gather(2, picks)).mean(dim=2) / count


def _anchor(mae: CrossMAE, memory: list[KeysValues], positions: Tensor) -> tuple[Tensor, Tensor]:
    """Predictions with all tokens [B, M, P*P*3], and how much each removal moves the attention outputs [B, n, M]."""
    x = mae.blank(positions)
    movement = torch.zeros(1, device=x.device)
    for block, (keys, values) in zip(cast(list[CrossBlock], list(mae.decoder_blocks)), memory, strict=True):
        queries = block.cross_attn.split_heads(block.queries(x))
        weights = (queries @ keys.transpose(-1, -2) * queries.shape[-1] ** -0.5).softmax(dim=-1)
        mixed = weights @ values
        share = weights[..., 1:].float()
        # Not by matrix products, which lose the digits of small distances.
        distance = torch.cdist(mixed.float(), values[:, :, 1:].float(), compute_mode=EXACT_DISTANCE)
        moved = share / (1 - share).clamp_min(0.05) * distance
        movement = movement + moved.square().sum(dim=1).sqrt()
        x = x + block.cross_attn.proj(mixed.transpose(1, 2).flatten(2))
        x = x + block.mlp(block.norm2(x))
    return mae.decoder_pred(mae.decoder_norm(x)), movement.transpose(1, 2)
