from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_vits import make_images, save_vit, small_vit

from ltrp_bench.selectors.base import Selector
from ltrp_bench.selectors.contract import SelectorContract, WeightsContract
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.pruning.evit import EViT
from ltrp_bench.selectors.pruning.staged_topk import TopKSelector, TopKViT

Golden = Callable[[str], tuple[dict[str, Any], dict[str, np.ndarray], Any]]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_vit(tmp_path_factory.mktemp("weights") / "vit.safetensors", small_vit())


def test_golden_through_the_official_wrapping(golden: Golden, tmp_path: Path) -> None:
    meta, expected, fill = golden("topk")
    state = fill.state_dict(meta["shapes"], meta["seed"])
    moving = {key: value + 1 for key, value in state.items()}
    rest = {"optimizer": {"state": {}}, "lr_scheduler": {"last_epoch": 29}, "epoch": 29, "scaler": {}}
    torch.save({"model": state, "model_ema": moving, **rest}, tmp_path / "topk.pth")
    images = fill.images(meta["batch"], meta["image_size"], meta["seed"])
    for rate in meta["keep_rate"]:
        selector = TopKSelector(tmp_path / "topk.pth", keep_rate=rate)
        assert selector.net.stages == tuple(meta["reduction_loc"]) and str(selector.supervision) == "imagenet1k"
        with torch.inference_mode():
            logits, stages = selector.net.trace(images)
        np.testing.assert_allclose(logits.numpy(), expected[f"logits_{rate}"], atol=1e-4, rtol=0)
        assert [stage.kept.shape[1] for stage in stages] == meta["kept_counts"][str(rate)]
        for i, stage in enumerate(stages):
            assert torch.equal(stage.kept, torch.from_numpy(expected[f"patches_{rate}_{i}"]).long())
            np.testing.assert_allclose(stage.scores.numpy(), expected[f"score_{rate}_{i}"], atol=1e-6, rtol=0)


def test_counts_are_shares_of_all_patches() -> None:
    stages = TopKViT(small_vit(), (1, 2, 3), 0.7).eval().prune(make_images())
    assert [stage.kept.shape[1] for stage in stages] == [25, 17, 12]  # int(0.7^i * 36)
    assert [s.kept.shape[1] for s in TopKViT(small_vit(), (1, 2, 3), 0.1).eval().prune(make_images())] == [3, 1, 1]


def test_keeping_all_is_the_plain_vit() -> None:
    vit = small_vit().eval()
    torch.testing.assert_close(TopKViT(vit, (1, 2, 3), 1.0).eval()(make_images()), vit(make_images()))


def test_the_first_stage_is_evits_without_the_fused_token() -> None:
    vit = small_vit().eval()
    topk, evit = TopKViT(vit, (2,), 0.5).eval(), EViT(vit, (2,), 0.5, fuse=False).eval()
    assert torch.equal(topk(make_images()), evit(make_images()))
    assert torch.equal(topk.prune(make_images())[0].kept, evit.prune(make_images())[0].kept)


def test_the_ranking_keeps_what_the_stages_kept(weights: Path) -> None:
    selector = TopKSelector(weights)
    scores = selector.scores(make_images()).flatten(1)
    with torch.inference_mode():
        stages = selector.net.prune(make_images())
    for stage in stages:
        for row, kept in enumerate(stage.kept.tolist()):
            assert scores[row].topk(len(kept)).indices.sort().values.tolist() == sorted(kept)


def test_options(weights: Path) -> None:
    net = TopKSelector(weights).net
    assert (net.stages, net.keep_rate) == ((1, 2, 3), 0.7)
    assert TopKSelector(weights, target_keep_ratio=0.25, stages=(1, 3)).net.keep_rate == 0.5
    with pytest.raises(UsageError, match="not both"):
        TopKSelector(weights, keep_rate=0.7, target_keep_ratio=0.25)
    with pytest.raises(UsageError, match="keep_rate"):
        TopKSelector(weights, keep_rate=0)
    with pytest.raises(UsageError, match="rising block numbers from 0 to 3"):
        TopKSelector(weights, stages=(3, 6, 9))


class TestTopKContract(WeightsContract):
    build = TopKSelector

    @pytest.fixture
    def selector(self, weights: Path) -> Selector:
        return TopKSelector(weights)


class TestBundledContract(SelectorContract):
    @pytest.fixture
    def selector(self) -> Selector:
        return TopKSelector("vit.shapes0", target_keep_ratio=0.1)
