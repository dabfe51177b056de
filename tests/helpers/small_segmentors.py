"""Small plain ViT segmentors with random weights."""

from __future__ import annotations

from typing import Any

import torch

from ltrp_bench.tasks.models.segmentors.plain_vit import build_segmentor

SMALL: dict[str, Any] = {
    "image_size": 48,
    "patch_size": 16,
    "embed_dim": 24,
    "depth": 2,
    "heads": 3,
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
}


HEADS: tuple[dict[str, Any], ...] = (
    {"head": "linear", "cells": 2, "missing": "zero"},
    {"head": "mask-transformer", "dim": 24, "depth": 1, "heads": 3, "cells": 2, "missing": "token"},
)


def small_segmentor(classes: int = 5, head: dict[str, Any] = HEADS[0], **options: Any) -> Any:
    torch.manual_seed(0)
    net = build_segmentor({**SMALL, "classes": [f"c{i}" for i in range(classes)], "segmentor": head, **options})
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return net.eval().requires_grad_(False)
