"""DynamicViT in training: masked attention, sampled decisions, and what it learns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from small_vits import make_images, small_vit, spread

from ltrp_bench.selectors.dynamicvit.losses import (
    dynamicvit_loss,
)
from ltrp_bench.selectors.dynamicvit.model import DynamicViT, gumbel_keep, masked_block


def small_net(**config: Any) -> DynamicViT:
    net = DynamicViT(small_vit(**config), (1, 2, 3), (0.7, 0.5, 0.3))
    spread(net.score_predictor, 1)
    return net


def test_masked_attention_is_attention_among_those_left() -> None:
    block, x = small_vit().blocks[1].eval(), torch.randn(2, 37, 32, generator=torch.Generator().manual_seed(0))
    left = torch.ones(2, 37)
    left[:, 20:] = 0
    with torch.no_grad():
        torch.testing.assert_close(masked_block(block, x, torch.ones(2, 37)), block(x), atol=1e-3, rtol=1e-3)
        masked, alone = masked_block(block, x, left), block(x[:, :20])
        torch.testing.assert_close(masked[:, :20], alone, atol=1e-3, rtol=1e-3)
        # A dropped token looks at those left and at itself; what other dropped tokens hold does not reach it.
        moved = x.clone()
        moved[:, 21:] += 1
        again = masked_block(block, moved, left)
        torch.testing.assert_close(again[:, :21], masked[:, :21], atol=1e-3, rtol=1e-3)


def test_training_with_the_inference_decisions_gives_the_inference_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    net = small_net().eval()
    with torch.no_grad():
        logits, stages = net.trace(make_images())
    hard = [torch.zeros(4, 36).scatter_(1, s.kept, 1.0).unsqueeze(-1) for s in stages]
    monkeypatch.setattr("ltrp_bench.selectors.dynamicvit.model.gumbel_keep", lambda *_: hard.pop(0))
    with torch.no_grad():
        out = net.training_forward(make_images())
    torch.testing.assert_close(out.logits, logits, atol=1e-3, rtol=1e-3)
    assert [int(d[0].sum()) for d in out.decisions] == [25, 18, 10]


def test_training_is_deterministic_by_its_generator() -> None:
    net = small_net()
    one, same, other = (net.training_forward(make_images(), torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert torch.equal(one.logits, same.logits)
    assert all(torch.equal(a, b) for a, b in zip(one.decisions, same.decisions, strict=True))
    assert not torch.equal(one.decisions[0], other.decisions[0])
    before = torch.get_rng_state()
    net.training_forward(make_images(), torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_decisions_are_zero_or_one_and_fall() -> None:
    out = small_net().training_forward(make_images(), torch.Generator().manual_seed(0))
    assert out.logits.shape == (4, 8) and out.tokens.shape == (4, 36, 32) and len(out.decisions) == 3
    before = torch.ones(4, 36)
    for kept in out.decisions:
        assert ((kept == 0) | (kept == 1)).all() and (kept <= before).all()
        before = kept


def test_gumbel_decisions_follow_the_probabilities() -> None:
    chances = torch.tensor([[0.9, 0.1], [0.3, 0.7]]).log().expand(20000, 2, 2)
    kept = gumbel_keep(chances, torch.Generator().manual_seed(0))
    assert kept.mean(0).flatten().tolist() == pytest.approx([0.9, 0.3], abs=0.02)


def test_a_predictor_left_without_tokens_stays_finite() -> None:
    predictor = small_net().score_predictor[0]
    assert torch.isfinite(predictor(torch.randn(1, 5, 32), torch.zeros(1, 5, 1))).all()


def test_it_learns_the_classes_and_the_shares() -> None:
    net = small_net()
    images, labels = make_images(8), torch.arange(8)
    optimizer = torch.optim.Adam(net.parameters(), 2e-3)
    generator = torch.Generator().manual_seed(0)
    losses = []
    for step in range(60):
        out = net.training_forward(images, generator)
        terms = dynamicvit_loss(out, labels, net.token_ratio)
        optimizer.zero_grad()
        sum(terms.values(), torch.zeros(())).backward()
        if step == 0:
            for name, parameter in net.named_parameters():
                assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
                assert parameter.grad.abs().sum() > 0, name
        optimizer.step()
        losses.append([terms["classes"].item(), terms["ratio"].item()])
    assert np.mean(losses[-5:], 0)[0] < 0.3 * losses[0][0]
    shares = [float(d.detach().mean()) for d in out.decisions]
    assert shares == pytest.approx([0.7, 0.5, 0.3], abs=0.15)
