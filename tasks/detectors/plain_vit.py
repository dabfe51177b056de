"""Plain ViTs under any detector of mmdet, with dropped patches really dropped.

Li et al., "Exploring Plain Vision Transformer Backbones for Object Detection", ECCV 2022 (ViTDet): one map of a plain
ViT, and a simple feature pyramid made of it alone. Three parts for configs: `KeptPatchPreprocessor`, `PlainViTBackbone`
and `SimpleFeaturePyramid`; heads are mmdet's.

Which patches are kept comes with each sample (`metainfo["kept"]`, [gh, gw] bool on the picture without padding; all of
them where it is absent) and reaches the backbone as a fourth channel of the input, so that any detector of mmdet, of
one stage or two, hands it on without knowing of it. Patches of padding are never kept.

Not ViTDet's: attention is global in every block (windows need whole pictures), positions are not relative.

To be imported after `openmmlab.setup`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.registry import MODELS
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from ltrp_bench.selectors.backbones import build_vit
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.reduction import patch_grid
from ltrp_bench.tasks.vits.dropping import features_kept, grid_of, patch_sides, scatter_tokens

KEPT = "kept"
"""Key of a sample's metainfo."""


@MODELS.register_module(force=True)
class KeptPatchPreprocessor(DetDataPreprocessor):  # type: ignore[misc]
    """mmdet's own, and a fourth channel: 1 on the pixels of kept patches, 0 elsewhere.

    Args:
        patch: pixels along a patch's side; pictures are padded to multiples of it.
        **rest: of `DetDataPreprocessor`.
    """

    def __init__(self, patch: int, **rest: Any) -> None:
        super().__init__(**{"pad_size_divisor": patch, **rest})
        if self.pad_size_divisor % patch:
            raise UsageError(f"pad_size_divisor {self.pad_size_divisor} is no multiple of the patch of {patch}")
        self.patch = patch

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """As the base class: {"inputs": [B, 4, H, W], "data_samples": …}."""
        done = super().forward(data, training)
        inputs, samples = done["inputs"], done["data_samples"]
        plane = inputs.new_zeros(len(inputs), 1, *inputs.shape[2:])
        for i, sample in enumerate(samples):
            kept = _kept(sample.metainfo, self.patch)
            pixels = torch.from_numpy(kept.repeat(self.patch, 0).repeat(self.patch, 1)).to(plane)
            plane[i, 0, : pixels.shape[0], : pixels.shape[1]] = pixels
        return {**done, "inputs": torch.cat([inputs, plane], 1)}


def _kept(meta: Mapping[str, Any], patch: int) -> np.ndarray:
    height, width = meta["img_shape"][:2]
    grid = patch_grid(int(height), int(width), patch)
    kept = meta.get(KEPT)
    if kept is None:
        return np.ones(grid, bool)
    if kept.shape != grid:
        raise InputError(f"a selection of {kept.shape} patches, the picture has {grid}")
    return cast(np.ndarray, kept)


