"""Semantic density on a cross-attending autoencoder: exact at any sample of masked positions.

Source: LTRP (Luo et al., CVPR 2024), section 3.1, for what is measured; CrossMAE (Fu et al., 2024) for the decoder. The
queries of the decoder do not attend to one another and no removal changes the keys and values of the other tokens:
these are computed once an image, all removals run as one batch of queries, and a removal costs the queries' pass
alone. Since a prediction does not depend on which others are made, a sample of the masked positions gives the exact
change at those positions, and its mean is an unbiased estimate of the mean over all of them.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.ltrp.cross_mae import CrossBlock, CrossMAE, KeysValues
from ltrp_bench.selectors.ltrp.distances import ON_PIXELS, Distance, patch_distance
from ltrp_bench.selectors.vit.layers import Block


def cross_density(
    mae: CrossMAE,
    images: Tensor,
    visible: Tensor,
    positions: Tensor,
    *,
    hide_in_encoder: bool = False,
    distance: Distance = "l1",
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

    Returns:
        [B, n] float32, greater = more is lost.

    Raises:
        UsageError: a distance on whole images, for which sampled positions are not enough.
    """
    if distance in ON_PIXELS:
        raise UsageError(f"distance {distance!r} needs whole reconstructions; a cross-attending decoder takes l1 or l2")
    with torch.no_grad():
        images = images.to(mae.cls_token.dtype)
        tokens = mae.embed(images, visible)
        maps = mae.feature_maps(tokens)
        if hide_in_encoder:
            anchor, changed = mae.decode(mae.memory(maps), positions), _without_in_encoder(mae, tokens, positions)
        else:
            anchor, changed = _without_in_decoder(mae, mae.memory(maps), positions)
        removals = changed.shape[1]
        pairs = changed.flatten(0, 1)
        reference = anchor.unsqueeze(1).expand(-1, removals, -1, -1).flatten(0, 1)
        return patch_distance(pairs, reference, distance).float().view(len(images), removals)


def _without_in_decoder(mae: CrossMAE, memory: list[KeysValues], positions: Tensor) -> tuple[Tensor, Tensor]:
    """Predictions with all tokens, [B, M, P*P*3], and without each visible one, [B, n, M, P*P*3]."""
    batch, count = positions.shape
    tokens = memory[0].keys.shape[2]
    mask = _leave_one_out_mask(tokens, count, positions.device)
    runs = tokens  # the anchor, then one run a visible token
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


def _without_in_encoder(mae: CrossMAE, tokens: Tensor, positions: Tensor) -> Tensor:
    """Predictions [B, n, M, P*P*3] where each visible token in turn is cut off from the others in the encoder."""
    batch, seen = tokens.shape[0], tokens.shape[1] - 1
    blocks = cast(list[Block], list(mae.blocks))
    alone = [tokens[:, 1:]]
    for block in blocks:
        alone.append(block.alone(alone[-1]))
    cut_off = torch.stack(alone, dim=-1)  # [B, n, D, K]
    changed = []
    for removed in range(seen):
        kept = [i for i in range(seen + 1) if i != removed + 1]
        others = mae.feature_maps(tokens[:, kept])
        maps = torch.cat([others, cut_off[:, removed : removed + 1]], dim=1)
        changed.append(mae.decode(mae.memory(maps), positions))
    return torch.stack(changed, dim=1).view(batch, seen, positions.shape[1], -1)
