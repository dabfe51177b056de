"""mmdet data preprocessor that appends the kept patches to the images as a fourth channel.

So the backbone, which gets nothing but a batch of images, knows which patches are kept, in every detector of mmdet and
without state between batches.
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
"""Key in a data sample's metainfo: [gh, gw] bool, the kept patches of the image without padding."""


@MODELS.register_module(force=True)
class KeptPatchesPreprocessor(DetDataPreprocessor):  # type: ignore[misc]
    """`DetDataPreprocessor` for detectors with `PlainViTBackbone`.

    Images are padded at the right and at the bottom to multiples of the patch. Patches that hold only padding are
    never kept. A sample without `kept_patches` in its metainfo keeps all patches of its `img_shape`.

    Args:
        patch: side of a patch in pixels.
        **options: arguments of `DetDataPreprocessor`; pad_size_divisor is `patch` by default.

    Raises:
        UsageError: a pad_size_divisor that is not a multiple of `patch`.
    """

    def __init__(self, patch: int, **options: Any) -> None:
        divisor = options.setdefault("pad_size_divisor", patch)
        if patch < 1 or divisor % patch:
            raise UsageError(f"pad_size_divisor must be a multiple of the patch ({patch}), got {divisor}")
        super().__init__(**options)
        self.patch = patch

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """mmdet's forward, with inputs [B, 4, H, W]; InputError if kept patches have another grid."""
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
    """Appends the kept patches to images as a fourth channel.

    Args:
        images: [B, 3, H, W].
        kept: [gh, gw] bool for the content of each image, which lies at the top left.
        patch: side of a patch in pixels.

    Returns:
        [B, 4, H, W], the last channel 1 on kept patches and 0 elsewhere.

    Raises:
        InputError: a grid is larger than its image.
    """
    rows, columns = images.shape[2] // patch, images.shape[3] // patch
    mask = torch.zeros(len(images), 1, rows, columns, dtype=images.dtype)
    for out, grid in zip(mask[:, 0], kept, strict=True):
        if grid.ndim != 2 or grid.shape[0] > rows or grid.shape[1] > columns:
            raise InputError(f"kept patches of {list(grid.shape)} do not fit an image of {rows}x{columns} patches")
        out[: grid.shape[0], : grid.shape[1]] = torch.from_numpy(grid)
    pixels = mask.to(images.device).repeat_interleave(patch, 2).repeat_interleave(patch, 3)
    return torch.cat([images, pixels], 1)


def dropping_backbone(model: nn.Module) -> PlainViTBackbone | None:
    """Returns a detector's backbone if it can drop patches, else None.

    Raises:
        UsageError: its preprocessor does not pass on the kept patches, or has another patch size.
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
