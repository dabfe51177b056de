"""Ranking losses: predicted scores [B, n] and target scores [B, n], greater = ranked higher.

LTRP (Luo et al., CVPR 2024, section 3.2, table 5) compares these and trains with ListMLE. All are written with
log-sum-exp, so that they stay finite for any finite scores.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ltrp_bench.selectors.option_checks import check_value

Loss = Literal["list_mle", "list_net", "rank_net", "focused_rank", "pointwise"]


def list_mle(
    pred: Tensor, true: Tensor, sublist: int | None = None, generator: torch.Generator | None = None
) -> Tensor:
    """ListMLE (Xia et al., ICML 2008): minus the log-likelihood of the true order under Plackett-Luce.

    Summed over a list, averaged over the batch. With `sublist` = k it is computed on k random entries of each list (20
    in LTRP), so that late positions do not dominate; k >= n means the whole list.
    """
    if sublist is not None and sublist < pred.shape[1]:
        source = generator.device if generator is not None else torch.device("cpu")
        noise = torch.rand(pred.shape, generator=generator, device=source).to(pred.device)
        drawn = noise.argsort(dim=1)[:, :sublist]
        pred, true = pred.gather(1, drawn), true.gather(1, drawn)
    ordered = pred.gather(1, true.argsort(dim=1, descending=True, stable=True))
    # log-sum-exp over each entry and all entries ranked after it
    tails = ordered.flip(1).logcumsumexp(dim=1).flip(1)
    return (tails - ordered).sum(dim=1).mean()


def list_net(pred: Tensor, true: Tensor) -> Tensor:
    """ListNet (Cao et al., ICML 2007): cross-entropy of the top-one distributions, mean over all entries."""
    return -(true.softmax(dim=1) * pred.log_softmax(dim=1)).mean()


def pairwise(pred: Tensor, true: Tensor, threshold: float = 0.0, sigma: float = 1.0) -> Tensor:
    """Logistic loss of every pair [B, n, n] whose true scores differ by more than `threshold`, 0 for others."""
    better = (true.unsqueeze(2) - true.unsqueeze(1)) > threshold
    margin = sigma * (pred.unsqueeze(2) - pred.unsqueeze(1))
    return torch.where(better, F.softplus(-margin), torch.zeros_like(margin))


def rank_net(pred: Tensor, true: Tensor, threshold: float = 0.0, sigma: float = 1.0) -> Tensor:
    """RankNet (Burges et al., ICML 2005): logistic loss, mean over the pairs whose order is known.

    Pairs with true scores that differ by at most `threshold` do not count; without pairs the loss is 0.
    """
    pairs = ((true.unsqueeze(2) - true.unsqueeze(1)) > threshold).sum()
    return pairwise(pred, true, threshold, sigma).sum() / pairs.clamp_min(1)


def focused_rank(pred: Tensor, true: Tensor, top: int = 10, threshold: float = 0.001, sigma: float = 1.0) -> Tensor:
    """FocusedRank, the hybrid of list and pair losses in LTRP: ListMLE among the `top` best, and pairs with the rest.

    The second term is the logistic loss of (best, rest) pairs with true scores that differ by more than `threshold`,
    averaged over all (best, rest) pairs and halved.
    """
    order = true.argsort(dim=1, descending=True, stable=True)
    pred, true = pred.gather(1, order), true.gather(1, order)
    loss = list_mle(pred[:, :top], true[:, :top])
    if pred.shape[1] > top:
        gap = (true[:, :top, None] - true[:, None, top:]) > threshold
        margin = sigma * (pred[:, :top, None] - pred[:, None, top:])
        loss = loss + torch.where(gap, F.softplus(-margin), torch.zeros_like(margin)).mean() / 2
    return loss


def pointwise(pred: Tensor, true: Tensor) -> Tensor:
    """Mean squared error: scores as values, not as an order."""
    return F.mse_loss(pred, true)


LOSSES: dict[str, Callable[..., Tensor]] = {
    "list_mle": list_mle,
    "list_net": list_net,
    "rank_net": rank_net,
    "focused_rank": focused_rank,
    "pointwise": pointwise,
}


def ranking_loss(
    name: str, pred: Tensor, true: Tensor, sublist: int | None = None, generator: torch.Generator | None = None
) -> Tensor:
    """Compute a loss by its name; `sublist` and `generator` are for ListMLE only. `UsageError` for an unknown name."""
    check_value("ranking objective", "loss", name, Loss)
    if name == "list_mle":
        return list_mle(pred, true, sublist, generator)
    return LOSSES[name](pred, true)
