"""The training objective of the ranker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from small_maes import small_cross_mae, small_mae, small_ranker

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.ltrp.cross_density import cross_density
from ltrp_bench.selectors.ltrp.cross_mae import CrossMAE
from ltrp_bench.selectors.ltrp.mae import MAE, complement, random_visible
from ltrp_bench.selectors.ltrp.objective import RankingObjective, renormalize
from ltrp_bench.selectors.ltrp.positions import Sampling, spread_positions
from ltrp_bench.selectors.ltrp.ranker import Ranker


@pytest.mark.parametrize(
    ("teacher", "options"),
    [
        (small_mae, {}),
        (small_mae, {"asymmetric": False}),
        (small_mae, {"visits": 1}),
        (small_mae, {"sublist": None}),
        (small_mae, {"loss": "rank_net"}),
        (small_mae, {"distance": "l2", "hide": "encoder_decoder"}),
        (small_cross_mae, {}),
        (small_cross_mae, {"sampling": Sampling(positions=5)}),
        (small_cross_mae, {"sampling": Sampling(positions=0.5), "distance": "l2", "hide": "encoder_decoder"}),
        (small_cross_mae, {"sampling": Sampling(positions=3), "visits": 1}),
        (small_cross_mae, {"sampling": Sampling(positions=9, samples=2)}),
    ],
)
def test_objective_teaches_the_ranker_alone(teacher: Callable[[], MAE | CrossMAE], options: dict[str, Any]) -> None:
    mae, ranker, images = teacher(), small_ranker(), torch.randn(3, 3, 48, 48)
    objective = RankingObjective(mae, ranker, mask_ratio=0.8, **options)
    assert objective.state_dict().keys() == {f"ranker.{key}" for key in ranker.state_dict()}
    losses = [objective(images, torch.Generator().manual_seed(s)) for s in (0, 0, 1)]
    assert losses[0] == losses[1] and losses[0] != losses[2] and torch.isfinite(losses[0])
    losses[0].backward()
    for name, parameter in ranker.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    assert all(p.grad is None and not p.requires_grad for p in mae.parameters())


def test_objective_is_learnt() -> None:
    mae, ranker = small_mae(), small_ranker()
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


def test_sampled_positions_are_masked_and_follow_the_generator() -> None:
    mae, images = small_cross_mae(), torch.randn(3, 3, 48, 48)
    objective = RankingObjective(mae, small_ranker(), mask_ratio=0.8, sampling=Sampling(positions=9, samples=2))
    visible, scores = objective.pseudo_scores(images, torch.Generator().manual_seed(3))
    draw = torch.Generator().manual_seed(3)
    expected = random_visible(3, 36, 7, draw)
    places, starts = torch.rand(2, 3, generator=draw)
    positions = spread_positions(complement(expected, 36), 9, (6, 6), places)
    assert torch.equal(visible, expected)
    assert torch.equal(scores, cross_density(mae, images, visible, positions, samples=2, starts=starts))
    # All positions: nothing more is drawn than with a MAE.
    everywhere = RankingObjective(mae, small_ranker(), mask_ratio=0.8)
    draw = torch.Generator().manual_seed(3)
    visible, scores = everywhere.pseudo_scores(images, draw)
    assert torch.equal(scores, cross_density(mae, images, visible, complement(visible, 36)))
    other = torch.Generator().manual_seed(3)
    RankingObjective(small_mae(), small_ranker(), mask_ratio=0.8).pseudo_scores(images, other)
    assert torch.equal(draw.get_state(), other.get_state())


def test_objective_moves_its_teacher_but_does_not_own_it() -> None:
    mae, ranker = small_mae(), small_ranker()
    RankingObjective(mae, ranker).double()
    assert mae.cls_token.dtype == ranker.cls_token.dtype == torch.float64


def test_normalisations_may_differ() -> None:
    ranker, mae = small_ranker(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)), small_mae()
    pixels = torch.rand(2, 3, 48, 48)
    expected = (pixels - torch.tensor(mae.mean).view(3, 1, 1)) / torch.tensor(mae.std).view(3, 1, 1)
    torch.testing.assert_close(renormalize(pixels * 2 - 1, ranker, mae), expected)


def test_objective_refuses_what_does_not_fit() -> None:
    with pytest.raises(UsageError, match="the MAE cuts images or their tiles into"):
        RankingObjective(small_mae(), Ranker(48, 16, 24, 2, 2))
    with pytest.raises(UsageError, match="loss must be one of .*, got 'hinge'"):
        RankingObjective(small_mae(), small_ranker(), loss="hinge")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="distance must be one of .*, got 'l3'"):
        RankingObjective(small_mae(), small_ranker(), distance="l3")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="positions and samples are for a CrossMAE"):
        RankingObjective(small_mae(), small_ranker(), sampling=Sampling(positions=5))
    with pytest.raises(UsageError, match="from 1 to the 29 masked patches or a share .* not 30"):
        RankingObjective(small_cross_mae(), small_ranker(), mask_ratio=0.8, sampling=Sampling(positions=30))
    with pytest.raises(UsageError, match="samples need a patch hidden in the decoder"):
        RankingObjective(small_cross_mae(), small_ranker(), hide="encoder_decoder", sampling=Sampling(samples=3))
    with pytest.raises(UsageError, match="'ssim' needs whole reconstructions"):
        RankingObjective(small_cross_mae(), small_ranker(), distance="ssim")
