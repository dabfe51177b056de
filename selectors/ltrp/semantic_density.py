"""Semantic density: how much a reconstruction changes when one visible patch is taken away.

Source: LTRP (Luo et al., CVPR 2024), section 3.1. A masked autoencoder rebuilds the masked patches from a few
visible ones (the anchor); each visible patch in turn is hidden, and put back before the next. The farther the
reconstruction of the masked patches moves, the more that patch told.

Two ways to take a patch away, as the reference has them. `decoder`: the encoder sees it, no decoder block does.
`encoder_decoder`: in every encoder block it neither asks nor answers, its own attention gathering zero, and the
decoder is handed all latents, this one now ignorant of the others and they of it.

The published code hides a token with an N x N mask, one decoder pass a removal. Here the token is left out of
the sequence, which is the same thing computed on fewer tokens; removals of all images run in common batches;
what no removal can change (the first block's norm, queries, keys and values of the other tokens) is computed
once; and the last block computes masked positions only.
"""

from __future__ import annotations

from typing import Literal, cast, get_args

import torch
from torch import Tensor

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.ltrp.distances import ON_PIXELS, Distance, PixelDistance, check_distance, patch_distance
from ltrp_bench.selectors.ltrp.mae import MAE, complement, count_visible, random_visible
from ltrp_bench.selectors.vit.layers import Block

Hide = Literal["decoder", "encoder_decoder"]


