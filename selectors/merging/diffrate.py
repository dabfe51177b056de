"""DiffRate: pruning and merging at learned rates (Chen et al., ICCV 2023, arXiv:2305.17997).

In every block, between attention and MLP, the tokens are sorted by the attention of the class token. The last ones are
pruned, and those before them are merged, each into the most similar token that stays. How many of each was learned once
for each published model (`diffrate_rates`); the weights themselves are those of DeiT or MAE.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from typing_extensions import Unpack

from ltrp_bench.selectors.base import BatchContext, Selector
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.merging.diffrate_rates import Rates, learned_for, rates_named, resampled
from ltrp_bench.selectors.option_checks import check_whole
from ltrp_bench.selectors.pruning.pruned_vit import attention_ranking
from ltrp_bench.selectors.vit.backbones import load_backbone, qkv_of, tokens
from ltrp_bench.selectors.vit.blocks import attend, check_plain, close_attention, feed_forward, token_layout
from ltrp_bench.selectors.vit.layers import take
from ltrp_bench.selectors.vit.pruning_stages import Stage
from ltrp_bench.selectors.vit.reading_options import ReadingOptions


@dataclass(frozen=True)
class Compression:
    """What DiffRate did with a batch.

    Attributes:
        tokens: [B, n, D] tokens after the last block.
        size: [B, n] their sizes, see `compress`.
        stages: one per block, scored by class attention; a token goes by the patch that it was before others were
            merged into it.
        groups: per block, [B, N] place after the block of the token that each token of the input is in; -1 if pruned.
    """

    tokens: Tensor
    size: Tensor
    stages: list[Stage]
    groups: list[Tensor]


def compress(vit: VisionTransformer, images: Tensor, rates: Rates) -> Compression:
    """Run a ViT with DiffRate.

    A merged token is the plain mean of its parts. Its size, whose logarithm is added to the attention, is the target's
    plus those of the others times their similarity to it, so it is no number of patches.

    Args:
        vit: timm ViT of plain blocks with a class token.
        images: [B, 3, H, W] normalized.
        rates: numbers of tokens, one per block.
    """
    x = tokens(vit, images)
    prefix, patches = token_layout(vit, len(x), x.device)
    size = x.new_ones(x.shape[:2])
    group = torch.arange(x.shape[1], device=x.device).expand(len(x), -1)
    stages, groups = list[Stage](), list[Tensor]()
    for block, pruned_to, merged_to in zip(vit.blocks, rates.pruned_to, rates.merged_to, strict=True):
        b: Any = block
        attn = b.attn
        q, k, v = qkv_of(attn, b.norm1(x))
        bias = size.log()[:, None, None]
        logits = (q[:, :, :1] * attn.scale) @ k.transpose(-2, -1) + bias
        attention = logits.float().softmax(-1)[:, :, 0, prefix:].mean(1)
        x = close_attention(b, x, attend(q, k, v, attn, bias))
        order = attention.argsort(dim=1, descending=True, stable=True)
        first = torch.arange(prefix, device=x.device).expand(len(x), -1)
        places = torch.cat([first, order + prefix], dim=1)
        x, size, group = take(x, places), size.gather(1, places), _moved(group, places.argsort(dim=1))
        # The rates count the class token; any other token before the patches comes on top.
        keep = min(pruned_to + prefix - 1, x.shape[1])
        stay = min(merged_to + prefix - 1, keep)
        x, size, group = x[:, :keep], size[:, :keep], group.masked_fill(group >= keep, -1)
        if stay < keep:
            unit = F.normalize(x, dim=-1)
            alike = unit[:, stay:] @ unit[:, :stay].transpose(1, 2)
            alike[..., :prefix] = -torch.inf
            best, target = alike.max(dim=-1)
            # A product instead of a scattered sum, which is not deterministic on a GPU.
            into = F.one_hot(target, stay).to(x.dtype).transpose(1, 2)
            x = (x[:, :stay] + into @ x[:, stay:]) / (1 + into.sum(-1, keepdim=True))
            added = (into @ (size[:, stay:] * best).unsqueeze(-1)).squeeze(-1)
            # Unlike tokens can take more away than the target has; the logarithm of that is no number.
            size = (size[:, :stay] + added).clamp_min(torch.finfo(x.dtype).tiny)
            same = torch.arange(prefix, stay, device=x.device).expand(len(x), -1)
            group = _moved(group, torch.cat([first, same, target], dim=1))
        kept = patches.gather(1, order[:, : stay - prefix])
        stages.append(Stage(patches, attention, kept))
        groups.append(group)
        patches = kept
        x = feed_forward(b, x)
    return Compression(x, size, stages, groups)


def _moved(group: Tensor, to: Tensor) -> Tensor:
    """Places [B, N] of tokens after each place p became `to[p]`; -1 stays."""
    return torch.where(group < 0, group, to.gather(1, group.clamp_min(0)))


class DiffRateSelector(Selector):
    """Ranks patches by the number of blocks that they stay a token of their own, then by class attention.

    A patch that a block prunes or merges into another is scored by its class attention there, the survivors by that in
    the last block. In each block those that stay have the highest attention, those that are merged come next, and the
    pruned ones last, so the best k patches are those that stay, for every number k of tokens of a block.

    Always in float32, one image at a time, since a flipped rank changes what follows.

    Args:
        weights: a file of any timm ViT with a class token; the rates were learned for DeiT and fine-tuned MAE.
        model, heads, label_set, supervised: as in `load_backbone`.
        rates: published rates by name, e.g. "deit-s-2.9" (GFLOPs); None takes those of the published model of this
            size, else "deit-s-2.9". For another depth or number of patches they are interpolated.
        pruned_to, merged_to: number of tokens, the class token counted, that each block leaves after pruning and after
            merging; both or none, instead of `rates`.
        mean, std: normalization of the images per channel, if the file does not say it; see `load_backbone`.
        ema: which set of weights to take from a file that holds a model and its moving average; see `read_weights`.
    """

    name = "diffrate"
    weights_family = "vit"

    def __init__(
        self,
        weights: str | Path,
        *,
        model: str | None = None,
        supervised: bool = True,
        rates: str | None = None,
        pruned_to: Sequence[int] | None = None,
        merged_to: Sequence[int] | None = None,
        **reading: Unpack[ReadingOptions],
    ) -> None:
        backbone = load_backbone(weights, model, supervised=supervised, **reading)
        self.net = backbone.model
        check_plain(self.net, "DiffRate")
        depth, patches = len(self.net.blocks), int(self.net.patch_embed.num_patches)
        backbone.configure(self)
        if pruned_to is not None and merged_to is not None:
            if rates is not None:
                raise UsageError("give rates, or pruned_to and merged_to, not both")
            self.rates = Rates(check_counts("pruned_to", pruned_to, depth), check_counts("merged_to", merged_to, depth))
        elif pruned_to is not None or merged_to is not None:
            raise UsageError("pruned_to and merged_to belong together: give both")
        else:
            learned = learned_for(self.net)
            name = rates or learned or "deit-s-2.9"
            self.rates = resampled(rates_named(name), depth, patches)
            if rates is None and learned is None:
                self.assumptions += (
                    f"DiffRate has no rates for a ViT of this size; took those of {name}, interpolated",
                )

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        gh, gw = self.grid_of(images)
        with torch.autocast(images.device.type, enabled=False):
            found = [compress(self.net, image, self.rates) for image in images.float().split(1)]
            return torch.cat([attention_ranking(one.stages, gh * gw) for one in found]).view(-1, gh, gw)


def check_counts(option: str, counts: Sequence[int], depth: int) -> tuple[int, ...]:
    """`counts` as a tuple; `UsageError` unless there is one for each of `depth` blocks, each at least 2."""
    if len(counts) != depth:
        raise UsageError(f"{option}: {len(counts)} numbers for {depth} blocks")
    for count in counts:
        check_whole("DiffRate", option, count, 2)
    return tuple(counts)
