from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_vits import make_images, save_vit, small_vit

from ltrp_bench.selectors.base import Selector
from ltrp_bench.selectors.contract import WeightsContract
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.merging.diffrate import DiffRateSelector, compress
from ltrp_bench.selectors.merging.diffrate_rates import RATES, Rates, learned_for, resampled
from ltrp_bench.selectors.vit.backbones import build_vit

Golden = Callable[[str], tuple[dict[str, Any], dict[str, np.ndarray], Any]]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_vit(tmp_path_factory.mktemp("weights") / "vit.safetensors", small_vit())


def test_golden_through_the_official_wrapping(golden: Golden, tmp_path: Path) -> None:
    meta, expected, fill = golden("diffrate")
    torch.save({"model": fill.state_dict(meta["shapes"], meta["seed"])}, tmp_path / "deit.pth")
    selector = DiffRateSelector(tmp_path / "deit.pth")
    assert selector.rates == Rates(tuple(meta["prune_kept_num"]), tuple(meta["merge_kept_num"]))
    assert str(selector.supervision) == "imagenet1k" and not any("DiffRate" in line for line in selector.assumptions)
    images = fill.images(meta["batch"], meta["image_size"], meta["seed"] + meta["image_offset"])
    with torch.inference_mode():
        found = compress(selector.net, images, selector.rates)
        logits = selector.net.forward_head(selector.net.norm(found.tokens))
    np.testing.assert_allclose(logits.numpy(), expected["logits"], atol=1e-4, rtol=0)
    np.testing.assert_allclose(found.size.numpy(), expected["size_last"], atol=1e-5, rtol=0)
    for block, (stage, groups) in enumerate(zip(found.stages, found.groups, strict=True)):
        np.testing.assert_array_equal(groups.numpy(), expected[f"group_{block}"])
        if f"score_{block}" in expected:
            np.testing.assert_allclose(stage.scores.numpy(), expected[f"score_{block}"], atol=1e-6, rtol=0)


def test_one_block_by_hand() -> None:
    vit, images = small_vit(depth=1).eval(), make_images(1)
    with torch.no_grad():
        found = compress(vit, images, Rates((30,), (28,)))
        x = vit._pos_embed(vit.patch_embed(images))
        q, k, v = vit.blocks[0].attn.qkv(vit.blocks[0].norm1(x)).reshape(37, 3, 4, 8).permute(1, 2, 0, 3)
        attention = (q @ k.transpose(1, 2) / 8**0.5).softmax(-1)
        x = (x + vit.blocks[0].attn.proj((attention @ v).transpose(0, 1).flatten(1)))[0]
        order = [0, *sorted(range(1, 37), key=lambda i: -float(attention[:, 0, i].mean()))]
        kept, merged = order[:28], order[28:30]
        parts = {i: [i] for i in kept}
        size = dict.fromkeys(kept, 1.0)
        for i in merged:
            alike = {j: float(torch.cosine_similarity(x[i], x[j], dim=0)) for j in kept[1:]}
            target = max(alike, key=lambda j: alike[j])
            parts[target].append(i)
            size[target] += alike[target]
        rows = torch.stack([x[parts[i]].mean(0) for i in kept])
        rows = rows + vit.blocks[0].mlp(vit.blocks[0].norm2(rows))
    torch.testing.assert_close(found.tokens[0], rows, atol=1e-4, rtol=1e-4)
    assert found.size[0].tolist() == pytest.approx([size[i] for i in kept], abs=1e-5)
    places = [next((n for n, i in enumerate(kept) if token in parts[i]), -1) for token in range(37)]
    assert found.groups[0][0].tolist() == places
    assert found.stages[0].kept[0].tolist() == [i - 1 for i in kept[1:]]


def test_opposite_tokens_leave_a_size_that_has_a_logarithm() -> None:
    # One patch stays, so all others are merged into it, however unlike they are: in one image its size falls to -1.
    vit, images = small_vit(depth=2).eval(), -3 * make_images()
    with torch.no_grad():
        found = compress(vit, images, Rates((37, 37), (2, 2)))
    assert found.tokens.shape == (4, 2, 32) and torch.isfinite(found.tokens).all()
    assert (found.size > 0).all()


