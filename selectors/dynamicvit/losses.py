"""Losses of DynamicViT as published (Rao et al., NeurIPS 2021, section 3.4).

Total, with the published weights: cross-entropy + 2 * ratio + 0.5 * KL of logits + 0.5 * distance of tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from ltrp_bench.selectors.dynamicvit.model import TrainingOutput
from ltrp_bench.selectors.vit.backbones import tokens

RATIO_WEIGHT, DISTILL_WEIGHT = 2.0, 0.5


def ratio_loss(decisions: Sequence[Tensor], token_ratio: Sequence[float]) -> Tensor:
    """Mean over stages and images of (share kept - target)²; decisions are [B, L] of 0 and 1, one per stage."""
    pairs = zip(decisions, token_ratio, strict=True)
    return torch.stack([((kept.mean(1) - ratio) ** 2).mean() for kept, ratio in pairs]).mean()


def logits_distillation(logits: Tensor, teacher: Tensor) -> Tensor:
    """KL divergence between the class distributions of teacher and student; logits [B, classes], mean over images."""
    student, target = logits.float().log_softmax(-1), teacher.float().log_softmax(-1)
    return F.kl_div(student, target, reduction="batchmean", log_target=True)


def token_distillation(tokens: Tensor, teacher: Tensor, kept: Tensor) -> Tensor:
    """Mean squared difference of [B, L, D] tokens to those of the teacher, over those that the last stage kept.

    The sum over kept tokens ([B, L], 0 or 1) of the paper, divided by their number and by the number of channels.
    """
    mask = (kept.detach() > 0.5).to(tokens.dtype)
    squares = ((tokens - teacher) ** 2).mean(-1)
    return (squares * mask).sum() / mask.sum().clamp_min(1)


@torch.no_grad()
def teacher_outputs(vit: VisionTransformer, images: Tensor) -> tuple[Tensor, Tensor]:
    """Logits [B, classes] and patch tokens [B, L, D] after the last norm of an unpruned ViT, without gradients."""
    x = tokens(vit, images)
    for block in vit.blocks:
        x = block(x)
    x = vit.norm(x)
    return vit.forward_head(x), x[:, vit.num_prefix_tokens :]


def dynamicvit_loss(
    out: TrainingOutput,
    labels: Tensor,
    token_ratio: Sequence[float],
    teacher: tuple[Tensor, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Weighted terms of the published objective, by name; their sum is the loss.

    Args:
        out: output of `DynamicViT.training_forward`.
        labels: [B] class indices.
        token_ratio: target shares of the model.
        teacher: output of `teacher_outputs`; None leaves distillation out.
    """
    terms = {
        "classes": F.cross_entropy(out.logits.float(), labels),
        "ratio": RATIO_WEIGHT * ratio_loss(out.decisions, token_ratio),
    }
    if teacher is not None:
        terms["logits"] = DISTILL_WEIGHT * logits_distillation(out.logits, teacher[0])
        terms["tokens"] = DISTILL_WEIGHT * token_distillation(out.tokens, teacher[1], out.decisions[-1])
    return terms
