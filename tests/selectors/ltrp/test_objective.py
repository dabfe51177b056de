"""The training objective of the ranker."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.ltrp.mae import MAE, MAEConfig
from ltrp_bench.selectors.ltrp.objective import RankingObjective, renormalize
from ltrp_bench.selectors.ltrp.ranker import Ranker


def tiny(**options: Any) -> Ranker:
    torch.manual_seed(0)
    return Ranker(48, 8, 24, 2, 2, **options)


def tiny_mae(**options: Any) -> MAE:
    torch.manual_seed(1)
    return MAE(
        MAEConfig(
            image_size=48,
            patch_size=8,
            embed_dim=24,
            depth=2,
            heads=2,
            decoder_dim=16,
            decoder_depth=2,
            decoder_heads=2,
            **options,
        )
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"asymmetric": False},
        {"visits": 1},
        {"sublist": None},
        {"loss": "rank_net"},
        {"distance": "l2", "hide": "encoder_decoder"},
    ],
)
def test_objective_teaches_the_ranker_alone(options: dict[str, Any]) -> None:
    mae, ranker, images = tiny_mae(), tiny(), torch.randn(3, 3, 48, 48)
    objective = RankingObjective(mae, ranker, mask_ratio=0.8, **options)
    assert objective.state_dict().keys() == {f"ranker.{key}" for key in ranker.state_dict()}
    losses = [objective(images, torch.Generator().manual_seed(s)) for s in (0, 0, 1)]
    assert losses[0] == losses[1] and losses[0] != losses[2] and torch.isfinite(losses[0])
    losses[0].backward()
    for name, parameter in ranker.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    assert all(p.grad is None and not p.requires_grad for p in mae.parameters())


def test_objective_is_learnt() -> None:
    mae, ranker = tiny_mae(), tiny()
    images = torch.randn(8, 3, 48, 48) * torch.rand(8, 1, 6, 6).repeat_interleave(8, 2).repeat_interleave(8, 3)
    objective = RankingObjective(mae, ranker, mask_ratio=0.6)
    optimiser = torch.optim.AdamW(ranker.parameters(), lr=3e-3)
    losses = []
    for step in range(30):
        optimiser.zero_grad()
        loss = objective(images, torch.Generator().manual_seed(step % 2))
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-2:]) < 0.9 * sum(losses[:2])


def test_objective_moves_its_teacher_but_does_not_own_it() -> None:
    mae, ranker = tiny_mae(), tiny()
    RankingObjective(mae, ranker).double()
    assert mae.cls_token.dtype == ranker.cls_token.dtype == torch.float64


def test_normalisations_may_differ() -> None:
    ranker, mae = tiny(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)), tiny_mae()
    pixels = torch.rand(2, 3, 48, 48)
    expected = (pixels - torch.tensor(mae.mean).view(3, 1, 1)) / torch.tensor(mae.std).view(3, 1, 1)
    torch.testing.assert_close(renormalize(pixels * 2 - 1, ranker, mae), expected)


def test_objective_refuses_what_does_not_fit() -> None:
    with pytest.raises(UsageError, match="the MAE cuts images into"):
        RankingObjective(tiny_mae(), Ranker(48, 16, 24, 2, 2))
    with pytest.raises(UsageError, match="loss must be one of .*, got 'hinge'"):
        RankingObjective(tiny_mae(), tiny(), loss="hinge")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="distance must be one of .*, got 'l3'"):
        RankingObjective(tiny_mae(), tiny(), distance="l3")  # type: ignore[arg-type]
