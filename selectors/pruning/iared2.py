"""IA-RED²: interpretability-aware redundancy reduction (Pan et al., NeurIPS 2021).

A DeiT with its blocks in groups; before each group a multi-head interpreter predicts how informative each patch is
(section 3.2 of the paper). As in the comparison of LTRP (CVPR 2024), patches are ranked by the first interpreter, which
sees only the embedded patches; option `policies` takes more of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ltrp_bench.selectors.base import BatchContext, Selector
from ltrp_bench.selectors.checkpoints import load_into, mismatch, read_weights, resolve, strip_prefix
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.option_checks import check_whole
from ltrp_bench.selectors.vit.backbones import load_backbone, qkv_of, tokens
from ltrp_bench.selectors.vit.blocks import attend, check_plain, close_attention, feed_forward
from ltrp_bench.selectors.vit.pruning_stages import Stage, staged_scores

INTERPRETER_HEADS = 6
THRESHOLD = 0.5


class Interpreter(nn.Module):
    """Multi-head interpreter: sigmoid of the class token's query times the key of each patch, averaged over heads.

    Its linear layer computes queries, keys and a third part that is not used, as in the published files.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise UsageError(f"interpreter_heads: {heads} heads do not divide {dim} channels")
        self.heads = heads
        self.norm = nn.LayerNorm(dim, elementwise_affine=False)
        self.qk = nn.Linear(dim, 3 * dim)

    def forward(self, x: Tensor, alive: Tensor) -> Tensor:
        """[B, 1 + L, D] tokens and [B, 1 + L] of 0 and 1 -> [B, L] informativeness in (0, 1); 0 for dropped patches."""
        x = self.norm(x * alive.unsqueeze(-1))
        q, k, _ = self.qk(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        scores = (q[:, :, :1] @ k[:, :, 1:].transpose(-2, -1)) * q.shape[-1] ** -0.5
        return scores.float().sigmoid()[:, :, 0].mean(1) * alive[:, 1:]


class IARed2(nn.Module):
    """A DeiT with an interpreter before each group of blocks.

    Args:
        vit: timm ViT with a class token.
        groups: number of blocks per group, e.g. (4, 4, 4).
        interpreter_heads: number of heads of each interpreter.
    """

    def __init__(self, vit: VisionTransformer, groups: tuple[int, ...], interpreter_heads: int) -> None:
        super().__init__()
        check_plain(vit, "IA-RED2")
        self.vit, self.groups = vit, groups
        self.agents = nn.ModuleList(Interpreter(int(vit.embed_dim), interpreter_heads) for _ in groups)

    def policies(self, images: Tensor, last: int) -> list[tuple[Tensor, Tensor]]:
        """[B, 3, H, W] -> for groups 0 to `last`: informativeness [B, L] and the kept patches [B, L] (0 or 1).

        A patch is kept if it entered the group and its informativeness is above 0.5; dropped patches do not come back.
        """
        x = tokens(self.vit, images)
        alive = torch.ones(x.shape[:2], device=x.device)
        out: list[tuple[Tensor, Tensor]] = []
        for number in range(last + 1):
            informative = self.agents[number](x, alive)
            alive = torch.cat([torch.ones_like(alive[:, :1]), (informative > THRESHOLD).to(alive)], dim=1)
            out.append((informative, alive[:, 1:]))
            if number < last:
                x = self._run_group(x, alive, number)
        return out

    def _run_group(self, x: Tensor, alive: Tensor, number: int) -> Tensor:
        """Run the blocks of one group; dropped tokens are masked as keys, and their own values are not used later."""
        hidden = torch.zeros_like(alive).masked_fill(alive == 0, -torch.inf)[:, None, None]
        start = sum(self.groups[:number])
        for block in self.vit.blocks[start : start + self.groups[number]]:
            attn = cast(Any, block).attn
            q, k, v = qkv_of(attn, cast(Any, block).norm1(x))
            x = close_attention(block, x, attend(q, k, v, attn, hidden.to(q.dtype)))
            x = feed_forward(block, x)
        return x


class IARed2Selector(Selector):
    """Ranks patches by the interpreters of IA-RED².

    Args:
        weights: a published file.
        policies: number of interpreters that decide, from the first on. With 1, patches are ranked by the
            informativeness of the first, as in the LTRP paper; with more, by the interpreters they survived, then by
            the informativeness of the last.
        interpreter_heads: number of heads of the interpreters, which no file holds.
        heads: number of heads of the ViT; only needed if its width is not a published one.
        label_set: label set of the training; only needed if the number of classes does not identify it.
        mean, std: normalization of the images per channel, if it is not that of the published files.
        ema: which set of weights to take from a file that holds a model and its moving average; see `read_weights`.
    """

    name = "iared2"
    weights_family = "iared2"
    later_options = ("mean", "std", "ema")

    def __init__(
        self,
        weights: str | Path,
        *,
        policies: int = 1,
        interpreter_heads: int = INTERPRETER_HEADS,
        heads: int | None = None,
        label_set: str | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        ema: bool | None = None,
    ) -> None:
        state = read_weights(resolve(weights), ema).under(r"groups\.0\.agent\.qk\.weight").state
        agents = _agent_state(state)
        backbone = load_backbone(
            weights, heads=heads, label_set=label_set, drop=("groups.",), mean=mean, std=std, published=True, ema=ema
        )
        self.model = IARed2(backbone.model, _groups(state, len(backbone.model.blocks)), interpreter_heads)
        load_into(self.model.agents, agents, "IA-RED2's interpreters")
        self.model.eval().requires_grad_(False)
        check_whole("selector 'iared2'", "policies", policies, 1, len(self.model.groups))
        self.policies = policies
        backbone.configure(self)

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        found = self.model.policies(images, self.policies - 1)
        return (found[0][0] if self.policies == 1 else _by_survival(found)).unflatten(1, self.grid_of(images))


def _by_survival(found: list[tuple[Tensor, Tensor]]) -> Tensor:
    """[B, L] scores by the interpreters survived, then by the informativeness at the last one that a patch reached."""
    places = torch.arange(found[0][0].shape[1], device=found[0][0].device).expand_as(found[0][0])
    stages, entered = [], places
    for informative, alive in found:
        kept = torch.where(alive > 0, places, -1)
        stages.append(Stage(entered, informative, kept))
        entered = kept
    return staged_scores(stages, places.shape[1])


def _agent_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict of the interpreters ("0.qk.weight", …); `InputError` for a file that has none."""
    agents = {f"{m[1]}.{m[2]}": v for k, v in state.items() if (m := re.fullmatch(r"groups\.(\d+)\.agent\.(.+)", k))}
    if not agents:
        raise mismatch("IA-RED2", state, ["groups.0.agent.qk.weight", "groups.0.agent.qk.bias"])
    return agents


def _groups(state: Mapping[str, Tensor], depth: int) -> tuple[int, ...]:
    """Number of blocks per group. Files hold each block twice, in `blocks` and in its group; both must be equal."""
    count = 1 + max(int(m[1]) for k in state if (m := re.match(r"groups\.(\d+)\.agent\.", k)))
    members = {m[0] for k in state if (m := re.match(r"groups\.\d+\.block_list\.\d+\.", k))}
    sizes = tuple(sum(m.startswith(f"groups.{g}.") for m in members) for g in range(count))
    if not members:
        if depth % count:
            raise InputError(f"IA-RED2: cannot infer how {depth} blocks form {count} groups: no groups.0.block_list")
        return (depth // count,) * count
    if sum(sizes) != depth or 0 in sizes:
        raise InputError(f"IA-RED2: groups of {list(sizes)} blocks do not make a ViT of {depth} blocks")
    for group, size in enumerate(sizes):
        for inner in range(size):
            copy = strip_prefix(state, f"groups.{group}.block_list.{inner}.")
            number = sum(sizes[:group]) + inner
            own = strip_prefix(state, f"blocks.{number}.")
            if copy.keys() != own.keys() or any(not torch.equal(copy[k], own[k]) for k in copy):
                raise InputError(
                    f"IA-RED2: groups.{group}.block_list.{inner} and blocks.{number} are not the same block"
                )
    return sizes
