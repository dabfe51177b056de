from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_vits import make_images, spread
from timm.models.vision_transformer import VisionTransformer
from towers import best, save_tower

from ltrp_bench.selectors.base import Selector
from ltrp_bench.selectors.contract import SelectorContract, WeightsContract
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.registry import create_selector
from ltrp_bench.selectors.vlm.siglip import SiglipSelector, pool_attention

SIZES: dict[str, Any] = {"img_size": 48, "patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 4, "num_classes": 0}


def tower() -> VisionTransformer:
    net = VisionTransformer(**SIZES, class_token=False, global_pool="map")
    spread(net)
    return net.eval()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("siglip") / "siglip.pth"
    torch.save({**tower().state_dict()}, file)
    return file


def test_attention_received_and_of_the_pooling_head_equal_the_reference(golden: Any, tmp_path: Path) -> None:
    meta, expected, fill = golden("siglip_b16")
    file = save_tower(tmp_path, meta, fill, "siglip")
    selectors = {
        "received_per_head_last_but_one": SiglipSelector(file),
        "received_per_head_last": SiglipSelector(file, block=-1),
        "pool_attention": SiglipSelector(file, rule="pool"),
    }
    images = fill.images(meta["batch"], meta["image_size"], meta["seed"] + meta["image_offset"])
    with torch.inference_mode():
        for name, selector in selectors.items():
            np.testing.assert_allclose(selector.attention(images), expected[name], rtol=1e-3, atol=1e-6, err_msg=name)
    selector = selectors["received_per_head_last_but_one"]
    assert str(selector.supervision) == "captions" and selector.input_size == (224, 224)
    assert list(selector.mean) == meta["normalisation"]["mean"] and list(selector.std) == meta["normalisation"]["std"]
    for k in (49, 98):
        wanted = expected[f"top_{k}"].tolist()
        assert [set(one) for one in best(selector, images, k)] == [set(one) for one in wanted]


def test_attention_of_the_probe_is_that_of_timms_pooling(weights: Path) -> None:
    selector = SiglipSelector(weights, heads=4, rule="pool")
    pool = selector.model.attn_pool
    x = torch.randn(2, 9, 32)
    values = pool.kv(x).unflatten(-1, (2, 4, 8))[:, :, 1]
    pooled = torch.einsum("bhn,bnhd->bhd", pool_attention(pool, x), values).flatten(1)
    out = pool.proj(pooled)
    torch.testing.assert_close(out + pool.mlp(pool.norm(out)), pool(x))


def test_every_method_of_towers_reads_a_vit_without_a_class_token(weights: Path) -> None:
    images = make_images(2) / 2  # of mean and std 0.5
    for name in ("clip", "siglip", "visionzip", "prumerge", "divprune"):
        selector = create_selector(name, weights, heads=4)
        assert str(selector.supervision) == "captions" and selector.scores(images).shape == (2, 6, 6)
    zipped = create_selector("visionzip", weights, heads=4)
    with pytest.raises(UsageError, match="defined for ViTs with a class token"):
        zipped.tokens(images)


def test_rules_are_checked(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="selector 'siglip': rule must be one of received, pool, got 'mean'"):
        SiglipSelector(weights, heads=4, rule="mean")  # type: ignore[arg-type]
    plain = VisionTransformer(**SIZES)
    torch.save(plain.state_dict(), tmp_path / "plain.pth")
    with pytest.raises(InputError, match="rule=pool reads a head with attention pooling"):
        SiglipSelector(tmp_path / "plain.pth", heads=4, label_set="self", rule="pool")


class TestContract(WeightsContract):
    build = SiglipSelector

    @pytest.fixture
    def selector(self, weights: Path) -> Selector:
        return SiglipSelector(weights, heads=4)


class TestPoolContract(SelectorContract):
    @pytest.fixture
    def selector(self, weights: Path) -> Selector:
        return SiglipSelector(weights, heads=4, rule="pool")
