"""Key names of plain ViTs in other libraries, translated to timm's: the tensors are the same, some of them joined.

Known are transformers (ViT, DeiT, DINOv2, ViT-MAE's encoder), torchvision, mmpretrain and the chunked blocks of
DINOv2's training. Each is told by one key, under any prefix.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import torch
from torch import Tensor

from ltrp_bench.selectors.files.prefixes import prefixes_of

Rules = tuple[tuple[str, str], ...]

_HF_BLOCK: Final[Rules] = (
    (r"attention\.output\.dense\.", "attn.proj."),
    (r"intermediate\.dense\.", "mlp.fc1."),
    (r"output\.dense\.", "mlp.fc2."),
    (r"layernorm_before\.", "norm1."),
    (r"layernorm_after\.", "norm2."),
    (r"layer_scale1\.lambda1", "ls1.gamma"),
    (r"layer_scale2\.lambda1", "ls2.gamma"),
)
_HF: Final[Rules] = (
    (r"embeddings\.cls_token", "cls_token"),
    (r"embeddings\.distillation_token", "dist_token"),
    (r"embeddings\.mask_token", "mask_token"),
    (r"embeddings\.register_tokens", "register_tokens"),
    (r"embeddings\.position_embeddings", "pos_embed"),
    (r"embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"layernorm\.", "norm."),
)
_TORCHVISION_BLOCK: Final[Rules] = (
    (r"ln_1\.", "norm1."),
    (r"ln_2\.", "norm2."),
    (r"self_attention\.in_proj_", "attn.qkv."),
    (r"self_attention\.out_proj\.", "attn.proj."),
    (r"mlp\.(0|linear_1)\.", "mlp.fc1."),
    (r"mlp\.(3|linear_2)\.", "mlp.fc2."),
)
_TORCHVISION: Final[Rules] = (
    (r"class_token", "cls_token"),
    (r"conv_proj\.", "patch_embed.proj."),
    (r"encoder\.pos_embedding", "pos_embed"),
    (r"encoder\.ln\.", "norm."),
    (r"heads\.head\.", "head."),
)
_MMPRETRAIN_BLOCK: Final[Rules] = (
    (r"ln1\.", "norm1."),
    (r"ln2\.", "norm2."),
    (r"ffn\.layers\.0\.0\.", "mlp.fc1."),
    (r"ffn\.layers\.1\.", "mlp.fc2."),
)
_MMPRETRAIN: Final[Rules] = ((r"patch_embed\.projection\.", "patch_embed.proj."), (r"ln1\.", "norm."))


def to_timm_names(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """Tensors of a state dict under timm's names, with the prefixes that they have, and the library they are from.

    Names that are timm's, or that no known library uses, stay as they are; the library is then "timm".
    """
    for library, telltale, translate in _LIBRARIES:
        found = prefixes_of(state, *telltale)
        if found:
            return translate(state, found[0]), library
    chunked = re.compile(r"^((?:.*\.)?blocks)\.\d+\.(\d+\.)(?=(?:norm1|norm2|attn|ls1|ls2|mlp)\.)")
    return {chunked.sub(r"\1.\2", key): value for key, value in state.items()}, "timm"


def _transformers(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    out = dict(_renamed(state, prefix, r"encoder\.layer\.(\d+)\.", _HF_BLOCK, _HF))
    # The classifier stands beside the ViT ("vit.", "deit."), its pooler is not part of a classifier.
    outer = prefix.rstrip(".").rpartition(".")[0]
    outer = f"{outer}." if outer else ""
    head, positions = out.get(f"{outer}classifier.weight"), out.get(f"{prefix}pos_embed")
    # DINOv2's classifier reads class token and patches together: it is no head of timm's ViT.
    if head is not None and positions is not None and head.shape[-1] == positions.shape[-1]:
        for part in ("weight", "bias"):
            if f"{outer}classifier.{part}" in out:
                out[f"{prefix}head.{part}"] = out.pop(f"{outer}classifier.{part}")
    out = {key: value for key, value in out.items() if not key.startswith(f"{prefix}pooler.")}
    return _joined(out, prefix)


def _joined(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Queries, keys and values of each block joined to one tensor; a bias that only some have counts as 0."""
    out = dict(state)
    pattern = re.compile(rf"^{re.escape(prefix)}blocks\.(\d+)\.attention\.attention\.query\.weight$")
    for number in [m[1] for key in state if (m := pattern.match(key))]:
        stem = f"{prefix}blocks.{number}"
        for part in ("weight", "bias"):
            three = [out.pop(f"{stem}.attention.attention.{name}.{part}", None) for name in ("query", "key", "value")]
            if all(one is not None for one in three):
                out[f"{stem}.attn.qkv.{part}"] = torch.cat([one for one in three if one is not None])
    return out


def _torchvision(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return dict(_renamed(state, prefix, r"encoder\.layers\.encoder_layer_(\d+)\.", _TORCHVISION_BLOCK, _TORCHVISION))


def _mmpretrain(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    out = dict(_renamed(state, prefix, r"layers\.(\d+)\.", _MMPRETRAIN_BLOCK, _MMPRETRAIN))
    outer = prefix.rstrip(".").rpartition(".")[0]
    outer = f"{outer}." if outer else ""
    for part in ("weight", "bias"):
        if f"{outer}head.layers.head.{part}" in out:
            out[f"{prefix}head.{part}"] = out.pop(f"{outer}head.layers.head.{part}")
    return out


def _renamed(
    state: Mapping[str, Tensor], prefix: str, block: str, inner: Rules, outer: Rules
) -> Iterator[tuple[str, Tensor]]:
    """Entries with translated keys; those of other parts of the file stay as they are."""
    for key, value in state.items():
        if not key.startswith(prefix):
            yield key, value
            continue
        rest = key[len(prefix) :]
        found = re.match(block, rest)
        stem, rules = (f"blocks.{found[1]}.", inner) if found else ("", outer)
        rest = rest[found.end() :] if found else rest
        yield prefix + stem + _by_rule(rest, rules), value


def _by_rule(key: str, rules: Rules) -> str:
    for pattern, name in rules:
        if found := re.match(pattern, key):
            return name + key[found.end() :]
    return key


_LIBRARIES: Final[tuple[tuple[str, tuple[str, ...], Callable[[Mapping[str, Tensor], str], dict[str, Tensor]]], ...]] = (
    (
        "transformers",
        (
            r"encoder\.layer\.0\.attention\.attention\.query\.weight",
            r"embeddings\.patch_embeddings\.projection\.weight",
        ),
        _transformers,
    ),
    (
        "torchvision",
        (r"encoder\.layers\.encoder_layer_0\.self_attention\.in_proj_weight", r"conv_proj\.weight"),
        _torchvision,
    ),
    ("mmpretrain", (r"layers\.0\.attn\.qkv\.weight", r"patch_embed\.projection\.weight"), _mmpretrain),
)
"""Library, keys by which it is told, and the function that translates its names."""