def test_the_ranking_keeps_what_each_block_keeps(weights: Path) -> None:
    selector = DiffRateSelector(weights)
    scores = selector.scores(make_images()).flatten(1)
    with torch.inference_mode():
        stages = compress(selector.net, make_images(), selector.rates).stages
    for stage in stages:
        best = scores.topk(stage.kept.shape[1]).indices
        assert torch.equal(best.sort().values, stage.kept.sort().values)


def test_rates_of_the_published_models() -> None:
    assert len(RATES) == 28
    for name, rates in RATES.items():
        depth, patches = {"l": (24, 196), "h": (32, 256)}.get(name.split("-")[1], (12, 196))
        assert len(rates.pruned_to) == len(rates.merged_to) == depth
        # No rates are changed for the model that they were learned for.
        assert resampled(rates, depth, patches) == rates
    assert RATES["mae-h-103.4"].pruned_to[-3:] == (96, 82, 53)


@pytest.mark.parametrize(
    ("width", "heads", "pooled", "name"),
    [
        (192, 3, False, "deit-t-0.8"),
        (768, 12, False, "deit-b-11.5"),
        (768, 12, True, "mae-b-11.5"),
        (64, 2, False, None),
    ],
)
def test_the_model_is_told_by_its_sizes_and_pooling(width: int, heads: int, pooled: bool, name: str | None) -> None:
    config = {"image_size": 224, "patch_size": 16, "embed_dim": width, "depth": 12, "heads": heads, "fc_norm": pooled}
    with torch.device("meta"):
        assert learned_for(build_vit(config)) == name


def test_interpolation_by_hand() -> None:
    # Blocks 0 and 1 of 2 reach as far as blocks 1 and 3 of 4; 9 tokens instead of 101.
    rates = Rates((101, 80, 40, 20), (101, 50, 30, 1))
    assert resampled(rates, 2, 9) == Rates((8, 2), (5, 2))
    assert resampled(rates, 8, 100).pruned_to == (101, 101, 90, 80, 60, 40, 30, 20)


def test_what_was_not_learned_is_said(weights: Path) -> None:
    selector = DiffRateSelector(weights)
    assert (
        selector.assumptions[-1]
        == "DiffRate has no rates for a ViT of this size; took those of deit-s-2.9, interpolated"
    )
    assert selector.rates.merged_to == tuple(round(n / 197 * 37) if n > 3 else 2 for n in (176, 133, 88, 3))
    given = DiffRateSelector(weights, rates="deit-s-2.3")
    assert given.rates != selector.rates and not any("DiffRate" in line for line in given.assumptions)
    exact = DiffRateSelector(weights, pruned_to=[37, 30, 20, 10], merged_to=[37, 25, 15, 5])
    assert exact.rates == Rates((37, 30, 20, 10), (37, 25, 15, 5))


def test_bad_options(weights: Path) -> None:
    for options, message in (
        ({"rates": "deit-s-9"}, "unknown rates 'deit-s-9'; known: deit-t-0.6"),
        ({"pruned_to": [3, 3, 3, 3]}, "give both"),
        ({"pruned_to": [3], "merged_to": [3]}, "1 numbers for 4 blocks"),
        ({"pruned_to": [9, 9, 9, 9], "merged_to": [9, 9, 9, 1]}, "merged_to must be a whole number from 2"),
        ({"rates": "deit-s-2.9", "pruned_to": [9] * 4, "merged_to": [9] * 4}, "not both"),
    ):
        with pytest.raises(UsageError, match=message):
            DiffRateSelector(weights, **options)  # type: ignore[arg-type]


class TestDiffRateContract(WeightsContract):
    build = DiffRateSelector

    @pytest.fixture
    def selector(self, weights: Path) -> Selector:
        return DiffRateSelector(weights)
