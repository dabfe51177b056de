"""What the tensors of a file and the files beside it say of its training: texts, labels, a detector, none.

A backbone alone looks the same whatever it was trained with. What lies around it differs: the text tower and the scale
of CLIP, the heads of a detector, a classifier.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

import torch
from torch import Tensor

from ltrp_bench.selectors.vit.layers import sincos_positions
from ltrp_bench.selectors.vit.supervision import CLASSIFIERS, Evidence

_CAPTIONS: Final = (
    (r"(^|.*\.)(logit_scale|logit_bias|t_prime)$", "the scale of CLIP's loss"),
    (
        r"(^|.*\.)(text|text_model|text_encoder|text_decoder|text_projection|token_embedding|positional_embedding)(\.|$)",
        "texts",
    ),
    (
        r"(^|.*\.)(visual|vision_model|vision_tower|visual_encoder|vision_encoder)\.",
        "the image tower of a model of texts",
    ),
    (r"(^|.*\.)(multi_modal_projector|mm_projector|language_model|qformer|visual_projection)\.", "a language model"),
)
_OWN_CAPTIONS: Final = (
    (r"norm_pre\.weight$", "the first norm of CLIP"),
    (r"attn_pool\.(latent|kv\.weight)", "the attention pooling of SigLIP"),
)
_DETECTOR: Final = (
    (
        r"(^|.*\.)(bbox_head|rpn_head|rpn|roi_heads?|mask_head|query_head|bbox_embed|class_embed|box_head|box_predictor|"
        r"proposal_generator|dense_head)\.",
        "a detector",
    ),
    (
        r"(^|.*\.)(decode_head|auxiliary_head|seg_head|sem_seg_head|pixel_decoder|decoder\.head|decoder\.cls_emb|"
        r"decoder\.proj_classes)(\.|$)",
        "a segmentor",
    ),
    (r"(^|.*\.)(mask_decoder|prompt_encoder)\.", "Segment Anything"),
)
_CLASSIFIER: Final = (
    r"(?:^|.*\.)(?:heads?|head_dist|fc|classifier|cls_classifier|linear|linear_head|clf|logits|"
    r"heads?\.(?:head|fc|linear|layers\.head|\d+)|classifier\.\d+)\.weight$"
)


def evidence_of(
    state: Mapping[str, Tensor], prefix: str, others: Mapping[str, Tensor], *, captioned: bool = False
) -> Evidence:
    """Evidence of a file.

    Args:
        state: tensors of the ViT under timm's names.
        prefix: what stands before them in the file.
        others: the other tensors of the file.
        captioned: True if a file beside it says that the model learned from texts.
    """
    around = [*others, f"{prefix}." if prefix and not prefix.endswith(".") else prefix]
    beside = "in a file beside it that it is a model of texts" if captioned else ""
    captions = _first(_CAPTIONS, around) or _first(_OWN_CAPTIONS, state) or beside
    detector = "" if captions else _first(_DETECTOR, others)
    return Evidence(
        captions=captions,
        detector=detector,
        classes=_classes({**others, **state}),
        frozen_positions=_frozen(state.get("pos_embed")),
    )


def _first(signs: Iterable[tuple[str, str]], keys: Iterable[str]) -> str:
    names = list(keys)
    return next((what for pattern, what in signs if any(re.match(pattern, key) for key in names)), "")


def _classes(state: Mapping[str, Tensor]) -> int:
    """Outputs of a classifier; a head of one output, or of several layers (a projection head), is none."""
    for key, value in state.items():
        if value.ndim == 2 and value.shape[0] > 1 and re.match(_CLASSIFIER, key) and not _is_projection(key, state):
            return int(value.shape[0])
    return 0


def _is_projection(key: str, state: Mapping[str, Tensor]) -> bool:
    """True for a layer of a projection head: one of several numbered layers, the last of which is no classifier."""
    found = re.match(r"(.*)\.\d+\.weight$", key)
    if found is None:
        return False
    pattern = re.compile(rf"{re.escape(found[1])}\.(\d+)\.")
    numbers = {int(m[1]) for one in state if (m := pattern.match(one))}
    last = state.get(f"{found[1]}.{max(numbers)}.weight")
    return len(numbers) > 1 and (last is None or last.ndim != 2 or last.shape[0] not in CLASSIFIERS)


def _frozen(positions: Tensor | None) -> bool:
    """True if positions [1, 1 + L, D] of a square grid are fixed sines and cosines, rows or columns first."""
    if positions is None or positions.ndim != 3 or positions.shape[-1] % 4:
        return False
    side = int(max(positions.shape[1] - 1, 0) ** 0.5)
    if side < 2 or side * side != positions.shape[1] - 1:
        return False
    table = sincos_positions(int(positions.shape[-1]), (side, side))
    turned = torch.cat([table[:, :1], table[:, 1:].unflatten(1, (side, side)).transpose(1, 2).flatten(1, 2)], dim=1)
    return any(torch.allclose(positions[:, 1:].float(), one[:, 1:], atol=2e-3) for one in (table, turned))