def semantic_density(
    mae: MAE,
    images: Tensor,
    visible: Tensor | None = None,
    mask_ratio: float = 0.9,
    hide: Hide = "decoder",
    distance: Distance = "l1",
    max_memory_mb: float | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Score each visible patch by how much the reconstruction changes without it.

    Args:
        mae: the reconstructor.
        images: [B, 3, H, W], normalised by the MAE's mean and std.
        visible: [B, n] indices of the visible patches; random ones at `mask_ratio` if None.
        mask_ratio: share of patches masked, in (0, 1).
        hide: cut the patch off in the decoder's blocks (the paper's default) or in the encoder's; see above.
        distance: l1, l2 (on predictions) or ssim, psnr, lpips (on images), over the masked patches.
        max_memory_mb: rough ceiling for the working memory; None: 64 on a CPU (its caches), 4096 on a GPU.
        generator: for the random visible patches.

    Returns:
        The visible indices [B, n] and their float32 scores [B, n] in the same order; greater = more is lost.
        The scores do not depend on `max_memory_mb` or on the other images beyond float rounding.

    Raises:
        UsageError: an unknown distance or `hide`, or no masked patch to look at.
        InputError: LPIPS without its weights.
    """
    check_distance(distance)
    if hide not in get_args(Hide):
        raise UsageError(f"no way to hide {hide!r}; choose one of {', '.join(get_args(Hide))}")
    if visible is None:
        keep = count_visible(mask_ratio, mae.patches)
        visible = random_visible(len(images), mae.patches, keep, generator, images.device)
    if visible.shape[1] >= mae.patches:
        raise UsageError("semantic density looks at masked patches: mask at least one")
    if max_memory_mb is None:
        max_memory_mb = 64.0 if images.device.type == "cpu" else 4096.0
    images = images.to(mae.cls_token.dtype)
    shared, each = _elements(mae, visible.shape[1], distance)
    budget = max_memory_mb * 2**20 / images.element_size()
    step = max(1, int(budget / (shared + each)))
    parts = []
    with torch.no_grad():
        for some, seen in zip(images.split(step), visible.split(step), strict=True):
            removals = max(1, int((budget - len(some) * shared) / each))
            parts.append(_density(mae, some, seen, hide, distance, removals))
    return visible, torch.cat(parts)


def average_density(
    mae: MAE,
    images: Tensor,
    visits: int = 3,
    mask_ratio: float = 0.9,
    hide: Hide = "decoder",
    distance: Distance = "l1",
    normalise: Literal["none", "rank"] = "none",
    max_memory_mb: float | None = None,
    generator: torch.Generator | None = None,
    orders: Tensor | None = None,
) -> Tensor:
    """Semantic density of every patch, averaged over random maskings: [B, gh, gw] float32.

    Each visit cuts a random order of the patches into disjoint visible sets, so that every patch is visible
    once (the last set is filled up from the first; its patches' extra scores are averaged in).

    Args:
        visits: how often each patch is scored at least.
        normalise: average raw scores, or ranks within each visible set, in [0, 1].
        orders: [B, visits, L] permutations of the patches to use instead of random ones.
        mae, images, mask_ratio, hide, distance, max_memory_mb, generator: as in `semantic_density`.
    """
    batch, patches = len(images), mae.patches
    keep = count_visible(mask_ratio, patches)
    if orders is None:
        if visits < 1:
            raise UsageError(f"every patch needs at least one visit, not {visits}")
        orders = random_visible(batch * visits, patches, patches, generator, images.device, ordered=False)
        orders = orders.view(batch, visits, patches)
    sets = -(-patches // keep)
    padded = torch.cat([orders, orders[..., : sets * keep - patches]], dim=-1)
    total = torch.zeros(batch, patches, device=images.device)
    count = torch.zeros_like(total)
    for visible in padded.reshape(batch, -1, keep).unbind(1):
        visible = visible.sort(dim=1).values
        _, scores = semantic_density(mae, images, visible, hide=hide, distance=distance, max_memory_mb=max_memory_mb)
        if normalise == "rank":
            scores = scores.argsort(dim=1).argsort(dim=1) / max(1, keep - 1)
        total.scatter_add_(1, visible, scores)
        count.scatter_add_(1, visible, torch.ones_like(scores))
    return (total / count).view(batch, *mae.grid)


def _elements(mae: MAE, seen: int, distance: Distance) -> tuple[int, int]:
    """Numbers held for each image, and at most alive for each removal: rough counts of tensor elements."""
    width, pixels = mae.decoder_embed.out_features, mae.decoder_pred.out_features
    tokens, masked = mae.patches, mae.patches - seen
    shared = 4 * tokens * width + masked * pixels
    each = max(9 * tokens * width, 9 * (seen + 1) * mae.cls_token.shape[-1]) + 2 * masked * pixels
    if distance in ON_PIXELS:  # images, their filtered moments or features
        shared, each = shared + 3 * mae.patches * pixels, each + 12 * mae.patches * pixels
    return shared, each


def _density(mae: MAE, images: Tensor, visible: Tensor, hide: Hide, distance: Distance, step: int) -> Tensor:
    """Scores [B, n]; `step` removals at a time."""
    batch, seen = visible.shape
    masked = complement(visible, mae.patches)
    encoder = cast(list[Block], list(mae.blocks))
    first = cast(Block, mae.decoder_blocks[0])

    tokens = mae.embed(images, visible)
    latent = tokens
    for block in encoder:
        latent = block(latent)
    known = _known(mae, mae.norm(latent), visible)
    # A mask token differs by its place only: one table serves all images and removals.
    blank = mae.mask_token[0] + mae.decoder_pos_embed[0, 1:]
    blank_qkv = first.qkv(blank)[masked]
    blank = blank[masked]
    known_qkv = first.qkv(known)
    anchor = _predict(mae, torch.cat([known, blank], dim=1), torch.cat([known_qkv, blank_qkv], dim=1), seen + 1)
    if distance in ON_PIXELS:
        on_pixels = PixelDistance(mae, images, visible, masked, anchor, distance)

    others = _all_but_one(seen, images.device)
    if hide == "encoder_decoder":
        tokens_qkv, lone = encoder[0].qkv(tokens), tokens[:, 1:]
        for block in encoder:
            lone = block.alone(lone)
        cut_off = _known(mae, mae.norm(torch.cat([tokens[:, :1], lone], dim=1)), visible)[:, 1:]
    scores = torch.empty(batch * seen, device=images.device)
    for pairs in torch.arange(batch * seen, device=images.device).split(step):
        rows, column = pairs // seen, pairs % seen
        without, pick = others[column], rows.unsqueeze(1)
        if hide == "decoder":
            some, some_qkv = known[pick, without], known_qkv[pick, without]
        else:
            latent = encoder[0].after_qkv(tokens[pick, without], tokens_qkv[pick, without])
            for block in encoder[1:]:
                latent = block(latent)
            some = _known(mae, mae.norm(latent), visible[pick, without[:, 1:] - 1])
            some = torch.cat([some, cut_off[rows, column].unsqueeze(1)], dim=1)
            some_qkv = first.qkv(some)
        pred = _predict(
            mae,
            torch.cat([some, blank[rows]], dim=1),
            torch.cat([some_qkv, blank_qkv[rows]], dim=1),
            some.shape[1],
        )
        if distance in ON_PIXELS:
            scores[pairs] = on_pixels(pred, rows)
        else:
            scores[pairs] = patch_distance(pred, anchor[rows], distance)
    return scores.view(batch, seen)


def _known(mae: MAE, latent: Tensor, visible: Tensor) -> Tensor:
    """The decoder's tokens that are not blank: class token and visible patches at their places."""
    places = torch.nn.functional.pad(visible + 1, (1, 0))
    return mae.decoder_embed(latent) + mae.decoder_pos_embed[0][places]


def _predict(mae: MAE, x: Tensor, qkv: Tensor, known: int) -> Tensor:
    """Decoder from the first block's input and its qkv -> predictions of all but the first `known` tokens."""
    blocks = cast(list[Block], list(mae.decoder_blocks))
    x = blocks[0].after_qkv(x, qkv)
    for block in blocks[1:-1]:
        x = block(x)
    x = x[:, known:] if len(blocks) == 1 else blocks[-1](x, first_query=known)
    return mae.decoder_pred(mae.decoder_norm(x))


def _all_but_one(seen: int, device: torch.device) -> Tensor:
    """[n, n]: row i lists the class token (0) and the visible tokens 1..n without token i + 1."""
    index = torch.arange(seen, device=device)
    return index + (index > torch.arange(seen, device=device).unsqueeze(1)).long()
