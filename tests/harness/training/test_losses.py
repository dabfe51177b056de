"""The asymmetric loss against a loop over its formula, against cross-entropy, and its gradient against differences."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ltrp_bench.harness.training.losses import AsymmetricLoss
from ltrp_bench.selectors.errors import UsageError

SETTINGS = [(4.0, 0.0, 0.05), (4.0, 1.0, 0.05), (2.0, 0.5, 0.0), (0.0, 0.0, 0.2), (0.5, 2.0, 0.05)]


def batch(rows: int = 5, columns: int = 7) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    return logits, torch.randint(-1, 2, (rows, columns), generator=generator)


def by_loop(logits: Tensor, labels: Tensor, gamma_neg: float, gamma_pos: float, clip: float) -> float:
    total = 0.0
    for row, wanted in zip(logits.tolist(), labels.tolist(), strict=True):
        for x, y in zip(row, wanted, strict=True):
            p = 1 / (1 + math.exp(-x))
            if y == 1:
                total -= (1 - p) ** gamma_pos * math.log(p)
            elif y == 0:
                shifted = max(p - clip, 0.0)
                total -= shifted**gamma_neg * math.log(1 - shifted)
    return total


@pytest.mark.parametrize("setting", SETTINGS)
def test_equals_a_loop_over_the_formula(setting: tuple[float, float, float]) -> None:
    logits, labels = batch()
    assert {-1, 0, 1} == set(labels.unique().tolist())
    expected = by_loop(logits, labels, *setting)
    assert float(AsymmetricLoss(*setting)(logits, labels)) == pytest.approx(expected, rel=1e-12)
    assert float(AsymmetricLoss(*setting, reduction="mean")(logits, labels)) == pytest.approx(expected / 5, rel=1e-12)
    held = AsymmetricLoss(*setting, focus_gradient=False)(logits, labels)
    assert float(held) == pytest.approx(expected, rel=1e-12)
    assert float(AsymmetricLoss(*setting)(logits.float(), labels)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("setting", SETTINGS)
def test_gradient(setting: tuple[float, float, float]) -> None:
    logits, labels = batch(2, 4)
    assert torch.autograd.gradcheck(lambda x: AsymmetricLoss(*setting)(x, labels), (logits.requires_grad_(),))


def test_without_focus_it_is_cross_entropy() -> None:
    logits, labels = batch()
    labels = labels.clamp(min=0)
    expected = F.binary_cross_entropy_with_logits(logits, labels.double(), reduction="sum")
    torch.testing.assert_close(AsymmetricLoss(0, 0, 0)(logits, labels), expected)


def test_weights_held_constant_scale_the_gradient_of_cross_entropy() -> None:
    logits = torch.tensor([[0.3, 0.7]], dtype=torch.float64, requires_grad=True)
    AsymmetricLoss(4, 1, 0, focus_gradient=False)(logits, torch.tensor([[1, 0]])).backward()
    p = torch.sigmoid(logits.detach())[0]
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad[0], torch.stack([-((1 - p[0]) ** 2), p[1] ** 5]))


def test_easy_absent_and_unasked_pairs_pull_at_nothing() -> None:
    logits = torch.tensor([[-4.0, 9.0, -4.0]], requires_grad=True)
    loss = AsymmetricLoss()(logits, torch.tensor([[0, -1, 1]]))
    loss.backward()
    assert logits.grad is not None
    assert logits.grad[0, 0] == 0 and logits.grad[0, 1] == 0 and logits.grad[0, 2] < 0


@pytest.mark.parametrize("setting", SETTINGS)
def test_extreme_logits_stay_finite(setting: tuple[float, float, float]) -> None:
    logits = torch.tensor([[-1e4, -90.0, 0.0, 90.0, 1e4]] * 2, requires_grad=True)
    loss = AsymmetricLoss(*setting)(logits, torch.tensor([[0] * 5, [1] * 5]))
    loss.backward()
    assert logits.grad is not None
    assert loss.isfinite() and logits.grad.isfinite().all()


def test_half_precision_is_summed_in_single() -> None:
    logits, labels = batch()
    assert AsymmetricLoss()(logits.bfloat16(), labels).dtype == torch.float32


def test_wrong_use_is_named() -> None:
    for bad in ({"gamma_neg": -1.0}, {"clip": 1.0}, {"reduction": "none"}):
        with pytest.raises(UsageError, match="asymmetric loss"):
            AsymmetricLoss(**bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one shape"):
        AsymmetricLoss()(torch.zeros(2, 3), torch.zeros(2, 4))
