"""Asymmetric loss for images with several labels, in which most categories are absent."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltrp_bench.selectors.errors import UsageError


class AsymmetricLoss(nn.Module):
    """Asymmetric focusing with probability shifting.

    Ridnik et al., "Asymmetric Loss For Multi-Label Classification", ICCV 2021.

    With p = sigmoid(logit) and p_m = max(p - clip, 0), a pair of image and category costs
    -(1 - p)^gamma_pos · log(p) if the category is present, and -p_m^gamma_neg · log(1 - p_m) if it is absent:
    easy absent categories weigh little, and those below `clip` nothing. With gamma_neg = gamma_pos = clip = 0 it is
    binary cross-entropy.

    Args:
        gamma_neg: focusing exponent of absent categories, >= 0.
        gamma_pos: focusing exponent of present categories, >= 0; 0 or 1 in the paper's experiments.
        clip: probability shift of absent categories (m in the paper), in [0, 1).
        reduction: "sum" over pairs, as the published code trains, or "mean" over images of that sum.
        focus_gradient: True to let gradients flow through the focusing weights, as in the equations; the published
            trainings of ML-Decoder hold them constant.
    """

    def __init__(
        self,
        gamma_neg: float = 4.0,
        gamma_pos: float = 0.0,
        clip: float = 0.05,
        reduction: Literal["sum", "mean"] = "sum",
        focus_gradient: bool = True,
    ) -> None:
        super().__init__()
        if gamma_neg < 0 or gamma_pos < 0 or not 0 <= clip < 1 or reduction not in ("sum", "mean"):
            raise UsageError(
                f"asymmetric loss: gamma_neg={gamma_neg} and gamma_pos={gamma_pos} must be at least 0, clip={clip} in "
                f"[0, 1), reduction={reduction!r} sum or mean"
            )
        self.gamma_neg, self.gamma_pos, self.clip = gamma_neg, gamma_pos, clip
        self.reduction, self.focus_gradient = reduction, focus_gradient

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """[B, C] logits and labels (1 present, 0 absent, -1 ignored) -> scalar, in float32 at least."""
        if logits.shape != labels.shape:
            raise ValueError(f"logits {list(logits.shape)} and labels {list(labels.shape)} must be of one shape")
        logits = logits if logits.dtype == torch.float64 else logits.float()
        present = -F.logsigmoid(logits) * self._weight(F.logsigmoid(-logits), self.gamma_pos)
        absent = self._absent(logits)
        pairs = torch.where(labels == 1, present, torch.where(labels == 0, absent, torch.zeros_like(absent)))
        total = pairs.sum()
        return total / len(logits) if self.reduction == "mean" else total

    def _absent(self, logits: Tensor) -> Tensor:
        if not self.clip:
            return -F.logsigmoid(-logits) * self._weight(F.logsigmoid(logits), self.gamma_neg)
        shifted = torch.sigmoid(logits) - self.clip
        counted = shifted > 0
        # Discarded pairs get a harmless value first: the logarithm of 0 has no gradient.
        shifted = torch.where(counted, shifted, torch.full_like(shifted, 0.5))
        cost = -torch.log1p(-shifted) * self._weight(shifted.log(), self.gamma_neg)
        return torch.where(counted, cost, torch.zeros_like(cost))

    def _weight(self, log_base: Tensor, gamma: float) -> Tensor | float:
        """exp(gamma * log_base): its gradient is finite even if the base itself rounds to 0."""
        if not gamma:
            return 1.0
        return torch.exp(gamma * (log_base if self.focus_gradient else log_base.detach()))
