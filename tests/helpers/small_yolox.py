"""Original checkpoints of YOLOX, by a map of names that was written apart from the converter's, the other way round."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ltrp_bench.tasks.models.openmmlab.models import build_model, load_model_config

ORIGINAL = (
    (r"^backbone\.stem\.", "backbone.backbone.stem."),
    (r"^backbone\.stage(\d)\.", lambda found: f"backbone.backbone.dark{int(found[1]) + 1}."),
    (r"^neck\.reduce_layers\.0\.", "backbone.lateral_conv0."),
    (r"^neck\.reduce_layers\.1\.", "backbone.reduce_conv1."),
    (r"^neck\.top_down_blocks\.0\.", "backbone.C3_p4."),
    (r"^neck\.top_down_blocks\.1\.", "backbone.C3_p3."),
    (r"^neck\.downsamples\.0\.", "backbone.bu_conv2."),
    (r"^neck\.downsamples\.1\.", "backbone.bu_conv1."),
    (r"^neck\.bottom_up_blocks\.0\.", "backbone.C3_n3."),
    (r"^neck\.bottom_up_blocks\.1\.", "backbone.C3_n4."),
    (r"^neck\.out_convs\.", "head.stems."),
    (r"^bbox_head\.multi_level_(cls|reg)_convs\.", r"head.\1_convs."),
    (r"^bbox_head\.multi_level_conv_(cls|reg|obj)\.", r"head.\1_preds."),
    (r"\.main_conv\.", ".conv1."),
    (r"\.short_conv\.", ".conv2."),
    (r"\.final_conv\.", ".conv3."),
    (r"\.blocks\.", ".m."),
    (r"\.depthwise_conv\.", ".dconv."),
    (r"\.pointwise_conv\.", ".pconv."),
)


def to_original(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """mmdet's weights of YOLOX under their names in Megvii's repository."""

    def renamed(key: str) -> str:
        for pattern, name in ORIGINAL:
            key = re.sub(pattern, name, key)
        return key

    return {renamed(key): value for key, value in state.items()}


def mmdet_yolox(config: str = "yolox_nano_8xb8-300e_coco") -> dict[str, Tensor]:
    """Untrained weights of mmdet's YOLOX, under mmdet's names."""
    return build_model(load_model_config(config, "mmdet"), "mmdet", "yolox", 0).state_dict()


def original_yolox(path: Path, config: str = "yolox_nano_8xb8-300e_coco") -> dict[str, Tensor]:
    """Save untrained weights as Megvii's repository saves them; returns them under mmdet's names."""
    state = mmdet_yolox(config)
    torch.save({"start_epoch": 300, "model": to_original(state), "optimizer": None}, path)
    return state
