"""Attention rollout: the contract, and equality with the paper's formula written out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_vits import noise_vit
from torch import Tensor

from ltrp_bench.selectors.attention.attention_rollout import AttentionRolloutSelector
from ltrp_bench.selectors.base import Selector, Supervision
from ltrp_bench.selectors.contract import WeightsContract, example_images
from ltrp_bench.selectors.errors import UsageError


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise_vit(tmp_path_factory.mktemp("vit") / "vit.safetensors", depth=3)


def attention_by_hand(selector: AttentionRolloutSelector, images: Tensor) -> list[np.ndarray]:
    """[heads, N, N] softmaxed attention of every block for the first image, from hooks on what timm computes."""
    found: list[np.ndarray] = []
    dim, heads = 32, 4

    def read(module: Any, args: Any, out: Tensor) -> None:
        q, k, _ = out[0].double().split(dim, dim=-1)
        logits = [q[:, h : h + 8] @ k[:, h : h + 8].T / 8**0.5 for h in range(0, dim, dim // heads)]
        weights = torch.stack(logits).exp()
        found.append((weights / weights.sum(-1, keepdim=True)).numpy())

    handles = [block.attn.qkv.register_forward_hook(read) for block in selector.model.blocks]
    with torch.inference_mode():
        selector.model(images[:1])
    for handle in handles:
        handle.remove()
    return found


def rollout_by_hand(maps: list[np.ndarray], fusion: str, discard: float) -> np.ndarray:
    out = np.eye(maps[0].shape[-1])
    for heads in maps:
        a = getattr(heads, fusion)(axis=0)
        for place in np.argsort(a, axis=None)[: int(discard * a.size)]:
            row, column = divmod(int(place), a.shape[1])
            if column != 0:
                a[row, column] = 0.0
        mixed = 0.5 * a + 0.5 * np.eye(len(a))
        out = (mixed / mixed.sum(axis=1, keepdims=True)) @ out
    return out[0, 1:].reshape(6, 6)


class TestAttentionRollout(WeightsContract):
    build = AttentionRolloutSelector

    @pytest.fixture
    def selector(self, weights: Path) -> Selector:
        return AttentionRolloutSelector(weights)

    def test_labels_are_the_weights(self, selector: Selector) -> None:
        assert selector.supervision == Supervision.labels("shapes-seen0")

    def test_with_the_mean_of_heads_rows_sum_to_one(self, selector: AttentionRolloutSelector) -> None:
        scores = selector.scores(self.probe(selector).batch(range(5)))
        assert (scores > 0).all() and (scores.sum((1, 2)) < 1).all()


@pytest.mark.parametrize("discard", [0.0, 0.6])
@pytest.mark.parametrize("fusion", ["mean", "min", "max"])
def test_equals_the_product_written_out(weights: Path, fusion: Any, discard: float) -> None:
    selector = AttentionRolloutSelector(weights, fusion=fusion, discard_ratio=discard)
    images = (example_images(2, (48, 48)) - 0.45) / 0.25
    expected = rollout_by_hand(attention_by_hand(selector, images), fusion, discard)
    np.testing.assert_allclose(selector.scores(images)[0].numpy(), expected, rtol=2e-4, atol=1e-7)


@pytest.mark.parametrize("options", [{"fusion": "sum"}, {"discard_ratio": 1.0}, {"discard_ratio": -0.1}])
def test_options_that_cannot_be_are_one_line(weights: Path, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        AttentionRolloutSelector(weights, **options)


def test_the_genuine_vit_tiny_brings_its_normalisation(shared_dir: Path) -> None:
    file = shared_dir / "data" / "weights" / "vit_tiny_patch16_224.augreg_in21k_ft_in1k.pt"
    selector = AttentionRolloutSelector(file)
    assert selector.mean == selector.std == (0.5, 0.5, 0.5)
    scores = selector.scores(example_images(1, (224, 224)) * 2 - 1)
    assert scores.shape == (1, 14, 14) and float(scores.std()) > 0
