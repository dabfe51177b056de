"""Class attention of DINOv3: selector `dinov3`.

Siméoni et al., "DINOv3", 2025, arXiv:2508.10104. Its ViTs have rotary positions alone, and four registers, which are
left out of the ranking.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ltrp_bench.selectors.attention.class_attention import DinoV2Selector
from ltrp_bench.selectors.errors import InputError
from ltrp_bench.selectors.vit.embedding import Resampling, antialiased


class DinoV3Selector(DinoV2Selector):
    """DINOv3: class attention of the last block of a ViT with rotary positions and registers.

    Args:
        weights, rule, head, mass, heads, any_size, mean, std, ema: as of the base class.
        model: name of the timm model, such as "vit_small_patch16_dinov3"; only needed if neither the file's name nor a
            `config.json` beside it says it.
        image_size: side of the images in pixels, a multiple of the patch size; the training began at 256.

    Raises:
        InputError: weights of another architecture, or trained with labels.
    """

    name = "dinov3"

    def __init__(self, weights: str | Path, *, image_size: int = 256, **options: Any) -> None:
        super().__init__(weights, image_size=image_size, **options)
        if getattr(self.model, "rope", None) is None:
            raise InputError(f"selector 'dinov3' reads ViTs with rotary positions, which {Path(weights).name} has not")

    def _resampling(self) -> Resampling:
        """timm's, for relatives of DINOv3 that have learned positions too."""
        return antialiased
