"""Losses of DynamicViT by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from small_vits import make_images, small_vit, spread

from ltrp_bench.selectors.dynamicvit.losses import (
    dynamicvit_loss,
    logits_distillation,
    ratio_loss,
    teacher_outputs,
    token_distillation,
)
from ltrp_bench.selectors.dynamicvit.model import DynamicViT


def small_net(**config: Any) -> DynamicViT:
    net = DynamicViT(small_vit(**config), (1, 2, 3), (0.7, 0.5, 0.3))
    spread(net.score_predictor, 1)
    return net


def test_losses_by_hand() -> None:
    decisions = [torch.tensor([[1.0, 1.0, 0.0, 0.0]]), torch.tensor([[1.0, 0.0, 0.0, 0.0]])]
    assert ratio_loss(decisions, (0.7, 0.25)).item() == pytest.approx((0.2**2 + 0) / 2)
    student, teacher = torch.tensor([[0.0, 1.0]]), torch.tensor([[2.0, 0.0]])
    p, q = teacher.softmax(-1), student.softmax(-1)
    assert logits_distillation(student, teacher).item() == pytest.approx((p * (p / q).log()).sum().item(), rel=1e-5)
    assert logits_distillation(teacher, teacher).item() == pytest.approx(0, abs=1e-7)
    tokens = torch.tensor([[[1.0, 3.0], [9.0, 9.0]]])
    assert token_distillation(tokens, torch.zeros(1, 2, 2), torch.tensor([[1.0, 0.0]])).item() == pytest.approx(5)


def test_the_objective_is_weighted_as_published() -> None:
    net, vit, labels = small_net(), small_vit(), torch.tensor([0, 1, 2, 3])
    out, teacher = (
        net.training_forward(make_images(), torch.Generator().manual_seed(0)),
        teacher_outputs(vit, make_images()),
    )
    torch.testing.assert_close(teacher[0], vit(make_images()).detach())
    assert not teacher[0].requires_grad and teacher[1].shape == (4, 36, 32)
    terms = dynamicvit_loss(out, labels, net.token_ratio, teacher)
    assert set(terms) == {"classes", "ratio", "logits", "tokens"}
    torch.testing.assert_close(terms["classes"], F.cross_entropy(out.logits, labels))
    torch.testing.assert_close(terms["ratio"], 2 * ratio_loss(out.decisions, net.token_ratio))
    torch.testing.assert_close(terms["logits"], 0.5 * logits_distillation(out.logits, teacher[0]))
    torch.testing.assert_close(terms["tokens"], 0.5 * token_distillation(out.tokens, teacher[1], out.decisions[-1]))
    assert set(dynamicvit_loss(out, labels, net.token_ratio)) == {"classes", "ratio"}
