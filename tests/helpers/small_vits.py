"""Small ViTs with weights that spread their attention, as files, for the tests of methods that read one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer

from ltrp_bench.selectors.checkpoints import save_safetensors
from ltrp_bench.selectors.vit.backbones import build_vit

CONFIG: dict[str, Any] = {
    "image_size": 48,
    "patch_size": 8,
    "embed_dim": 32,
    "depth": 4,
    "heads": 4,
    "classes": 8,
}
TRAINED_ON: dict[str, Any] = {"label_set": "shapes-seen/0", "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}


def spread(module: torch.nn.Module, seed: int = 0) -> None:
    """Weights of unit gain: a fresh ViT's attention is so even that rounding would decide what is kept."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim >= 2 and "pos_embed" not in name and "cls_token" not in name:
                parameter.copy_(noise * 1.5 / parameter[0].numel() ** 0.5)
            elif "norm" not in name:
                parameter.copy_(noise * 0.3)


def small_vit(**config: Any) -> VisionTransformer:
    vit = build_vit({**CONFIG, **config})
    spread(vit)
    return vit


def save_vit(path: Path, vit: VisionTransformer, **config: Any) -> Path:
    save_safetensors(path, vit.state_dict(), {"kind": "vit", "config": {**CONFIG, **TRAINED_ON, **config}})
    return path


def make_images(batch: int = 4, size: int = 48, seed: int = 0) -> torch.Tensor:
    """Normalised by mean 0.5 and std 0.25: in [-2, 2]."""
    return torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 4 - 2


def noise_vit(path: Path, **config: Any) -> Path:
    """A file of a ViT whose every weight is small noise, trained with "shapes-seen0"."""
    torch.manual_seed(0)
    config = {**CONFIG, "label_set": "shapes-seen0", **config}
    state = {k: torch.randn_like(v) * 0.2 for k, v in build_vit(config).state_dict().items()}
    save_safetensors(path, state, {"kind": "vit", "config": config})
    return path
