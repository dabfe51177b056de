"""Every family of ViTs in timm, small and with random weights, and backbones of selectors made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import timm
import torch
from small_vits import spread
from torch import nn

from ltrp_bench.selectors.base import Supervision
from ltrp_bench.selectors.vit.backbones import Backbone
from ltrp_bench.selectors.vit.families import as_vit

SIZE = 48
CLASSES = 7
FAMILIES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "plain": ("vit_small_patch16_224", {}),
    "average-pooled": ("vit_little_patch16_reg1_gap_256", {"reg_tokens": 0}),
    "distilled": ("deit_tiny_distilled_patch16_224", {}),
    "deit3": ("deit3_small_patch16_224", {}),
    "dinov2": ("vit_small_patch14_dinov2", {}),
    "registers": ("vit_small_patch14_reg4_dinov2", {}),
    "clip": ("vit_base_patch16_clip_quickgelu_224", {}),
    "siglip": ("vit_base_patch16_siglip_224", {}),
    "siglip-average": ("vit_giantopt_patch16_siglip_gap_256", {}),
    "aimv2": ("aimv2_large_patch14_224", {}),
    "no-class-token": ("vit_base_patch16_rpn_224", {}),
    "parallel": ("vit_base_patch16_xp_224", {}),
    "eva": ("eva_giant_patch14_224", {}),
    "eva02": ("eva02_tiny_patch14_224", {}),
    "eva02-clip": ("eva02_base_patch16_clip_224", {}),
    "eva02-post-norm": ("eva02_enormous_patch14_clip_224", {}),
    "dinov3": ("vit_small_patch16_dinov3", {}),
    "rope": ("vit_small_patch16_rope_ape_224", {}),
    "rope-mixed": ("vit_small_patch16_rope_mixed_224", {}),
    "rope-registers": ("vit_base_patch16_rope_reg1_gap_256", {}),
    "perception-encoder": ("vit_pe_core_tiny_patch16_384", {}),
    "grouped-queries": ("vit_base_patch16_sapiens2", {"num_kv_heads": (3, 1, 3)}),
}
"""Family -> a model of timm that belongs to it, and options that make it smaller."""

UNREAD: Mapping[str, tuple[str, dict[str, Any]]] = {
    "parallel-things": ("vit_small_patch16_36x1_224", {"block_fn": timm.models.vision_transformer.ParallelThingsBlock}),
    "differential": ("vit_small_patch16_224", {"attn_layer": "diff"}),
}
"""Families whose blocks have no single attention; features can be read, and patches dropped."""

OTHERS: Mapping[str, str] = {
    "swin_tiny_patch4_window7_224": "merges patches between its stages",
    "hiera_tiny_224": "merges patches between its stages",
    "pvt_v2_b0": "merges patches between its stages",
    "beit_base_patch16_224": "only timm's VisionTransformer and Eva",
    "vit_relpos_small_patch16_224": "only timm's VisionTransformer and Eva",
    "cait_xxs24_224": "only timm's VisionTransformer and Eva",
}
"""Models of other families, and why they are refused."""


def family(name: str, seed: int = 0, **options: Any) -> nn.Module:
    """A small model of a family: images of 48 pixels, patches of 16, three blocks of three heads, seven classes."""
    model, own = {**FAMILIES, **UNREAD}[name]
    given = {"img_size": SIZE, "patch_size": 16, "embed_dim": 48, "depth": 3, "num_heads": 3, "num_classes": CLASSES}
    torch.manual_seed(seed)
    net: nn.Module = timm.create_model(model, **{**given, **own, **options})
    spread(net, seed)
    return net.eval()


def images(batch: int = 2, height: int = SIZE, width: int = SIZE, seed: int = 1) -> torch.Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


def selector_of(monkeypatch: pytest.MonkeyPatch, factory: Any, name: str, **options: Any) -> Any:
    """A selector whose backbone is a small model of a family, without a file."""
    mean = (0.5, 0.5, 0.5)
    found = Backbone(as_vit(family(name), name), mean, mean, (SIZE, SIZE), 16, Supervision.self_supervised())
    for module in ("gradcam.selector", "patch_statistics", "attention.attention_rollout", "vlm.tower"):
        monkeypatch.setattr(f"ltrp_bench.selectors.{module}.load_backbone", lambda *_, **__: found)
    monkeypatch.setattr("ltrp_bench.selectors.gradcam.selector.load_state", lambda _: {})
    return factory("small.pth", **options)
