"""mmdet's data preprocessor with one step more: which patches are kept, as a fourth channel behind the three of colour.

A module that is handed no more than a batch of images learns in this way which of their patches it may look at, for
every detector and head of mmdet, and nothing is kept between batches.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.models.detectors.plain_vit import PlainViTBackbone
from ltrp_bench.tasks.models.openmmlab import setup as openmmlab
from ltrp_bench.tasks.models.reduction import patch_grid

openmmlab.setup()
from mmdet.models.data_preprocessors import DetDataPreprocessor  # noqa: E402  (needs the line above)

KEPT: Final = "kept_patches"
"""In a data sample's metainfo: [gh, gw] bool, the kept patches of the image without its padding."""


@MODELS.register_module(force=True)
class KeptPatchesPreprocessor(DetDataPreprocessor):  # type: ignore[misc]
    """`DetDataPreprocessor` for detectors on `PlainViTBackbone`.

    Images are padded to multiples of the patch, at the right and at the bottom. Patches of padding alone are never
    kept. A sample without `kept_patches` in its metainfo keeps all patches of its `img_shape`.

    Args:
        patch: pixels along a patch's side.
        more: of `DetDataPreprocessor`; pad_size_divisor is `patch` if not given.

    Raises:
        UsageError: a pad_size_divisor that is not a multiple of `patch`.
    """

    def __init__(self, patch: int, **more: Any) -> None:
        divisor = more.setdefault("pad_size_divisor", patch)
        if patch < 1 or divisor % patch:
            raise UsageError(f"pad_size_divisor must be a multiple of the patch ({patch}), got {divisor}")
        super().__init__(**more)
        self.patch = patch

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """As mmdet's, with inputs [B, 4, H, W]; InputError where kept patches are of another grid."""
        done: dict[str, Any] = super().forward(data, training)
        images, samples = done["inputs"], done["data_samples"]
        if samples is not None:
            grids = [self._kept(sample, images.shape[2:]) for sample in samples]
            done["inputs"] = with_kept(images, grids, self.patch)
        return done

    def _kept(self, sample: Any, size: Any) -> np.ndarray:
        kept = sample.metainfo.get(KEPT)
        if kept is None:
            height, width = sample.metainfo.get("img_shape", size)[:2]
            return np.ones(patch_grid(min(height, int(size[0])), min(width, int(size[1])), self.patch), bool)
        return np.asarray(kept, bool)


def with_kept(images: Tensor, kept: list[np.ndarray], patch: int) -> Tensor:
    """[B, 3, H, W] and [gh, gw] bool of each image's content -> [B, 4, H, W]; InputError for a grid too large."""
    rows, columns = images.shape[2] // patch, images.shape[3] // patch
    mask = torch.zeros(len(images), 1, rows, columns, dtype=images.dtype)
    for out, grid in zip(mask[:, 0], kept, strict=True):
        if grid.ndim != 2 or grid.shape[0] > rows or grid.shape[1] > columns:
            raise InputError(f"kept patches of {list(grid.shape)} do not fit an image of {rows}x{columns} patches")
        out[: grid.shape[0], : grid.shape[1]] = torch.from_numpy(grid)
    pixels = mask.to(images.device).repeat_interleave(patch, 2).repeat_interleave(patch, 3)
    return torch.cat([images, pixels], 1)


def dropping_backbone(model: nn.Module) -> PlainViTBackbone | None:
    """The backbone of a detector that drops patches; None where it has another one.

    Raises:
        UsageError: such a backbone without a preprocessor of its patch, so that nothing would tell it what is kept.
    """
    backbone, preprocessor = getattr(model, "backbone", None), getattr(model, "data_preprocessor", None)
    if not isinstance(backbone, PlainViTBackbone):
        return None
    if not isinstance(preprocessor, KeptPatchesPreprocessor) or preprocessor.patch != backbone.patch:
        raise UsageError(
            "a detector on PlainViTBackbone needs data_preprocessor=dict(type='KeptPatchesPreprocessor', "
            f"patch={backbone.patch}, ...) in its config"
        )
    return backbone
