from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from small_vits import make_images, save_vit, small_vit
from towers import best, save_tower

from ltrp_bench.selectors.base import Selector
from ltrp_bench.selectors.contract import WeightsContract
from ltrp_bench.selectors.vlm.divprune import DivPruneSelector, max_min_order


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_vit(tmp_path_factory.mktemp("weights") / "vit.safetensors", small_vit())


def test_patches_are_taken_in_the_order_of_the_reference(golden: Any, tmp_path: Path) -> None:
    meta, expected, fill = golden("clip_b16")
    selector = DivPruneSelector(save_tower(tmp_path, meta, fill))
    images = fill.images(meta["batch"], meta["image_size"], meta["seed"] + meta["image_offset"])
    for ratio in ("0.098", "0.25"):
        wanted = expected[f"divprune_{ratio}"]
        assert best(selector, images, wanted.shape[1]) == wanted.tolist()


def test_order_by_hand() -> None:
    angle = torch.tensor([0.0, 10.0, 25.0, 100.0, 60.0]).deg2rad()
    features = torch.stack([angle.cos(), angle.sin()], -1) * torch.tensor([1.0, 7, 2, 0.5, 3])[:, None]
    # 100 is 40 from its nearest; then 0 is 100 away, 60 is 40 (from 100), 25 is 25 (from 0), 10 is 10.
    assert max_min_order(features[None]).tolist() == [[3, 0, 4, 2, 1]]


def test_each_step_has_the_largest_distance_to_the_nearest_taken() -> None:
    features = torch.randn(2, 30, 6, generator=torch.Generator().manual_seed(0))
    for image, order in zip(features, max_min_order(features).tolist(), strict=True):
        assert sorted(order) == list(range(30))
        distance = 1 - torch.cosine_similarity(image[:, None], image[None], dim=-1)
        for step in range(1, 30):
            gaps = {i: float(distance[i, order[:step]].min()) for i in set(range(30)) - set(order[:step])}
            assert gaps[order[step]] == pytest.approx(max(gaps.values()), abs=1e-6)
        closest = {i: min(float(distance[i, j]) for j in range(30) if j != i) for i in range(30)}
        assert closest[order[0]] == pytest.approx(max(closest.values()), abs=1e-6)


def test_equal_patches_are_taken_once_each() -> None:
    assert max_min_order(torch.ones(2, 5, 3)).tolist() == [[0, 1, 2, 3, 4]] * 2
    assert max_min_order(torch.zeros(1, 3, 4)).tolist() == [[0, 1, 2]]
    assert max_min_order(torch.ones(1, 1, 3)).tolist() == [[0]]


def test_features_are_the_output_of_the_block(weights: Path) -> None:
    selector = DivPruneSelector(weights, block=1)
    caught: list[torch.Tensor] = []
    selector.model.blocks[1].register_forward_hook(lambda _module, _inputs, output: caught.append(output))
    selector.model.forward_features(make_images(1))
    order = max_min_order(caught[0][:, 1:])[0].tolist()
    scores = selector.scores(make_images(1)).flatten()
    assert all(scores[one] > scores[other] for one, other in itertools.pairwise(order))


class TestContract(WeightsContract):
    build = DivPruneSelector

    @pytest.fixture
    def selector(self, weights: Path) -> Selector:
        return DivPruneSelector(weights)
