"""Key names of plain ViTs in other libraries, translated to timm's: the tensors are the same, some of them joined.

Known are transformers (ViT, DeiT, DINOv2, ViT-MAE, CLIP, SigLIP), OpenAI's CLIP and open_clip, torchvision, mmpretrain,
DeiT III and the chunked blocks of DINOv2's training. Each is told by its keys, under any prefix.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, cast

import torch
from timm.models.vision_transformer import VisionTransformer, _convert_openai_clip
from torch import Tensor

from ltrp_bench.selectors.files.prefixes import prefixes_of, strip_prefix

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
_HF_CLIP_BLOCK: Final[Rules] = (
    (r"self_attn\.out_proj\.", "attn.proj."),
    (r"layer_norm1\.", "norm1."),
    (r"layer_norm2\.", "norm2."),
)
_HF_CLIP: Final[Rules] = (
    (r"embeddings\.class_embedding", "cls_token"),
    (r"embeddings\.patch_embedding\.", "patch_embed.proj."),
    (r"embeddings\.position_embedding\.weight", "pos_embed"),
    (r"pre_layrnorm\.", "norm_pre."),  # sic
    (r"post_layernorm\.", "norm."),
    (r"head\.probe", "attn_pool.latent"),
    (r"head\.attention\.out_proj\.", "attn_pool.proj."),
    (r"head\.layernorm\.", "attn_pool.norm."),
    (r"head\.mlp\.", "attn_pool.mlp."),
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
    (r"heads\.(head\.|\d+\.)?(?=weight|bias)", "head."),
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
            out = dict(state)
            for prefix in found:  # a model and its average
                out = translate(out, prefix)
            return _of_dinov2(out), library
    out = {}
    for key, value in state.items():
        key = re.sub(r"^((?:.*\.)?blocks)\.\d+\.(\d+\.)(?=(?:norm1|norm2|attn|ls1|ls2|mlp)\.)", r"\1.\2", key)
        out[re.sub(r"^((?:.*\.)?blocks\.\d+\.)gamma_([12])$", r"\1ls\2.gamma", key)] = value
    return _of_dinov2(out), "timm"


def _of_dinov2(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """DINOv2's registers and the MLP of its giant under timm's names.

    timm's ViTs with registers add no position to the class token: it has its own added here.
    """
    out = {re.sub(r"(blocks\.\d+\.mlp\.)w12\.", r"\1fc1.", key): value for key, value in state.items()}
    out = {re.sub(r"(blocks\.\d+\.mlp\.)w3\.", r"\1fc2.", key): value for key, value in out.items()}
    for prefix in prefixes_of(out, "register_tokens", "cls_token", "pos_embed"):
        positions = out[f"{prefix}pos_embed"]
        out[f"{prefix}reg_token"] = out.pop(f"{prefix}register_tokens")
        out[f"{prefix}cls_token"] = out[f"{prefix}cls_token"] + positions[:, :1]
        out[f"{prefix}pos_embed"] = positions[:, 1:]
    return out


def to_mae_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """As `to_timm_names`, and the decoder of transformers' ViT-MAE beside its ViT, under the official names."""
    out, library = to_timm_names(state)
    if library != "transformers":
        return out
    for prefix in prefixes_of(out, r"patch_embed\.proj\.weight"):
        outer = _outer(prefix)
        inside = {key: value for key, value in out.items() if key.startswith(f"{outer}decoder.")}
        others = {key: value for key, value in out.items() if key not in inside}
        bare = {key.removeprefix(f"{outer}decoder."): value for key, value in inside.items()}
        named = _renamed(bare, "", r"decoder_layers\.(\d+)\.", _HF_BLOCK, ())
        for key, value in _joined(dict(named), "").items():
            others[prefix + re.sub(r"^blocks\.", "decoder_blocks.", key)] = value
        out = others
    return out


