"""Semantic density on a cross-attending autoencoder: exact at any sample of masked positions.

Source: LTRP (Luo et al., CVPR 2024), section 3.1, for what is measured; CrossMAE (Fu et al., 2024) for the decoder. The
queries of the decoder do not attend to one another and no removal changes the keys and values of the other tokens:
these are computed once an image, all removals run as one batch of queries, and a removal costs the queries' pass
alone. Since a prediction does not depend on which others are made, a sample of the masked positions gives the exact
change at those positions, and its mean is an unbiased estimate of the mean over all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.ltrp.cross_mae import CrossBlock, CrossMAE, KeysValues
from ltrp_bench.selectors.ltrp.distances import ON_PIXELS, Distance, patch_distance
from ltrp_bench.selectors.ltrp.mae import default_memory_mb
from ltrp_bench.selectors.ltrp.removal_sampling import sampled_density
from ltrp_bench.selectors.vit.layers import Block


def cross_density(
    mae: CrossMAE,
    images: Tensor,
    visible: Tensor,
    positions: Tensor,
    *,
    hide_in_encoder: bool = False,
    distance: Distance = "l1",
    samples: int | None = None,
    starts: Tensor | None = None,
    max_memory_mb: float | None = None,
) -> Tensor:
    """Change of the predictions at `positions` when each visible patch is left out in turn.

    Args:
        mae: the reconstructor.
        images: [B, 3, H, W], normalized by its mean and std.
        visible: [B, n] indices of the visible patches.
        positions: [B, M] indices of masked patches, all of them or a sample.
        hide_in_encoder: False: the encoder sees the patch, no decoder block does. True: in every encoder block the
            patch and the others do not attend to one another; the decoder is given all tokens.
        distance: "l1" or "l2" between predictions.
        samples: number of the positions at which each removal is compared, drawn by `sampled_density`; None compares
            at all of them. Not with `hide_in_encoder`.
        starts: [B] uniform random numbers in [0, 1) for `samples`; None draws them.
        max_memory_mb: rough limit of the working memory; None takes `default_memory_mb`.

    Returns:
        [B, n] float32, greater = more is lost. They depend on `max_memory_mb` by rounding only.

    Raises:
        UsageError: a distance on whole images, for which sampled positions are not enough.
    """
    check_cross_distance(distance)
    if samples is not None and hide_in_encoder:
        raise UsageError("samples need a patch hidden in the decoder")
    limit = default_memory_mb(images.device) if max_memory_mb is None else max_memory_mb
    budget = limit * 2**20 / mae.cls_token.element_size()
    seen, count = visible.shape[1], positions.shape[1]
    # Rough numbers of tensor elements: a query, and with an encoder pass of its own a removal.
    query = 9 * mae.mask_token.shape[-1] + 2 * mae.decoder_pred.out_features
    removal = count * query + (seen + 1) * mae.cls_token.shape[-1] * (len(mae.blocks) + 10)
    if samples is not None and starts is None:
        starts = torch.rand(len(images))
    if hide_in_encoder:
        image = seen * removal
    else:
        image = ((seen + 1) * count if samples is None else count + seen * samples) * query
    step = max(1, int(budget / image))
    images = images.to(mae.cls_token.dtype)
    parts = []
    with torch.no_grad():
        for first in range(0, len(images), step):
            part = slice(first, first + step)
            some, asked = images[part], positions[part]
            tokens = mae.embed(some, visible[part])
            if starts is not None and samples is not None:
                memory = mae.memory(mae.feature_maps(tokens))
                parts.append(sampled_density(mae, memory, asked, samples, starts[part], distance))
            elif hide_in_encoder:
                removals = max(1, int(budget / (len(some) * removal)))
                parts.append(_cut_off(mae, tokens, asked, distance, removals))
            else:
                queries = max(1, int(budget / (len(some) * (seen + 1) * query)))
                parts.append(_left_out(mae, tokens, asked, distance, queries))
    return torch.cat(parts)


def check_cross_distance(distance: Distance) -> None:
    """Raise `UsageError` for a distance on whole images."""
    if distance in ON_PIXELS:
        raise UsageError(f"distance {distance!r} needs whole reconstructions; a cross-attending decoder takes l1 or l2")


def predict_without(
    mae: CrossMAE, images: Tensor, visible: Tensor, positions: Tensor, removed: int, *, hide_in_encoder: bool = False
) -> Tensor:
    """Predictions [B, M, P*P*3] at the positions [B, M] without the visible patch number `removed`."""
    tokens = mae.embed(images, visible)
    if hide_in_encoder:
        alone = _alone(mae, tokens[:, removed + 1])
        return _predict_cut_off(mae, tokens, alone[:, None], positions, [removed])[:, 0]
    kept = [i for i in range(tokens.shape[1]) if i != removed + 1]
    memory = mae.memory(mae.feature_maps(tokens))
    return mae.decode([KeysValues(keys[:, :, kept], values[:, :, kept]) for keys, values in memory], positions)


def _left_out(mae: CrossMAE, tokens: Tensor, positions: Tensor, distance: Distance, step: int) -> Tensor:
    """Scores [B, n] where each visible token is left out of the decoder; `step` positions at a time."""
    memory = mae.memory(mae.feature_maps(tokens))
    seen = tokens.shape[1] - 1
    total = torch.zeros(len(tokens), seen, device=tokens.device)
    for some in positions.split(step, dim=1):
        anchor, changed = _predict_left_out(mae, memory, some)
        total += patch_distance(changed, anchor.unsqueeze(1), distance) * (some.shape[1] / positions.shape[1])
    return total


def _predict_left_out(mae: CrossMAE, memory: list[KeysValues], positions: Tensor) -> tuple[Tensor, Tensor]:
    """Predictions with all tokens, [B, M, P*P*3], and without each visible one, [B, n, M, P*P*3]."""
    batch, count = positions.shape
    runs = memory[0].keys.shape[2]  # the anchor, then one run a visible token
    mask = _leave_one_out_mask(runs, count, positions.device)
    blocks = cast(list[CrossBlock], list(mae.decoder_blocks))
    blank = mae.blank(positions)
    # All runs start from the same tokens: the first block's queries are computed once.
    x = blank.repeat(1, runs, 1)
    x = blocks[0].after_queries(x, blocks[0].queries(blank).repeat(1, runs, 1), memory[0], mask)
    for block, known in zip(blocks[1:], memory[1:], strict=True):
        x = block(x, known, mask)
    prediction = mae.decoder_pred(mae.decoder_norm(x)).view(batch, runs, count, -1)
    return prediction[:, 0], prediction[:, 1:]


def _leave_one_out_mask(tokens: int, count: int, device: torch.device) -> Tensor:
    """[tokens * count, tokens] bool: run 0 attends to all tokens, run i to all but token i; `count` queries a run."""
    mask = ~torch.eye(tokens, dtype=torch.bool, device=device)
    mask[0] = True  # the class token stays
    return mask.repeat_interleave(count, dim=0)


def _cut_off(mae: CrossMAE, tokens: Tensor, positions: Tensor, distance: Distance, step: int) -> Tensor:
    """Scores [B, n] where each visible token is cut off in the encoder; `step` removals at a time."""
    anchor = mae.decode(mae.memory(mae.feature_maps(tokens)), positions).unsqueeze(1)
    alone = _alone(mae, tokens[:, 1:])
    scores = []
    for removed in torch.arange(tokens.shape[1] - 1).split(step):
        changed = _predict_cut_off(mae, tokens, alone[:, removed], positions, removed.tolist())
        scores.append(patch_distance(changed, anchor, distance))
    return torch.cat(scores, dim=1)


def _alone(mae: CrossMAE, tokens: Tensor) -> Tensor:
    """[..., D] tokens -> [..., D, depth + 1]: feature maps of tokens that attend to nothing."""
    maps = [tokens]
    for block in cast(list[Block], list(mae.blocks)):
        maps.append(block.alone(maps[-1]))
    return torch.stack(maps, dim=-1)


def _predict_cut_off(
    mae: CrossMAE, tokens: Tensor, alone: Tensor, positions: Tensor, removals: Sequence[int]
) -> Tensor:
    """Predictions [B, R, M, P*P*3] where the visible tokens `removals` are cut off in turn.

    `alone` [B, R, D, depth + 1] are the feature maps of these tokens.
    """
    batch, count = positions.shape
    number, length = len(removals), tokens.shape[1]
    kept = torch.tensor([[i for i in range(length) if i != removed + 1] for removed in removals])
    others = mae.feature_maps(tokens[:, kept.to(tokens.device)].flatten(0, 1))
    maps = torch.cat([others, alone.flatten(0, 1).unsqueeze(1)], dim=1)
    asked = positions.repeat_interleave(number, dim=0)
    return mae.decode(mae.memory(maps), asked).view(batch, number, count, -1)
