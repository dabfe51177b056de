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
from ltrp_bench.selectors.pruning.ats import ATSSelector, ATSViT, inverse_transform_sample

Golden = Callable[[str], tuple[dict[str, Any], dict[str, np.ndarray], Any]]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_vit(tmp_path_factory.mktemp("weights") / "vit.safetensors", small_vit())


def test_golden_one_image_at_a_time(golden: Golden, tmp_path: Path) -> None:
    meta, expected, fill = golden("ats")
    torch.save({"model": fill.state_dict(meta["shapes"], meta["seed"])}, tmp_path / "deit_small.pth")
    selector = ATSSelector(tmp_path / "deit_small.pth")
    assert selector.net.stages == tuple(meta["ats_blocks"]) and str(selector.supervision) == "imagenet1k"
    images = fill.images(meta["batch"], meta["image_size"], meta["seed"] + meta["image_offset"])
    for row, image in enumerate(images.split(1)):
        with torch.inference_mode():
            logits, stages = selector.net.trace(image)
        np.testing.assert_allclose(logits[0].numpy(), expected["logits"][row], atol=1e-4, rtol=0)
        for i, stage in enumerate(stages):
            kept = expected[f"kept_{i}"][row]
            assert sorted(stage.kept[0].tolist()) == sorted(kept[kept >= 0].tolist())
            scores = torch.full((196,), -1.0)
            scores[stage.entered[0]] = stage.scores[0]
            np.testing.assert_allclose(scores.numpy(), expected[f"score_{i}"][row], atol=1e-7, rtol=1e-4)


def test_sampling_by_hand() -> None:
    # Rising: .05 (place 2), .1 (0), .25 (3), .6 (1); summed and scaled to [0, 1]: 0, .105, .368, 1.
    scores = torch.tensor([0.1, 0.6, 0.05, 0.25])
    assert inverse_transform_sample(scores, 4).tolist() == [0, 3, 1]  # at .105, .404, .702 (nearest 1), 1
    assert inverse_transform_sample(scores, 2).tolist() == [0, 1]
    assert inverse_transform_sample(scores, 1).tolist() == [0]
    # At 0, .01, .02, .03 and 1: the points .01, .34, .67 and 1 leave out one of the weak.
    assert inverse_transform_sample(torch.tensor([0.01, 0.01, 0.01, 0.01, 0.96]), 4).tolist() == [1, 3, 4]
    for alike in (torch.zeros(3), torch.ones(1)):
        assert inverse_transform_sample(alike, 3).tolist() == list(range(len(alike)))


def test_significance_by_hand() -> None:
    attention = torch.tensor([[[0.1, 0.3], [0.2, 0.1]]])  # two heads, two patches
    values = torch.tensor([[[[3.0], [0.0]], [[4.0], [2.0]]]])  # norms over both heads: 5 and 2
    net = ATSViT(small_vit(), (1,))
    torch.testing.assert_close(net.score(attention, values), torch.tensor([[1.5, 0.8]]) / 2.3)


def test_one_sampling_block_by_hand() -> None:
    vit = small_vit().eval()
    net = ATSViT(vit, (1,)).eval()
    images = make_images(1)
    with torch.no_grad():
        logits, (stage,) = net.trace(images)
        block = vit.blocks[1]
        x = vit.blocks[0](vit._pos_embed(vit.patch_embed(images)))
        full = x + block.attn(block.norm1(x))
        kept = torch.cat([full[:, :1], full[:, 1 + stage.kept[0]]], dim=1)
        kept = kept + block.mlp(block.norm2(kept))
        expected = vit.head(vit.norm(vit.blocks[3](vit.blocks[2](kept)))[:, 0])
    assert 1 < stage.kept.shape[1] < 36 and int(stage.scores.argmin()) not in stage.kept
    torch.testing.assert_close(logits, expected)
    with pytest.raises(ValueError, match="one at a time"):
        net.prune(make_images(2))


def test_the_ranking_keeps_what_the_stages_kept(weights: Path) -> None:
    selector = ATSSelector(weights)
    scores = selector.scores(make_images()).flatten(1)
    counts = set()
    for row, image in enumerate(make_images().split(1)):
        with torch.inference_mode():
            stages = selector.net.prune(image)
        for stage in stages:
            kept = stage.kept[0].tolist()
            assert scores[row].topk(len(kept)).indices.sort().values.tolist() == sorted(kept)
        counts.add(tuple(stage.kept.shape[1] for stage in stages))
    assert len(counts) > 1, "the number of patches must follow from the image"


def test_options(weights: Path) -> None:
    assert ATSSelector(weights).net.stages == (1, 2, 3)
    assert ATSSelector(weights, stages=(2,)).net.stages == (2,)
    with pytest.raises(UsageError, match="rising block numbers from 0 to 3"):
        ATSSelector(weights, stages=(4,))


class TestATSContract(WeightsContract):
    build = ATSSelector

    @pytest.fixture
    def selector(self, weights: Path) -> Selector:
        return ATSSelector(weights)


class TestBundledContract(SelectorContract):
    @pytest.fixture
    def selector(self) -> Selector:
        return ATSSelector("vit.shapes0")
