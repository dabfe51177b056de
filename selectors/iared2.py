"""IA-RED²: interpretability-aware redundancy reduction (Pan et al., NeurIPS 2021): `iared2`.

A DeiT whose blocks stand in groups; before each group a multi-head interpreter says how informative each patch is
(section 3.2 of the paper). The comparison in LTRP (CVPR 2024) ranks patches by the first interpreter, which sees
nothing but the embedded patches; so does this selector unless told otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ltrp_bench.selectors.base import BatchContext, Selector
from ltrp_bench.selectors.checkpoints import load_into, load_state, mismatch, resolve, strip_prefix
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.pruning_stages import Stage, staged_scores
from ltrp_bench.selectors.vit.backbones import load_backbone, qkv_of, tokens
from ltrp_bench.selectors.vit.blocks import attend, check_plain, close_attention, feed_forward

INTERPRETER_HEADS = 6
THRESHOLD = 0.5


class Interpreter(nn.Module):
    """The multi-head interpreter: a sigmoid of the class token's query against each token's key, mean of the heads.

    Its one linear layer makes queries, keys and a third part that nothing reads, as in the published files.
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
    """A DeiT in groups of blocks with an interpreter before each.

    Args:
        vit: timm ViT with a class token.
        groups: blocks a group, e.g. (4, 4, 4).
        interpreter_heads: of each interpreter.
    """

    def __init__(self, vit: VisionTransformer, groups: tuple[int, ...], interpreter_heads: int) -> None:
        super().__init__()
        check_plain(vit, "IA-RED2")
        self.vit, self.groups = vit, groups
        self.agents = nn.ModuleList(Interpreter(int(vit.embed_dim), interpreter_heads) for _ in groups)

    def policies(self, images: Tensor, last: int) -> list[tuple[Tensor, Tensor]]:
        """[B, 3, H, W] -> for groups 0 to `last`: informativeness [B, L] and the patches that go on [B, L] (0 or 1).

        A patch goes on if it came in and its informativeness is above 0.5; dropped ones never come back.
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
        """The blocks of one group; dropped tokens are nobody's keys, and nobody reads them afterwards."""
        hidden = torch.zeros_like(alive).masked_fill(alive == 0, -torch.inf)[:, None, None]
        start = sum(self.groups[:number])
        for block in self.vit.blocks[start : start + self.groups[number]]:
            attn = cast(Any, block).attn
            q, k, v = qkv_of(attn, cast(Any, block).norm1(x))
            x = close_attention(block, x, attend(q, k, v, attn, hidden.to(q.dtype)))
            x = feed_forward(block, x)
        return x


class IARed2Selector(Selector):
    """Informativeness by IA-RED²'s interpreters.

    Args:
        weights: file with the published keys.
        policies: how many of the interpreters decide, from the first on. 1: the first one's informativeness, as in
            LTRP's comparison. More: first by the interpreters survived, then by the last one's informativeness.
        interpreter_heads: of the interpreters; no file tells.
        heads: of the ViT, where its width is not a published one.
        label_set: what it was taught with, where the number of classes does not tell.
    """

    name = "iared2"
    weights_family = "iared2"

    def __init__(
        self,
        weights: str | Path,
        policies: int = 1,
        interpreter_heads: int = INTERPRETER_HEADS,
        heads: int | None = None,
        label_set: str | None = None,
    ) -> None:
        state = load_state(resolve(weights))
        agents = _agent_state(state)
        backbone = load_backbone(weights, heads=heads, label_set=label_set, drop=("groups.",))
        self.model = IARed2(backbone.model, _groups(state, len(backbone.model.blocks)), interpreter_heads)
        load_into(self.model.agents, agents, "IA-RED2's interpreters")
        self.model.eval().requires_grad_(False)
        if not 1 <= policies <= len(self.model.groups):
            raise UsageError(f"selector 'iared2': policies is 1 to {len(self.model.groups)}, got {policies}")
        self.policies = policies
        self.supervision = backbone.supervision
        self.mean, self.std = backbone.mean, backbone.std
        self.patch_size, self.input_size = backbone.patch_size, backbone.image_size

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        grid = images.shape[-2] // self.patch_size, images.shape[-1] // self.patch_size
        found = self.model.policies(images, self.policies - 1)
        return (found[0][0] if self.policies == 1 else _by_survival(found)).unflatten(1, grid)


def _by_survival(found: list[tuple[Tensor, Tensor]]) -> Tensor:
    """[B, L]: interpreters survived, then informativeness at the last one that a patch came to."""
    places = torch.arange(found[0][0].shape[1], device=found[0][0].device).expand_as(found[0][0])
    stages, entered = [], places
    for informative, alive in found:
        kept = torch.where(alive > 0, places, -1)
        stages.append(Stage(entered, informative, kept))
        entered = kept
    return staged_scores(stages, places.shape[1])


def _agent_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`N.qk.weight` and so on of the interpreters; `InputError` for a file that has none."""
    agents = {f"{m[1]}.{m[2]}": v for k, v in state.items() if (m := re.fullmatch(r"groups\.(\d+)\.agent\.(.+)", k))}
    if not agents:
        raise mismatch("IA-RED2", state, ["groups.0.agent.qk.weight", "groups.0.agent.qk.bias"])
    return agents


def _groups(state: Mapping[str, Tensor], depth: int) -> tuple[int, ...]:
    """Blocks a group. Files hold each block twice, in `blocks` and in its group: the two must be the same."""
    count = 1 + max(int(m[1]) for k in state if (m := re.match(r"groups\.(\d+)\.agent\.", k)))
    members = {m[0] for k in state if (m := re.match(r"groups\.\d+\.block_list\.\d+\.", k))}
    sizes = tuple(sum(m.startswith(f"groups.{g}.") for m in members) for g in range(count))
    if not members:
        if depth % count:
            raise InputError(f"IA-RED2: cannot tell how {depth} blocks stand in {count} groups: no groups.0.block_list")
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
