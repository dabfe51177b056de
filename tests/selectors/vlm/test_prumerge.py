from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_vits import make_images, save_vit, small_vit
from towers import best, save_tower

from ltrp_bench.selectors.base import Selector
from ltrp_bench.selectors.contract import SelectorContract, WeightsContract
from ltrp_bench.selectors.vlm import prumerge
from ltrp_bench.selectors.vlm.prumerge import PruMergeSelector, kept_levels, merge_tokens, outlier_share


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_vit(tmp_path_factory.mktemp("weights") / "vit.safetensors", small_vit())


def test_attention_kept_patches_and_tokens_equal_the_reference(golden: Any, tmp_path: Path) -> None:
    meta, expected, fill = golden("clip_prumerge")
    file = save_tower(tmp_path, meta, fill)
    selector, plus = PruMergeSelector(file), PruMergeSelector(file, plus=True)
    assert str(selector.supervision) == "captions" and selector.input_size == (336, 336)
    images = fill.images(meta["batch"], meta["image_size"], meta["seed"] + meta["image_offset"])
    with torch.inference_mode():
        attention = selector.patch_scores(images)
        np.testing.assert_allclose(attention, expected["class_attention"], atol=1e-6)
        assert outlier_share(attention).tolist() == [meta["adaptive_ratio"]]
        for name in ("adaptive", "eighth"):
            wanted = expected[f"kept_{name}"]
            assert best(selector, images, wanted.shape[1]) == wanted.tolist()
        wanted = expected["kept_plus_adaptive"]
        assert [set(one) for one in best(plus, images, wanted.shape[1])] == [set(one) for one in wanted.tolist()]
        eighth = torch.full((1,), 1 / 8, dtype=torch.float64)
        assert kept_levels(attention, eighth, evenly=False).sum() == 2 * expected["kept_eighth"].shape[1]
        (tokens,) = selector.tokens(images)
        np.testing.assert_allclose(tokens[None], expected["tokens_adaptive"], atol=1e-3)
        # The order of the patches at even distances is ours: by attention, theirs by place.
        (tokens,), order = plus.tokens(images), best(plus, images, wanted.shape[1])[0]
        places = [order.index(patch) for patch in wanted[0].tolist()] + [len(order)]
        np.testing.assert_allclose(tokens[places], expected["tokens_plus_adaptive"][0], atol=1e-3)


def test_outliers_as_numpy_counts_them() -> None:
    attention = torch.rand(4, 144, generator=torch.Generator().manual_seed(0)) ** 6
    for values, got in zip(attention.numpy().astype(float), outlier_share(attention).tolist(), strict=True):
        first, third = np.percentile(values, [25, 75])
        assert got == np.mean(values > third + 1.5 * (third - first)) > 0
    assert outlier_share(torch.ones(1, 9)).tolist() == [0.0]


def test_patches_at_even_distances() -> None:
    attention = torch.arange(20.0)[None]
    share = torch.tensor([0.1], dtype=torch.float64)
    # Two outliers; 1 / 0.1 // 3 = 3, and the last patch of the grid is not among those at even distances.
    levels = kept_levels(attention, share, evenly=True)[0]
    assert (levels == 2).nonzero().flatten().tolist() == [18, 19]
    assert (levels == 1).nonzero().flatten().tolist() == [0, 3, 6, 9, 12, 15]
    assert kept_levels(attention, share, evenly=False).unique().tolist() == [0, 2]
    assert kept_levels(attention, share * 0, evenly=True).unique().tolist() == [0]
    assert kept_levels(attention, share * 4, evenly=True)[0].tolist() == [1] * 12 + [2] * 8


def test_merging_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens, attention = torch.tensor([[1.0], [2.0], [4.0], [8.0]]), torch.tensor([0.5, 0.25, 0.125, 0.5])
    angle = torch.tensor([0.0, 80.0, 20.0, 90.0]).deg2rad()
    keys = torch.stack([angle.cos(), angle.sin()], -1) * torch.tensor([1.0, 3.0, 2.0, 1.0])[:, None]
    kept, dropped = torch.tensor([1, 0]), 4 * 0.125 + 8 * 0.5
    assert merge_tokens(tokens, keys, attention, kept).flatten().tolist() == [2 + 5, 1 + 5, dropped]
    monkeypatch.setattr(prumerge, "NEIGHBORS", 1)  # patch 3 is the nearest to 1, patch 2 to 0
    assert merge_tokens(tokens, keys, attention, kept).flatten().tolist() == [2 + 4, 1 + 0.5, dropped]


def test_attention_of_whole_queries_and_keys(weights: Path) -> None:
    selector = PruMergeSelector(weights)
    block = selector.model.blocks[3]
    caught: list[torch.Tensor] = []
    block.register_forward_pre_hook(lambda _, x: caught.append(x[0]))
    selector.model.forward_features(make_images())
    q, k, _ = block.attn.qkv(block.norm1(caught[0])).chunk(3, dim=-1)
    expected = (q[:, :1] @ k.transpose(1, 2) / 32**0.5).softmax(-1)[:, 0, 1:]
    torch.testing.assert_close(selector.scores(make_images()).flatten(1), expected)
    tokens = selector.tokens(make_images())
    counts = (36 * outlier_share(expected)).long().tolist()
    assert [one.shape for one in tokens] == [(count + 1, 32) for count in counts]


class TestContract(WeightsContract):
    build = PruMergeSelector

    @pytest.fixture
    def selector(self, weights: Path) -> Selector:
        return PruMergeSelector(weights)


class TestPlusContract(SelectorContract):
    @pytest.fixture
    def selector(self, weights: Path) -> Selector:
        return PruMergeSelector(weights, plus=True)
