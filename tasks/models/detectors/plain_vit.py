"""mmdet backbone that runs a plain ViT on the kept patches alone, and a feature pyramid from its single map.

The pyramid is the simple one of Li et al., "Exploring Plain Vision Transformer Backbones for Object Detection", ECCV
2022 (section 3 and appendix A): each level is computed from the last map alone, by deconvolutions or a pooling. Unlike
theirs, attention is global in every block (window attention needs all patches), and positions are the absolute ones of
timm's ViT without relative biases; their checkpoints can therefore not be loaded.

The kept patches come with the pixels, as a fourth channel that `kept_channel.py` appends: any detector of mmdet passes
its inputs to the backbone unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import timm
import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from timm.layers import LayerNorm2d
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.vit.backbones import build_vit
from ltrp_bench.selectors.vit.embedding import grid_of, patch_sides
from ltrp_bench.selectors.vit.vit_files import timm_name
from ltrp_bench.tasks.models.vit.token_dropping import features_kept, missing_tokens, scatter_tokens

MISSING: Final = ("zero", "token")
SCALES: Final = (4.0, 2.0, 1.0, 0.5)


@MODELS.register_module(force=True)
class PlainViTBackbone(BaseModule):  # type: ignore[misc]
    """timm's `VisionTransformer`, from images to one feature map of stride `patch`.

    Args:
        vit: {"timm": NAME, and arguments of its constructor such as img_size}, or the arguments of `build_vit`:
            image_size, patch_size, embed_dim, depth, heads, stem, ...
        missing: features at dropped patches: "zero", which needs no training, or "token", a learned token plus the
            position embedding of the patch.
        init_cfg: mmengine's initialization config.

    Raises:
        UsageError: another value of `missing`, an unknown model, patches that are not square.
    """

    def __init__(self, vit: Mapping[str, Any], missing: str = "zero", init_cfg: Any = None) -> None:
        super().__init__(init_cfg)
        if missing not in MISSING:
            raise UsageError(f"missing must be {' or '.join(MISSING)}, got {missing!r}")
        self.vit = _build(vit)
        sides = patch_sides(self.vit)
        if sides[0] != sides[1]:
            raise UsageError(f"patches must be square, these are {sides[0]}x{sides[1]} pixels")
        self.patch = sides[0]
        self.mask_token = nn.Parameter(torch.zeros(self.vit.embed_dim)) if missing == "token" else None

    def forward(self, inputs: Tensor) -> tuple[Tensor]:
        """Computes the feature map of the last block.

        Args:
            inputs: [B, 3, H, W] normalized, or [B, 4, H, W] with 1 on kept patches and 0 on dropped patches and
                padding in the last channel. Images may keep different numbers of patches.

        Returns:
            One map [B, D, gh, gw].

        Raises:
            InputError: patches do not divide the images, or an image keeps no patch.
        """
        if inputs.shape[1] not in (3, 4):
            raise InputError(f"inputs must have 3 channels, or 4 with the kept patches, got {list(inputs.shape)}")
        images = inputs[:, :3]
        grid = grid_of(self.vit, int(images.shape[2]), int(images.shape[3]))
        if inputs.shape[1] == 3:
            return (self._map(images, None, grid),)
        # Content lies at the top left, so that the first pixel of a patch with content is never padding.
        keep = (inputs[:, 3, :: self.patch, :: self.patch] > 0.5).flatten(1)
        counts = keep.sum(1).tolist()
        if not all(counts):
            raise InputError("an image keeps no patch at all: keep at least one")
        out: Tensor | None = None
        # Images that keep the same number of patches form a batch: padded tokens would cost time and need masks.
        for count in sorted(set(counts)):
            rows = torch.tensor([i for i, n in enumerate(counts) if n == count], device=inputs.device)
            is_part = len(rows) < len(counts)
            chosen = keep[rows] if is_part else keep
            whole = count == keep.shape[1]
            # A stable sort instead of nonzero(), whose size would need another synchronization with the GPU.
            indices = None if whole else chosen.byte().argsort(dim=1, descending=True, stable=True)[:, :count]
            part = self._map(images[rows] if is_part else images, indices, grid)
            if not is_part:
                return (part,)
            out = part.new_zeros(len(counts), *part.shape[1:]) if out is None else out
            out = out.index_copy(0, rows, part)
        assert out is not None
        return (out,)

    def _map(self, images: Tensor, indices: Tensor | None, grid: tuple[int, int]) -> Tensor:
        tokens = features_kept(self.vit, images, indices)[:, self.vit.num_prefix_tokens :]
        if indices is None:
            return tokens.transpose(1, 2).unflatten(2, grid)
        return scatter_tokens(tokens, indices, grid, missing_tokens(self.vit, self.mask_token, grid))


def _build(config: Mapping[str, Any]) -> VisionTransformer:
    options = dict(config)
    name = options.pop("timm", None)
    if name is None:
        return build_vit({**options, "classes": 0, "fc_norm": False})
    net = timm.create_model(timm_name(name), pretrained=False, num_classes=0, **options)
    if not isinstance(net, VisionTransformer):
        raise UsageError(f"timm's {name} is a {type(net).__name__}, not a plain vision transformer")
    return net


@MODELS.register_module(force=True)
class SimplePyramid(BaseModule):  # type: ignore[misc]
    """Levels of several strides from one map, without a top-down path or lateral connections.

    Args:
        in_channels: channels of the map, a number or a list of one.
        out_channels: channels of every level.
        scales: resolution of each level relative to the map, finest first: 4, 2, 1 or 0.5.
        num_outs: number of levels; those beyond `scales` subsample the last one by 2.
        init_cfg: mmengine's initialization config.

    Raises:
        UsageError: another scale, or fewer outputs than scales.
    """

    def __init__(
        self,
        in_channels: int | Sequence[int],
        out_channels: int = 256,
        scales: Sequence[float] = SCALES,
        num_outs: int | None = None,
        init_cfg: Any = None,
    ) -> None:
        super().__init__(init_cfg)
        width = in_channels if isinstance(in_channels, int) else int(in_channels[0])
        if not set(scales) <= set(SCALES) or not scales:
            raise UsageError(f"scales must be of {', '.join(f'{s:g}' for s in SCALES)}, got {list(scales)}")
        self.num_outs = len(scales) if num_outs is None else num_outs
        if self.num_outs < len(scales):
            raise UsageError(f"num_outs={self.num_outs} is less than the {len(scales)} scales")
        self.levels = nn.ModuleList(_level(width, out_channels, scale) for scale in scales)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """A sequence of one map [B, D, gh, gw] -> one map [B, out_channels, gh * scale, gw * scale] per level."""
        out = [level(maps[-1]) for level in self.levels]
        while len(out) < self.num_outs:
            out.append(F.max_pool2d(out[-1], 1, stride=2))
        return tuple(out)


def _level(width: int, out: int, scale: float) -> nn.Sequential:
    """Layers of one level: resampling, then a 1x1 and a 3x3 convolution, each followed by a norm over channels."""
    layers: list[nn.Module] = []
    if scale == 4:
        half, width = width // 2, width // 4
        layers += [nn.ConvTranspose2d(half * 2, half, 2, 2), LayerNorm2d(half), nn.GELU()]
        layers += [nn.ConvTranspose2d(half, width, 2, 2)]
    elif scale == 2:
        layers += [nn.ConvTranspose2d(width, width // 2, 2, 2)]
        width //= 2
    elif scale == 0.5:
        layers += [nn.MaxPool2d(2, 2, ceil_mode=True)]
    layers += [nn.Conv2d(width, out, 1, bias=False), LayerNorm2d(out)]
    layers += [nn.Conv2d(out, out, 3, padding=1, bias=False), LayerNorm2d(out)]
    return nn.Sequential(*layers)
