"""Semantic density: the change of a reconstruction when one visible patch is removed (LTRP, CVPR 2024, section 3.1).

A masked autoencoder reconstructs the masked patches from a few visible ones (the anchor). Each visible patch is then
hidden in turn. The more the reconstruction of the masked patches changes, the more informative is the patch.

A patch is hidden in one of two ways, as in the published code. `decoder`: from all blocks of the decoder, but not from
the encoder. `encoder_decoder`: in every block of the encoder, the patch neither attends nor is attended to, and its own
attention output is 0; the decoder gets all latents.

The published code hides a token by an N x N mask, with one decoder pass per removal. Here the token is left out of the
sequence, which gives the same result on fewer tokens; removals of all images share batches; parts that no removal
changes (norm, queries, keys and values of the other tokens in the first block) are computed once; and the last block
computes masked positions only. A `CrossMAE` allows much more, see `cross_density`.
"""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.ltrp.cross_density import cross_density
from ltrp_bench.selectors.ltrp.cross_mae import CrossMAE
from ltrp_bench.selectors.ltrp.distances import ON_PIXELS, Distance, PixelDistance, check_distance, patch_distance
from ltrp_bench.selectors.ltrp.mae import MAE, complement, count_visible, default_memory_mb, random_visible
from ltrp_bench.selectors.ltrp.positions import EXACT, GOLDEN_RATIO, Sampling, count_positions, spread_positions
from ltrp_bench.selectors.option_checks import check_value
from ltrp_bench.selectors.vit.layers import Block

Hide = Literal["decoder", "encoder_decoder"]


def semantic_density(
    mae: MAE | CrossMAE,
    images: Tensor,
    visible: Tensor | None = None,
    *,
    mask_ratio: float = 0.9,
    hide: Hide = "decoder",
    distance: Distance = "l1",
    positions: Tensor | None = None,
    samples: int | None = None,
    starts: Tensor | None = None,
    max_memory_mb: float | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Score each visible patch by the change of the reconstruction without it.

    Args:
        mae: reconstructs the images.
        images: [B, 3, H, W], normalized by the mean and std of the MAE.
        visible: [B, n] indices of the visible patches; None draws them at `mask_ratio`.
        mask_ratio: share of masked patches, in (0, 1).
        hide: hide the patch in the decoder (the default of the paper) or in the encoder; see above.
        distance: l1, l2 (on predictions) or, with a `MAE`, ssim, psnr, lpips (on images), over the masked patches.
        positions: [B, M] indices of masked patches to which a `CrossMAE` restricts the distance; None takes all.
        samples, starts: as in `cross_density`, for a `CrossMAE`.
        max_memory_mb: rough limit of the working memory; None takes 64 on a CPU (for its caches), 4096 on a GPU.
        generator: generator of the random visible patches.

    Returns:
        The visible indices [B, n] and their float32 scores [B, n] in the same order; greater = more is lost.
        The scores do not depend on `max_memory_mb` or on the other images beyond float rounding.

    Raises:
        UsageError: an unknown `distance` or `hide`, no masked patch, or `positions` with a `MAE`.
        InputError: LPIPS without its weights.
    """
    check_distance(distance)
    check_value("semantic density", "hide", hide, Hide)
    if visible is None:
        keep = count_visible(mask_ratio, mae.patches)
        visible = random_visible(len(images), mae.patches, keep, generator, images.device)
    if visible.shape[1] >= mae.patches:
        raise UsageError("semantic density needs masked patches: mask at least one")
    if isinstance(mae, CrossMAE):
        scores = cross_density(
            mae,
            images,
            visible,
            complement(visible, mae.patches) if positions is None else positions,
            hide_in_encoder=hide == "encoder_decoder",
            distance=distance,
            samples=samples,
            starts=starts,
            max_memory_mb=max_memory_mb,
        )
        return visible, scores
    if positions is not None or samples is not None:
        raise UsageError(
            "positions and samples are for a CrossMAE: a MAE's decoder predicts all masked patches at once"
        )
    if max_memory_mb is None:
        max_memory_mb = default_memory_mb(images.device)
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
    mae: MAE | CrossMAE,
    images: Tensor,
    *,
    visits: int = 3,
    mask_ratio: float = 0.9,
    hide: Hide = "decoder",
    distance: Distance = "l1",
    sampling: Sampling = EXACT,
    normalise: Literal["none", "rank"] = "none",
    max_memory_mb: float | None = None,
    generator: torch.Generator | None = None,
    orders: Tensor | None = None,
    offsets: Tensor | None = None,
) -> Tensor:
    """Semantic density of every patch, averaged over random maskings: [B, gh, gw] float32.

    Each visit splits a random order of the patches into disjoint visible sets, so that every patch is visible once (the
    last set is filled up from the first; the extra scores are averaged in).

    Args:
        visits: least number of scores per patch.
        sampling: predictions of a `CrossMAE` that are compared; a `MAE` takes the default only.
        normalise: average raw scores, or ranks within each visible set, in [0, 1].
        orders: [B, visits, L] permutations of the patches to use instead of random ones.
        offsets: [B, visits, 2] uniform random numbers in [0, 1) that place positions and samples, instead of random
            ones.
        mae, images, mask_ratio, hide, distance, max_memory_mb, generator: as in `semantic_density`.
    """
    batch, patches = len(images), mae.patches
    keep = count_visible(mask_ratio, patches)
    sampling.check(mae, mask_ratio, hide == "encoder_decoder", isinstance(mae, CrossMAE))
    if orders is None:
        if visits < 1:
            raise UsageError(f"every patch needs at least one visit, not {visits}")
        orders = random_visible(batch * visits, patches, patches, generator, images.device, ordered=False)
        orders = orders.view(batch, visits, patches)
    sets = -(-patches // keep)
    padded = torch.cat([orders, orders[..., : sets * keep - patches]], dim=-1)
    total = torch.zeros(batch, patches, device=images.device)
    count = torch.zeros_like(total)
    if not sampling.exact and offsets is None:
        offsets = torch.rand(batch, orders.shape[1], 2, generator=generator)
    for number, visible in enumerate(padded.reshape(batch, -1, keep).unbind(1)):
        visible, asked, starts = visible.sort(dim=1).values, None, None
        if offsets is not None and not sampling.exact:
            # Steps of the golden ratio between the sets of a visit: their positions differ, and stay uniform.
            places, starts = ((offsets[:, number // sets].double() + number % sets * GOLDEN_RATIO) % 1).unbind(1)
            masked = complement(visible, patches)
            asked = spread_positions(masked, count_positions(sampling.positions, patches - keep), mae.grid, places)
        _, scores = semantic_density(
            mae,
            images,
            visible,
            hide=hide,
            distance=distance,
            positions=asked,
            samples=sampling.samples,
            starts=starts,
            max_memory_mb=max_memory_mb,
        )
        if normalise == "rank":
            scores = scores.argsort(dim=1).argsort(dim=1) / max(1, keep - 1)
        total.scatter_add_(1, visible, scores)
        count.scatter_add_(1, visible, torch.ones_like(scores))
    return (total / count).view(batch, *mae.grid)


def _elements(mae: MAE, seen: int, distance: Distance) -> tuple[int, int]:
    """Rough number of tensor elements in memory per image, and per removal."""
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
    # Mask tokens differ by their position only: one table for all images and removals.
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
    """Decoder tokens that are not masked: class token and visible patches, with positions."""
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
