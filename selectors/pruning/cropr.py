"""Cropr: cross-attention pruning (Bergner et al., "Token Cropr: Faster ViTs for Quite a Few Tasks", CVPR 2025).

After each block but the last, a module scores the tokens by a learned query and drops a fixed number of them (section 3
of the paper, arXiv:2412.00965). In training, the query's cross-attention pools the tokens for a classifier of the
module's own, and no gradient flows from there into the backbone; at inference only the queries are left of the modules.
With last-layer fusion the last block gets all dropped tokens back. The selector ranks patches by the modules that they
survived.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from timm.layers import Mlp
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from typing_extensions import Unpack

from ltrp_bench.selectors.base import BatchContext, Selector
from ltrp_bench.selectors.checkpoints import (
    load_into,
    mismatch,
    read_weights,
    resolve,
    save_safetensors,
    stored_arguments,
    stored_config,
    strip_prefix,
)
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.ltrp.mae_checkpoints import count_blocks
from ltrp_bench.selectors.option_checks import check_whole
from ltrp_bench.selectors.vit.backbones import load_backbone, tokens
from ltrp_bench.selectors.vit.blocks import check_plain, config_of, token_layout
from ltrp_bench.selectors.vit.layers import take
from ltrp_bench.selectors.vit.pruning_stages import Stage, staged_scores
from ltrp_bench.selectors.vit.reading_options import ReadingOptions

MODULES: Final = "cropr."
"""Prefix of the keys of the modules in official files."""
QUERY: Final = f"{MODULES}0.cross_attn.queries"
TRAINING_ONLY: Final = re.compile(r"\d+\.(head|cross_attn\.(mlp|mlp_norm|v|proj))\.")
"""Keys, below `MODULES`, of what modules need in training alone."""
DROPPED_SHARE: Final = 0.9
"""Share of the patches that the published schedule drops: 8 of 196 after each of 22 or 23 blocks."""


class CrossAttention(nn.Module):
    """One learned query that attends to the tokens themselves: no norm, no projections, one head, as published.

    Args:
        dim: width of the tokens.
        pools: with the MLP after the attention, which only training needs.
    """

    def __init__(self, dim: int, pools: bool) -> None:
        super().__init__()
        self.queries = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, 1, dim), std=dim**-0.5))
        if pools:
            self.mlp_norm = nn.LayerNorm(dim, eps=1e-6)
            self.mlp = Mlp(dim, 4 * dim)

    def scores(self, x: Tensor) -> Tensor:
        """[B, n, D] tokens -> [B, n] inner products with the query, in float32 also under autocast."""
        return (x.float() * self.queries.float()).sum(-1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B, n, D] tokens -> [B, D] pooled tokens and [B, n] scores."""
        scores = self.scores(x)
        attention = (scores * x.shape[-1] ** -0.5).softmax(-1).to(x.dtype)
        pooled = (attention.unsqueeze(1) @ x).squeeze(1)
        return pooled + self.mlp(self.mlp_norm(pooled)), scores


class AuxiliaryHead(nn.Module):
    """Classifier of a module, for training."""

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, classes)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B, D] -> [B, classes] logits."""
        return self.head(self.norm(x))


class CroprModule(nn.Module):
    """Scorer of the tokens after one block, and its classifier if it has `classes`."""

    def __init__(self, dim: int, classes: int = 0) -> None:
        super().__init__()
        self.cross_attn = CrossAttention(dim, pools=classes > 0)
        if classes:
            self.head = AuxiliaryHead(dim, classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B, n, D] tokens -> logits [B, classes] of the classifier, and scores [B, n]; no gradient reaches `x`."""
        pooled, scores = self.cross_attn(x.detach())
        return self.head(pooled), scores.detach()