@MODELS.register_module(force=True)
class PlainViTBackbone(nn.Module):
    """A plain ViT that sees the kept patches alone, and lays its tokens back on the grid.

    Args:
        vit: `build_vit`'s words; and "learn_positions", false for sine-cosine ones.
        missing: what stands where nothing was kept: "zero", or "token", a learnt one.
    """

    def __init__(self, vit: Mapping[str, Any], missing: str = "token") -> None:
        super().__init__()
        if missing not in ("zero", "token"):
            raise UsageError(f"missing must be zero or token, got {missing!r}")
        self.vit = build_vit({**vit, "classes": 0})
        if self.vit.pos_embed is not None:
            self.vit.pos_embed.requires_grad_(bool(vit.get("learn_positions", False)))
        self.mask_token = nn.Parameter(torch.zeros(self.vit.embed_dim)) if missing == "token" else None

    @property
    def patch(self) -> int:
        """Pixels along a patch's side."""
        return patch_sides(self.vit)[0]

    def init_weights(self) -> None:
        """mmengine asks for it; timm has done it."""

    def forward(self, inputs: Tensor) -> tuple[Tensor]:
        """[B, 4, H, W] of `KeptPatchPreprocessor` -> one map [B, D, H / P, W / P].

        Raises:
            InputError: the fourth channel is missing.
        """
        if inputs.shape[1] != 4:
            raise InputError(
                "a plain ViT backbone needs the kept patches as a fourth channel: set data_preprocessor's type to "
                "KeptPatchPreprocessor"
            )
        patch = self.patch
        kept = inputs[:, 3, ::patch, ::patch].flatten(1) > 0.5
        counts = kept.sum(1)
        maps: list[Tensor | None] = [None] * len(inputs)
        # Pictures that keep as many go through together.
        for count in counts.unique().tolist():
            rows = (counts == count).nonzero()[:, 0]
            found = self._map(inputs[rows, :3], kept[rows], int(count))
            for row, one in zip(rows.tolist(), found, strict=True):
                maps[row] = one
        return (torch.stack(cast(list[Tensor], maps)),)

    def _map(self, images: Tensor, kept: Tensor, count: int) -> Tensor:
        """[b, D, gh, gw] of pictures that keep `count` patches each."""
        grid = grid_of(self.vit, int(images.shape[2]), int(images.shape[3]))
        indices = kept.nonzero()[:, 1].view(len(images), count)
        tokens = features_kept(self.vit, images, indices)[:, self.vit.num_prefix_tokens :]
        return scatter_tokens(tokens, indices, grid, self.mask_token)


@MODELS.register_module(force=True)
class SimpleFeaturePyramid(nn.Module):
    """Maps of several strides out of one (section 3 of the paper; figure 2c).

    Args:
        in_channels: of the map.
        out_channels: of each level.
        scales: of each level's side over the map's: 4 and 2 by transposed convolutions, 1, 0.5 by max pooling.
    """

    def __init__(self, in_channels: int, out_channels: int, scales: Sequence[float] = (4.0, 2.0, 1.0, 0.5)) -> None:
        super().__init__()
        self.levels = nn.ModuleList(_level(in_channels, out_channels, float(scale)) for scale in scales)

    def init_weights(self) -> None:
        """mmengine asks for it; torch's own stand."""

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """([B, C, h, w],) -> a map a level."""
        return tuple(level(inputs[0]) for level in self.levels)


def _level(width: int, out: int, scale: float) -> nn.Sequential:
    steps: list[nn.Module] = []
    if scale == 4:
        steps += [nn.ConvTranspose2d(width, width // 2, 2, 2), LayerNorm2d(width // 2), nn.GELU()]
        steps += [nn.ConvTranspose2d(width // 2, width // 4, 2, 2)]
        width //= 4
    elif scale == 2:
        steps += [nn.ConvTranspose2d(width, width // 2, 2, 2)]
        width //= 2
    elif scale == 0.5:
        steps += [nn.MaxPool2d(2, 2)]
    elif scale != 1:
        raise UsageError(f"a level of scale {scale}: there are 4, 2, 1 and 0.5")
    steps += [nn.Conv2d(width, out, 1, bias=False), LayerNorm2d(out)]
    steps += [nn.Conv2d(out, out, 3, padding=1, bias=False), LayerNorm2d(out)]
    return nn.Sequential(*steps)


def dropping_patch(model: Any) -> int | None:
    """Pixels along a patch's side of a detector that can drop patches; None for others."""
    backbone = getattr(model, "backbone", None)
    return backbone.patch if isinstance(backbone, PlainViTBackbone) else None


def start_backbone(backbone: PlainViTBackbone, state: Mapping[str, Tensor]) -> int:
    """Take what fits by name and shape from a plain ViT's tensors; returns how many."""
    mine = backbone.vit.state_dict()
    taken = {key: value for key, value in state.items() if key in mine and value.shape == mine[key].shape}
    backbone.vit.load_state_dict({**mine, **taken})
    return len(taken)
