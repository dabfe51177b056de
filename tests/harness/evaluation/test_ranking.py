"""Rankings of patches: their prefixes are what `top_k` keeps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ltrp_bench.harness.evaluation.ranking import PatchRanking
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.topk import rank_patches, top_k


@pytest.mark.parametrize("levels", [1, 3, 1000])
@pytest.mark.parametrize(("image_id", "seed"), [("a", 0), ("000000000139", 7)])
def test_prefixes_are_the_selections_of_top_k(levels: int, image_id: str, seed: int) -> None:
    scores = np.random.default_rng(levels).integers(0, levels, (6, 9)).astype(np.float32)
    ranking, batch = PatchRanking.from_scores(scores, image_id, seed), torch.from_numpy(scores)[None]
    assert np.array_equal(ranking.order, rank_patches(batch, [image_id], seed)[0].numpy())
    for ratio in (0.001, 0.1, 0.25, 0.5, 0.77, 1.0):
        mask = ranking.mask(ratio)
        assert mask.dtype == np.bool_
        assert np.array_equal(mask, top_k(batch, ratio, [image_id], seed).mask()[0].numpy())


def test_ranks_are_the_inverse_of_the_order() -> None:
    ranking = PatchRanking.from_scores(np.array([[0.5, 3.0], [1.0, -2.0]], np.float32), "a", 0)
    assert ranking.order.tolist() == [1, 2, 0, 3]
    assert ranking.ranks().tolist() == [[2, 0], [1, 3]] and ranking.ranks().dtype == np.int32


def test_a_ratio_out_of_range_is_refused() -> None:
    ranking = PatchRanking.from_scores(np.zeros((2, 2), np.float32), "a", 0)
    with pytest.raises(UsageError, match="keep ratio must be in"):
        ranking.mask(0.0)