class Cropr(nn.Module):
    """A ViT with a module after each of its first blocks.

    Args:
        vit: timm ViT with a class token; not copied.
        pruning_rate: number of tokens that each module drops, the first one more; None for `published_rate`.
        last_layer_fusion: append all dropped tokens before the last block, which then sees every patch; the last block
            but one has no module then.
        trainable: with the classifiers of the modules, which `training_forward` needs.
    """

    def __init__(
        self,
        vit: VisionTransformer,
        pruning_rate: int | None = None,
        last_layer_fusion: bool = False,
        trainable: bool = False,
    ) -> None:
        super().__init__()
        check_plain(vit, "Cropr")
        self.vit = vit
        self.last_layer_fusion = last_layer_fusion
        patches, count = int(vit.patch_embed.num_patches), module_count(len(vit.blocks), last_layer_fusion)
        rate = published_rate(patches, count) if pruning_rate is None else pruning_rate
        check_whole("Cropr", "pruning_rate", rate, 1)
        if rate * count + 1 >= patches:
            raise UsageError(f"pruning_rate {rate} at {count} modules leaves no patch of {patches}")
        self.pruning_rate = rate
        classes = int(vit.num_classes) if trainable else 0
        self.cropr = nn.ModuleList(CroprModule(int(vit.embed_dim), classes) for _ in range(count))

    @property
    def config(self) -> dict[str, Any]:
        """Configuration for the metadata of a file, from which the model can be built again."""
        own = {"pruning_rate": self.pruning_rate, "last_layer_fusion": self.last_layer_fusion}
        return {**config_of(self.vit), **own}

    def inference_state(self) -> dict[str, Tensor]:
        """State dict under the official keys: those of the ViT, and the queries alone of the modules."""
        queries = {k: v for k, v in self.state_dict().items() if k.endswith("cross_attn.queries")}
        return {**self.vit.state_dict(), **queries}

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] normalized images -> [B, classes] logits, differentiable."""
        return self.trace(images)[0]

    def trace(self, images: Tensor) -> tuple[Tensor, list[Stage]]:
        """[B, 3, H, W] normalized images -> logits [B, classes] and the stages, one for each module."""
        x, stages, _ = self._run(images, len(self.vit.blocks))
        return self._classify(x), stages

    def prune(self, images: Tensor) -> list[Stage]:
        """The stages alone: `trace` without the computation after the last module."""
        return self._run(images, len(self.cropr))[1]

    def training_forward(self, images: Tensor) -> list[Tensor]:
        """Logits [B, classes] of the ViT, then of each module; the loss is the sum of theirs."""
        x, _, auxiliary = self._run(images, len(self.vit.blocks), classify=True)
        return [self._classify(x), *auxiliary]

    def _run(self, images: Tensor, last: int, classify: bool = False) -> tuple[Tensor, list[Stage], list[Tensor]]:
        """Tokens after block `last` - 1, the stages on the way and, with `classify`, the modules' logits."""
        x = tokens(self.vit, images)
        prefix, patches = token_layout(self.vit, len(x), x.device)
        stages, logits, dropped = list[Stage](), list[Tensor](), list[Tensor]()
        for number, block in enumerate(self.vit.blocks[:last]):
            if self.last_layer_fusion and number == len(self.vit.blocks) - 1:
                x = torch.cat([x, *dropped], dim=1)
            x = block(x)
            if number >= len(self.cropr):
                continue
            module: Any = self.cropr[number]
            if classify:
                found, scores = module(x)
                logits.append(found)
            else:
                scores = module.cross_attn.scores(x)
            scores, rest = scores[:, prefix:], x[:, prefix:]
            order = scores.argsort(dim=1, descending=True, stable=True)
            keep = order.shape[1] - self.pruning_rate - (number == 0)
            kept = patches.gather(1, order[:, :keep])
            stages.append(Stage(patches, scores, kept))
            dropped.append(take(rest, order[:, keep:]))
            x, patches = torch.cat([x[:, :prefix], take(rest, order[:, :keep])], dim=1), kept
        return x, stages, logits

    def _classify(self, x: Tensor) -> Tensor:
        """[B, n, D] tokens -> [B, classes]; pooling by mean includes the class token, unlike timm's."""
        x = self.vit.norm(x)
        pooled = x.mean(1) if self.vit.global_pool == "avg" else x[:, 0]
        return self.vit.head(self.vit.head_drop(self.vit.fc_norm(pooled)))


def module_count(depth: int, last_layer_fusion: bool) -> int:
    """Number of modules of a ViT of `depth` blocks; `UsageError` if it is too shallow for any."""
    count = depth - (2 if last_layer_fusion else 1)
    if count < 1:
        raise UsageError(f"a ViT of {depth} blocks has no place for a Cropr module")
    return count


def published_rate(patches: int, modules: int) -> int:
    """Number of tokens that each module drops, by the published share in all: 8 for ViT-L/16 at 224."""
    return max(1, round(DROPPED_SHARE * patches / modules))


def save_cropr(path: str | Path, module: Cropr, config: Mapping[str, Any] | None = None, **metadata: Any) -> None:
    """Write a trained Cropr as safetensors under the official keys, without what only training needs.

    Args:
        path: file to write.
        module: the trained model.
        config: entries that the module does not know: "label_set", "mean", "std", "classes" (names).
        metadata: further entries, e.g. curve= or command=.
    """
    full = {**module.config, **(config or {})}
    save_safetensors(path, module.inference_state(), {"kind": "cropr", "config": full, **metadata})


class CroprSelector(Selector):
    """Ranks patches by the number of modules they survived, then by the score of the module that dropped them.

    Args:
        weights: a file of the official code or one of ours.
        heads, label_set: as in `load_backbone`.
        pruning_rate: number of tokens that each module drops, the first one more; None takes that of the file, else
            the one that drops nine tenths of the patches in all, as published.
        mean, std: normalization of the images per channel, if it is not that of the published files.
        ema: which set of weights to take from a file that holds a model and its moving average; see `read_weights`.
    """

    name = "cropr"
    weights_family = "cropr"

    def __init__(
        self, weights: str | Path, *, pruning_rate: int | None = None, **reading: Unpack[ReadingOptions]
    ) -> None:
        path = resolve(weights)
        state = read_weights(path, reading.get("ema")).under(re.escape(QUERY)).state
        what = f"the Cropr {path.name}"
        if QUERY not in state:
            raise mismatch(what, state, [QUERY])
        known, given = stored_config(path), stored_arguments(path)
        if reading.get("heads") is None and isinstance(given.get("num_heads"), int):
            reading = {**reading, "heads": given["num_heads"]}
        backbone = load_backbone(path, drop=(MODULES,), published=True, **reading)
        count, depth = count_blocks(state, MODULES.removesuffix(".")), len(backbone.model.blocks)
        # Files do not say whether they were trained with last-layer fusion, but it costs a module.
        fused = count == module_count(depth, last_layer_fusion=True)
        if not fused and count != module_count(depth, last_layer_fusion=False):
            raise InputError(f"{what} has {count} modules for {depth} blocks, instead of one or two fewer than blocks")
        if pruning_rate is None:
            pruning_rate = known.get("pruning_rate") or given.get("cropr_pruning_rate")
        self.net = Cropr(backbone.model, pruning_rate, fused).eval().requires_grad_(False)
        modules = {k: v for k, v in strip_prefix(state, MODULES).items() if not TRAINING_ONLY.match(k)}
        load_into(self.net.cropr, modules, f"the modules of {what}")
        backbone.configure(self)

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        gh, gw = self.grid_of(images)
        return staged_scores(self.net.prune(images), gh * gw).view(-1, gh, gw)