def _transformers(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    out = dict(_renamed(state, prefix, r"encoder\.layer\.(\d+)\.", _HF_BLOCK, _HF))
    # The classifier stands beside the ViT ("vit.", "deit."), its pooler is not part of a classifier.
    outer = _outer(prefix)
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
            there = [one for one in three if one is not None]
            if there:
                none = torch.zeros_like(there[0])
                out[f"{stem}.attn.qkv.{part}"] = torch.cat([none if one is None else one for one in three])
    return out


def _torchvision(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return dict(_renamed(state, prefix, r"encoder\.layers\.encoder_layer_(\d+)\.", _TORCHVISION_BLOCK, _TORCHVISION))


def _mmpretrain(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    out = dict(_renamed(state, prefix, r"layers\.(\d+)\.", _MMPRETRAIN_BLOCK, _MMPRETRAIN))
    outer = _outer(prefix)
    for part in ("weight", "bias"):
        if f"{outer}head.layers.head.{part}" in out:
            out[f"{prefix}head.{part}"] = out.pop(f"{outer}head.layers.head.{part}")
    return out


def _clip(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """OpenAI's and open_clip's image tower, by timm's converter: its head is the projection to the embedding."""
    tower = {f"visual.{key}": value for key, value in strip_prefix(state, prefix).items()}
    # The converter of that version needs no model.
    found = _convert_openai_clip(tower, cast(VisionTransformer, None))
    others = {key: value for key, value in state.items() if not key.startswith(prefix)} if prefix else {}
    return {**others, **{prefix + key: value for key, value in found.items()}}


def _transformers_clip(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Image towers of transformers' CLIP, and of its SigLIP, which has a pooling head and no class token."""
    out = dict(_renamed(state, prefix, r"encoder\.layers\.(\d+)\.", _HF_CLIP_BLOCK, _HF_CLIP))
    out.pop(f"{prefix}embeddings.position_ids", None)
    for key, axes in (("cls_token", 2), ("pos_embed", 1)):
        if prefix + key in out:
            out[prefix + key] = out[prefix + key][(None,) * axes]
    for number in [m[1] for key in out if (m := re.match(rf"{re.escape(prefix)}blocks\.(\d+)\.norm1\.weight$", key))]:
        for part in ("weight", "bias"):
            stem = f"{prefix}blocks.{number}."
            three = [out.pop(f"{stem}self_attn.{name}_proj.{part}") for name in "qkv"]
            out[f"{stem}attn.qkv.{part}"] = torch.cat(three)
    for part in ("weight", "bias"):
        pooling = out.pop(f"{prefix}head.attention.in_proj_{part}", None)
        if pooling is not None:
            width = len(pooling) // 3
            out |= {f"{prefix}attn_pool.q.{part}": pooling[:width], f"{prefix}attn_pool.kv.{part}": pooling[width:]}
    projection = out.pop(f"{_outer(prefix)}visual_projection.weight", None)
    if projection is not None:
        out |= {f"{prefix}head.weight": projection, f"{prefix}head.bias": projection.new_zeros(len(projection))}
    return out


def _outer(prefix: str) -> str:
    """Prefix of the module around the one with `prefix`: "a.b." -> "a."."""
    outer = prefix.rstrip(".").rpartition(".")[0]
    return f"{outer}." if outer else ""


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
    ("openai clip", (r"transformer\.resblocks\.0\.attn\.in_proj_weight", r"class_embedding", r"conv1\.weight"), _clip),
    (
        "transformers clip",
        (r"encoder\.layers\.0\.self_attn\.q_proj\.weight", r"embeddings\.class_embedding", r"pre_layrnorm\.weight"),
        _transformers_clip,
    ),
    (
        "transformers siglip",
        (r"encoder\.layers\.0\.self_attn\.q_proj\.weight", r"embeddings\.patch_embedding\.bias"),
        _transformers_clip,
    ),
    ("mmpretrain", (r"layers\.0\.attn\.qkv\.weight", r"patch_embed\.projection\.weight"), _mmpretrain),
)
"""Library, keys by which it is told, and the function that translates its names."""
