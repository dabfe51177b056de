"""Configurations of the small ViTs that tasks build untrained, when they are given a seed and no weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ltrp_bench.tasks.data.semantic import BACKGROUND
from ltrp_bench.tasks.data.shapes.world import CATEGORIES, MEAN, PATCH, SIZE, STD

_SHAPES_VIT: Final[Mapping[str, Any]] = {
    "image_size": SIZE,
    "patch_size": PATCH,
    "embed_dim": 128,
    "heads": 4,
    "mean": list(MEAN),
    "std": list(STD),
}

SHAPES_CLASSIFIER: Final[Mapping[str, Any]] = {
    **_SHAPES_VIT,
    "depth": 6,
    "classes": list(CATEGORIES),
    "fc_norm": True,
    "crop_pct": 1.0,
}
"""Configuration for `build_vit` of the classifier of `shapes-cls`."""

SHAPES_MULTILABEL: Final[Mapping[str, Any]] = {
    **_SHAPES_VIT,
    "depth": 6,
    "classes": list(CATEGORIES),
    "decoder": {"dim": 128, "heads": 4, "hidden": 256},
}
"""Configuration for `build_multilabel_vit` of the model of `shapes-multilabel`."""

SHAPES_SEGMENTOR: Final[Mapping[str, Any]] = {
    **_SHAPES_VIT,
    "depth": 4,
    "classes": [BACKGROUND, *CATEGORIES],
    "segmentor": {"head": "linear", "cells": 4},
}
"""Configuration for `build_segmentor` of the segmentor of `shapes-seg`."""

PHOTO_SEGMENTOR: Final[Mapping[str, Any]] = {
    "image_size": 224,
    "patch_size": 16,
    "embed_dim": 192,
    "depth": 12,
    "heads": 3,
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "segmentor": {"head": "linear", "cells": 1},
}
"""Configuration for `build_segmentor` of the other tasks' segmentor, a ViT-Tiny/16, without its classes."""
