from __future__ import annotations

import pytest
import torch

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.vit.pruning_stages import (
    Stage,
    check_rate,
    check_stages,
    level_scores,
    quarter_stages,
    staged_scores,
)


def test_by_stage_first_and_by_the_score_of_the_stage_that_dropped() -> None:
    first = Stage(torch.tensor([[0, 1, 2, 3, 4]]), torch.tensor([[0.9, 0.1, 0.5, 0.2, 0.6]]), torch.tensor([[0, 4, 2]]))
    second = Stage(torch.tensor([[0, 4, 2]]), torch.tensor([[0.1, 0.3, 0.2]]), torch.tensor([[4, 2]]))
    scores = staged_scores([first, second], 5)
    assert scores[0].argsort(descending=True).tolist() == [4, 2, 0, 3, 1]
    assert scores.dtype == torch.float32


def test_a_fused_token_is_no_patch() -> None:
    first = Stage(torch.tensor([[0, 1, 2]]), torch.tensor([[0.1, 0.3, 0.2]]), torch.tensor([[1, 2, -1]]))
    # The fused token is the best of the second stage; patch 0, which no code may mistake it for, stays last.
    second = Stage(torch.tensor([[1, 2, -1]]), torch.tensor([[0.2, 0.1, 0.9]]), torch.tensor([[-1, 1, -1]]))
    scores = staged_scores([first, second], 3)[0]
    assert scores.argsort(descending=True).tolist() == [1, 2, 0]
    assert scores.tolist() == [0.0, 2.0, 1.0]


def test_images_of_a_batch_do_not_touch_each_other() -> None:
    generator = torch.Generator().manual_seed(0)
    stages, entered = [], torch.arange(20).expand(6, -1)
    for keep in (13, 8, 3):
        scores = torch.rand(entered.shape, generator=generator)
        kept = entered.gather(1, scores.argsort(dim=1, descending=True)[:, :keep])
        stages.append(Stage(entered, scores, kept))
        entered = kept
    whole = staged_scores(stages, 20)
    for row in range(6):
        part = slice(row, row + 1)
        alone = staged_scores([Stage(s.entered[part], s.scores[part], s.kept[part]) for s in stages], 20)
        assert torch.equal(alone[0], whole[row])
        for stage in stages:
            best = whole[row].topk(stage.kept.shape[1]).indices
            assert set(best.tolist()) == set(stage.kept[row].tolist())


def test_equal_scores_stay_equal_and_tiny_differences_apart() -> None:
    levels = torch.tensor([[3, 3, 3, 0, 0]])
    scores = level_scores(levels, torch.tensor([[1e-6, 2e-6, 2e-6, 7.0, 7.0]]))[0]
    assert scores[0] < scores[1] == scores[2] and scores[3] == scores[4] == 0.0


def test_places_to_prune_at() -> None:
    assert quarter_stages(12) == (3, 6, 9) and quarter_stages(4) == (1, 2, 3) and quarter_stages(24) == (6, 12, 18)
    with pytest.raises(UsageError, match="give stages="):
        quarter_stages(3)
    assert check_stages([0, 2], 4) == (0, 2)
    for wrong in ([], [2, 1], [1, 1], [1, 4], [-1], [1.0], ["1"], [True]):
        with pytest.raises(UsageError, match="rising block numbers from 0 to 3"):
            check_stages(wrong, 4)


def test_rates() -> None:
    assert check_rate("keep_rate", 1) == 1.0
    for wrong in (0, -0.1, 1.01, "ratio", True, float("nan")):
        with pytest.raises(UsageError, match=r"keep_rate must be in \(0, 1\]"):
            check_rate("keep_rate", wrong)  # type: ignore[arg-type]
