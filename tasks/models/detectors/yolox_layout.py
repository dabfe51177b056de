"""YOLOX's original checkpoints (Ge et al., arXiv:2107.08430; Megvii's repository) as those of mmdet's YOLOX.

Both build the same network; only the names of its parts differ. Tensors are renamed and never changed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from torch import Tensor

from ltrp_bench.selectors.checkpoints import load_metadata, looks_like, read_weights, save_safetensors, sha256_of
from ltrp_bench.selectors.errors import InputError

PLAIN: Final = {
    "backbone.backbone.stem": "backbone.stem",
    **{f"backbone.backbone.dark{stage}.0": f"backbone.stage{stage - 1}.0" for stage in (2, 3, 4, 5)},
    "backbone.backbone.dark5.1": "backbone.stage4.1",
    "backbone.lateral_conv0": "neck.reduce_layers.0",
    "backbone.reduce_conv1": "neck.reduce_layers.1",
    "backbone.bu_conv2": "neck.downsamples.0",
    "backbone.bu_conv1": "neck.downsamples.1",
    "head.stems": "neck.out_convs",
    "head.cls_convs": "bbox_head.multi_level_cls_convs",
    "head.reg_convs": "bbox_head.multi_level_reg_convs",
    "head.cls_preds": "bbox_head.multi_level_conv_cls",
    "head.reg_preds": "bbox_head.multi_level_conv_reg",
    "head.obj_preds": "bbox_head.multi_level_conv_obj",
}
"""Parts of the original network, with their names in mmdet."""

CROSS_STAGE: Final = {
    **{f"backbone.backbone.dark{stage}.1": f"backbone.stage{stage - 1}.1" for stage in (2, 3, 4)},
    "backbone.backbone.dark5.2": "backbone.stage4.2",
    "backbone.C3_p4": "neck.top_down_blocks.0",
    "backbone.C3_p3": "neck.top_down_blocks.1",
    "backbone.C3_n3": "neck.bottom_up_blocks.0",
    "backbone.C3_n4": "neck.bottom_up_blocks.1",
}
"""Those that are cross-stage partial layers, whose own parts have other names as well."""

INSIDE: Final = {"conv1": "main_conv", "conv2": "short_conv", "conv3": "final_conv", "m": "blocks"}
SEPARABLE: Final = {"dconv": "depthwise_conv", "pconv": "pointwise_conv"}

_PART: Final = re.compile("|".join(f"{re.escape(name)}(?=\\.)" for name in (*CROSS_STAGE, *PLAIN)))
_WIDTHS: Final = {16: "nano", 24: "tiny", 32: "s", 48: "m", 64: "l", 80: "x"}
"""Channels of the first convolution, with the name of the model."""


def to_mmdet(state: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
    """Weights of the original YOLOX under mmdet's names.

    Args:
        state: tensors by their original names.
        what: the file, for error messages.

    Raises:
        InputError: a name that is not one of YOLOX's.
    """
    foreign = [key for key in state if _PART.match(key) is None]
    if foreign or not state:
        raise InputError(
            f"{what} is not an original checkpoint of YOLOX ({', '.join(foreign[:3])}); it looks like "
            f"{looks_like(dict(state))}"
        )
    return {_renamed(key): value for key, value in state.items()}


def convert_yolox(original: Path, out: Path) -> str | None:
    """Convert an original checkpoint of YOLOX to safetensors that mmdet's configs load.

    Args:
        original: torch file of Megvii's repository.
        out: file to write; replaced if it is there.

    Returns:
        Name of mmdet's config for it; None if it has other sizes or classes than the published ones.

    Raises:
        InputError: the file cannot be read, or is no such checkpoint.
    """
    state = to_mmdet(read_weights(original).state, original.name)
    save_safetensors(out, state, {"converted_from": sha256_of(original)})
    model = _WIDTHS.get(len(state["backbone.stem.conv.conv.weight"]))
    classes = len(state["bbox_head.multi_level_conv_cls.0.bias"])
    return None if model is None or classes != 80 else f"yolox_{model}_8xb8-300e_coco"


def converted_beside(original: Path) -> Path:
    """The converted checkpoint in the folder `converted` beside the original one; made if it is not there."""
    out = original.parent / "converted" / f"{original.stem}.safetensors"
    if not out.is_file() or load_metadata(out).get("converted_from") != sha256_of(original):
        convert_yolox(original, out)
    return out


def _renamed(key: str) -> str:
    found = _PART.match(key)
    assert found is not None
    part, names = found[0], key[found.end() + 1 :].split(".")
    if part in CROSS_STAGE:
        names[0] = INSIDE.get(names[0], names[0])
    names = [SEPARABLE.get(name, name) for name in names]
    return ".".join([CROSS_STAGE.get(part) or PLAIN[part], *names])
