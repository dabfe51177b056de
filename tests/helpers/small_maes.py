"""Tiny masked autoencoders and rankers for 48 x 48 images, with fixed random weights."""

from __future__ import annotations

from typing import Any, Final

import torch

from ltrp_bench.selectors.ltrp.cross_mae import CrossMAE, CrossMAEConfig
from ltrp_bench.selectors.ltrp.mae import MAE, MAEConfig
from ltrp_bench.selectors.ltrp.ranker import Ranker

SIZES: Final[dict[str, Any]] = {
    **{"image_size": 48, "patch_size": 8, "embed_dim": 24, "depth": 2, "heads": 2},
    **{"decoder_dim": 16, "decoder_depth": 2, "decoder_heads": 2},
}


def small_mae(seed: int = 0, **options: Any) -> MAE:
    torch.manual_seed(seed)
    return MAE(MAEConfig(**{**SIZES, **options}))


def small_cross_mae(seed: int = 0, **options: Any) -> CrossMAE:
    torch.manual_seed(seed)
    return CrossMAE(CrossMAEConfig(**{**SIZES, **options}))


def uneven_mae(**options: Any) -> MAE:
    """A MAE in evaluation mode with larger weights than at initialization: its attention is far from uniform."""
    mae = small_mae(**options).eval()
    for p in mae.parameters():
        p.data.mul_(2)
    return mae


def small_ranker(**options: Any) -> Ranker:
    torch.manual_seed(0)
    return Ranker(48, 8, 24, 2, 2, **options)
