"""Small ML-Decoders and ViTs with one, and random weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

SMALL: dict[str, Any] = {"dim": 32, "heads": 4, "hidden": 48}


VIT: dict[str, Any] = {
    "image_size": 32,
    "patch_size": 8,
    "embed_dim": 24,
    "depth": 2,
    "heads": 3,
    "classes": ["a", "b", "c", "d", "e"],
    "mean": [0.4, 0.5, 0.6],
    "std": [0.2, 0.3, 0.4],
    "decoder": {**SMALL, "groups": 2},
}


def shaken(module: nn.Module, seed: int = 0) -> Any:
    """Norms and biases that are not the identity's too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in module.parameters():
            value.add_(0.2 * torch.randn(value.shape, generator=generator))
    return module.eval()


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
