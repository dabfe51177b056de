"""Keys that tell which model a state dict belongs to, for error messages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from torch import Tensor

PLAIN: Final = "a plain vision transformer (timm, DeiT, EViT or DINO backbone)"
NO_CLASS_TOKEN: Final = "a vision transformer without a class token"

# Keys that identify a kind of model, most specific first, for the "looks like" of error messages.
SIGNS: Final[tuple[tuple[str, str], ...]] = (
    (r"^score_net\.", "an LTRP ranker (official wrapping)"),
    (r"^score_head\.", "an LTRP ranker of ltrp-bench"),
    (r"^(wfm\.|decoder_blocks\.\d+\.cross_attn\.)", "a CrossMAE pretraining checkpoint"),
    (
        r"^(.*\.)?(blocks|encoder\.layer)\.\d+\.mlp\.weights_in\.",
        "DINOv2's giant, with an MLP that the ViTs here do not have",
    ),
    (r"^(.*\.)?(image_encoder\.)?blocks\.\d+\.attn\.rel_pos_[hw]$", "Segment Anything or ViTDet (relative positions)"),
    (
        r"^(.*\.)?(relative_position_bias_table|rel_pos_bias\..*|attn\.q_bias|lambda_1)$",
        "BEiT, EVA or Swin, whose attention or positions the ViTs here do not have; EVA needs model=TIMM_NAME",
    ),
    (r"^(.*\.)?(storage_tokens|rope_embed\.periods)$", "DINOv3: give model=TIMM_NAME"),
    (r"^(.*\.)?attn\.q_norm\.weight$", "a ViT with norms of queries and keys, which the ViTs here do not have"),
    (
        r"^(.*\.)?(attn_pool|head\.(probe|attention))(\.|$)",
        "the image tower of SigLIP or of another model with attention pooling",
    ),
    (r"^(.*\.)?(dist_token|distillation_token|head_dist\.weight)$", "a distilled DeiT, with a second token"),
    (
        r"^(.*\.)?transformer\.resblocks\.|^(.*\.)?visual\.(class_embedding|conv1|layer1)",
        "CLIP in OpenAI's or open_clip's own names; its supervision would be captions",
    ),
    (
        r"^(.*\.)?vision_model\.|^(text_model|logit_scale|logit_bias)(\.|$)",
        "CLIP or SigLIP; its supervision would be captions",
    ),
    (r"^norm_pre\.weight$", "the image tower of CLIP: give model=TIMM_NAME"),
    (r"^(mask_token|decoder_blocks\.|decoder\.decoder_embed\.)", "a MAE pretraining checkpoint"),
    (r"^blocks\.\d+\.ls1\.gamma$", "DINOv2 or DeiT III (layer scale)"),
    (r"^cropr\.\d+\.cross_attn\.", "a Cropr"),
    (r"^score_predictor\.", "a DynamicViT"),
    (r"^policy\.state_encoder\.", "a GFNet"),
    (
        r"^(backbone\.)?.*last_layer\.weight_[gv]|^head\.mlp\.|^student\.|^backbone\.cls_token",
        "a DINO checkpoint",
    ),
    (
        r"^(.*\.)?(to_patch_embedding\.|transformer\.(layers|encoder)\.(\d+\.0\.|layer\.0\.attn\.query))",
        "a ViT in key names that are unknown here",
    ),
    (r"^(bbox_head|rpn_head|roi_head|mask_head|bbox_embed|class_embed|transformer)\.", "a detector"),
    (r"^decode_head\.", "a segmentor"),
    (r"^(.*\.)?layer4\.\d+\.conv1\.weight", "a ResNet"),
    (r"^(.*\.)?stages\.\d+\.blocks\.\d+\.(conv_dw|dwconv)\.|^(.*\.)?features\.\d+\.", "a convolutional network"),
    (r"^blocks\.0\.attn\.qkv\.weight", PLAIN),
)


def looks_like(state: Mapping[str, Tensor]) -> str:
    """Guess, for error messages, which model a state dict belongs to."""
    for pattern, name in SIGNS:
        if any(re.search(pattern, key) for key in state):
            return NO_CLASS_TOKEN if name is PLAIN and "pos_embed" in state and "cls_token" not in state else name
    return f"something unknown ({', '.join(list(state)[:3])}, …)" if state else "an empty checkpoint"
