"""DINOv2: the reference's attention at three sizes, with and without registers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from ltrp_bench.selectors.attention.class_attention import DinoV2Selector
from ltrp_bench.selectors.base import Selector
from ltrp_bench.selectors.contract import SelectorContract, WeightsContract
from ltrp_bench.selectors.errors import InputError, UsageError

SIZES: dict[str, Any] = {"img_size": 70, "patch_size": 14, "embed_dim": 48, "depth": 3, "num_heads": 3}


def official(registers: int = 0, classes: int = 0) -> dict[str, Tensor]:
    """A small DINOv2 under its own names."""
    torch.manual_seed(0)
    net = VisionTransformer(**SIZES, num_classes=classes, init_values=1e-5)
    state = {key: torch.randn_like(value) * 0.3 for key, value in net.state_dict().items()}
    more = {"register_tokens": torch.randn(1, registers, 48)} if registers else {}
    return {**state, **more, "mask_token": torch.zeros(1, 48)}


@pytest.fixture(scope="module", params=[0, 4], ids=["plain", "registers"])
def weights(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("dinov2") / "dinov2_vits14_pretrain.pth"
    torch.save(official(request.param), file)
    return file


@pytest.mark.parametrize("name", ["dinov2", "dinov2_reg4"])
def test_attention_equals_the_reference_at_three_sizes(golden: Any, tmp_path: Path, name: str) -> None:
    meta, expected, fill = golden(name)
    file = tmp_path / f"{meta['hub_name'].replace('_reg', '')}_pretrain.pth"
    torch.save(fill.state_dict(meta["shapes"], meta["seed"]), file)
    selector = DinoV2Selector(file)
    assert selector.input_size == (224, 224) and selector.patch_size == 14 and str(selector.supervision) == "self"
    assert selector.assumptions == () and list(selector.mean) == meta["normalisation"]["mean"]
    seed = meta["seed"]
    inputs = {
        "224": fill.images(4, 224, seed),
        "336x252": fill.images(2, 336, seed + 1)[..., :252],
        "518": fill.images(1, 518, seed + 2),
    }
    with torch.inference_mode():
        for size, images in inputs.items():
            attention = selector.attention(images)
            np.testing.assert_allclose(attention, expected[f"attention_{size}"], rtol=1e-3, atol=1e-6, err_msg=size)
        rows = selector.reader.attention(inputs["224"], -1, slice(0, 1))[:, :, 0]
        np.testing.assert_allclose(rows[..., : 1 + meta["register_tokens"]], expected["attention_extra_224"], rtol=1e-4)
        normed = selector.reader.features(inputs["224"], normalized=True)
        np.testing.assert_allclose(normed[:, 0], expected["x_norm_clstoken_224"], atol=1e-3)


def test_the_size_of_the_images_is_an_option(weights: Path) -> None:
    images = torch.rand(1, 3, 70, 42)
    assert DinoV2Selector(weights, heads=3, image_size=70).input_size == (70, 70)
    assert DinoV2Selector(weights, heads=3, any_size=True).scores(images).shape == (1, 5, 3)
    with pytest.raises(InputError, match="scores images of 224x224, got 70x42"):
        DinoV2Selector(weights, heads=3).scores(images)
    for size in (0, 100):
        with pytest.raises(UsageError, match=f"selector 'dinov2': image_size={size} is no multiple of patches of 14"):
            DinoV2Selector(weights, heads=3, image_size=size)


def test_a_classifier_and_other_heads_are_refused_and_rules_are_those_of_dino(weights: Path, tmp_path: Path) -> None:
    torch.save(official(classes=10), tmp_path / "w.pth")
    with pytest.raises(InputError, match="selector 'dinov2' needs weights trained without"):
        DinoV2Selector(tmp_path / "w.pth", heads=3)
    images = torch.rand(2, 3, 70, 70)
    each = [DinoV2Selector(weights, heads=3, image_size=70, rule="head", head=i).scores(images) for i in range(3)]
    mean = DinoV2Selector(weights, heads=3, image_size=70).scores(images)
    torch.testing.assert_close(torch.stack(each).mean(0), mean)


class TestContract(WeightsContract):
    build = DinoV2Selector

    @pytest.fixture
    def selector(self, weights: Path) -> Selector:
        return DinoV2Selector(weights, heads=3, image_size=70)


class TestAnySizeContract(SelectorContract):
    size = (56, 98)

    @pytest.fixture
    def selector(self, weights: Path) -> Selector:
        return DinoV2Selector(weights, heads=3, any_size=True, rule="mass")
