from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.ltrp.ranking_losses import (
    LOSSES,
    focused_rank,
    list_mle,
    list_net,
    pointwise,
    rank_net,
    ranking_loss,
)

GOLDEN = {
    "list_mle": list_mle,
    "list_net": list_net,
    "point_wise": pointwise,
    "focused_rank": focused_rank,
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_ranking_losses(golden: Callable, name: str) -> None:
    _, out, _ = golden("ranking_losses")
    pred = torch.from_numpy(out["y_pred"]).requires_grad_()
    loss = GOLDEN[name](pred, torch.from_numpy(out["y_true"]))
    loss.backward()
    assert loss.item() == pytest.approx(float(out[f"{name}_loss"]), rel=1e-5)
    torch.testing.assert_close(pred.grad, torch.from_numpy(out[f"{name}_grad"]), atol=1e-5, rtol=1e-4)


def test_rank_net_by_hand() -> None:
    pred, true = torch.tensor([[1.0, 0.0, 2.0]]), torch.tensor([[3.0, 2.0, 1.0]])
    margins = torch.tensor([1.0, -1.0, -2.0])  # (0 over 1), (0 over 2), (1 over 2)
    expected = torch.log1p((-margins).exp()).mean()
    torch.testing.assert_close(rank_net(pred, true), expected)
    assert rank_net(pred, torch.zeros(1, 3)) == 0
    assert rank_net(pred, true, threshold=1.5) == pytest.approx(torch.log1p(torch.tensor(1.0).exp()).item())


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(2, 12), st.sampled_from(["list_mle", "rank_net", "focused_rank"]))
def test_the_right_order_costs_less_than_the_reverse(seed: int, n: int, name: str) -> None:
    true = torch.rand(3, n, generator=torch.Generator().manual_seed(seed)) + torch.arange(n)
    true = true[:, torch.randperm(n, generator=torch.Generator().manual_seed(seed))]
    assert LOSSES[name](true, true) < LOSSES[name](-true, true)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
def test_finite_value_and_gradient_at_any_scale(name: str, scale: float) -> None:
    pred = (torch.randn(4, 25, generator=torch.Generator().manual_seed(0)) * scale).requires_grad_()
    true = torch.rand(4, 25, generator=torch.Generator().manual_seed(1))
    loss = LOSSES[name](pred, true)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(pred.grad).all()


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_check(name: str) -> None:
    pred = torch.randn(2, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    true = torch.rand(2, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert torch.autograd.gradcheck(lambda p: LOSSES[name](p, true), (pred,))


@pytest.mark.parametrize("name", LOSSES)
def test_order_of_the_list_does_not_matter(name: str) -> None:
    pred, true = torch.randn(3, 15), torch.rand(3, 15)
    order = torch.randperm(15)
    torch.testing.assert_close(LOSSES[name](pred, true), LOSSES[name](pred[:, order], true[:, order]))


def test_sublists_are_drawn_from_the_generator() -> None:
    pred, true = torch.randn(4, 40), torch.rand(4, 40)
    draws = [list_mle(pred, true, 20, torch.Generator().manual_seed(s)) for s in (0, 0, 1)]
    assert draws[0] == draws[1] and draws[0] != draws[2]
    assert list_mle(pred, true, 40) == list_mle(pred, true, 99) == list_mle(pred, true)
    leaves = pred.clone().requires_grad_()
    list_mle(leaves, true, 20, torch.Generator().manual_seed(0)).backward()
    assert ((leaves.grad != 0).sum(1) == 20).all()


def test_by_name() -> None:
    pred, true = torch.randn(4, 40), torch.rand(4, 40)
    assert ranking_loss("list_net", pred, true, sublist=20) == list_net(pred, true)
    with pytest.raises(UsageError, match="ranking objective: loss must be one of list_mle, list_net, .*, got 'hinge'"):
        ranking_loss("hinge", pred, true)
