from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_vits import make_images, save_vit, small_vit
from towers import best, save_tower

from ltrp_bench.selectors.base import Selector
from ltrp_bench.selectors.contract import WeightsContract
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.vlm.visionzip import VisionZipSelector, compress_tokens


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_vit(tmp_path_factory.mktemp("weights") / "vit.safetensors", small_vit())


def test_scores_dominant_patches_and_tokens_equal_the_reference(golden: Any, tmp_path: Path) -> None:
    meta, expected, fill = golden("clip_b16")
    selector = VisionZipSelector(save_tower(tmp_path, meta, fill))
    assert str(selector.supervision) == "captions" and selector.input_size == (224, 224)
    assert selector.mean == pytest.approx(meta["normalisation"]["mean"])
    images = fill.images(meta["batch"], meta["image_size"], meta["seed"] + meta["image_offset"])
    with torch.inference_mode():
        np.testing.assert_allclose(selector.patch_scores(images), expected["score_sum"], rtol=1e-4, atol=1e-6)
        for dominant, contextual in ((20, 5), (53, 10), (98, 16)):
            assert best(selector, images, dominant) == expected[f"dominant_{dominant}"].tolist()
            tokens = selector.tokens(images, dominant + 1, contextual)
            np.testing.assert_allclose(tokens[..., ::12], expected[f"tokens_{dominant}_{contextual}"], atol=1e-4)


def test_tokens_by_hand() -> None:
    # Patches 2 and 0 are dominant; of patches 1, 3, 4, 5 every second is a target: 1 and 4.
    tokens = torch.tensor([9.0, 0, 10, 20, 30, 40, 50]).reshape(1, 7, 1)
    angle = torch.tensor([0.0, 0, 0, 80, 90, 70]).deg2rad()
    keys = torch.stack([angle.cos(), angle.sin()], -1)[None] * torch.tensor([1.0, 5, 1, 2, 1, 3]).reshape(1, 6, 1)
    scores = torch.tensor([[0.3, 0.1, 0.5, 0.0, 0.2, 0.1]])
    got = compress_tokens(tokens, keys, scores, 3, 2)
    assert got.flatten().tolist() == [9, 0, 20, 10, 40 + (30 + 50) / 2]
    # One token alone is dominant: the class token.
    assert compress_tokens(tokens, keys, scores, 1, 6).flatten().tolist() == [9, 0, 10, 20, 30, 40, 50]


def test_scores_are_the_sum_of_the_heads_in_the_block(weights: Path) -> None:
    last = VisionZipSelector(weights, block=-1)
    assert last.block == 3 and VisionZipSelector(weights).block == 2
    block = last.model.blocks[3]
    caught: list[torch.Tensor] = []
    block.register_forward_pre_hook(lambda _, x: caught.append(x[0]))
    last.model.forward_features(make_images())
    q, k = block.attn.qkv(block.norm1(caught[0])).unflatten(-1, (3, 4, 8)).unbind(2)[:2]
    rows = (torch.einsum("bhd,bnhd->bhn", q[:, 0], k) / 8**0.5).softmax(-1)
    torch.testing.assert_close(last.scores(make_images()).flatten(1), rows.sum(1)[:, 1:])


def test_numbers_of_tokens_are_checked(weights: Path) -> None:
    selector = VisionZipSelector(weights)
    assert selector.tokens(make_images(2), 30, 7).shape == (2, 37, 32)
    for dominant, contextual in ((0, 1), (3, 0), (31, 7)):
        with pytest.raises(UsageError, match=f"dominant={dominant} and contextual={contextual} of 36 patches"):
            selector.tokens(make_images(), dominant, contextual)


class TestContract(WeightsContract):
    build = VisionZipSelector

    @pytest.fixture
    def selector(self, weights: Path) -> Selector:
        return VisionZipSelector(weights)
