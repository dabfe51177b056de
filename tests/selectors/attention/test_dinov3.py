"""DINOv3: timm's own attention at three sizes, with registers left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import timm
import torch
from small_vits import spread
from torch import Tensor, nn

from ltrp_bench.selectors.attention.dinov3 import DinoV3Selector
from ltrp_bench.selectors.base import Selector
from ltrp_bench.selectors.contract import SelectorContract, WeightsContract
from ltrp_bench.selectors.errors import InputError, UsageError

NAME = "vit_small_patch16_dinov3"


def built(**options: Any) -> nn.Module:
    net: nn.Module = timm.create_model(NAME, **options)
    spread(net)
    return net.eval()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("dinov3") / "dinov3.pth"
    torch.save(built().state_dict(), file)
    return file


def select(weights: Path, **options: Any) -> DinoV3Selector:
    return DinoV3Selector(weights, model=NAME, **{"image_size": 64, **options})


@pytest.mark.parametrize(("height", "width"), [(256, 256), (64, 64), (48, 112)])
@torch.no_grad()
def test_attention_is_the_softmax_of_timms_own_module(weights: Path, height: int, width: int) -> None:
    selector = select(weights, any_size=True)
    images = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0)).clamp(-2, 2)
    net = cast(Any, built(dynamic_img_size=True))
    seen: list[Tensor] = []
    net.blocks[-1].attn.fused_attn = False
    net.blocks[-1].attn.attn_drop.register_forward_hook(lambda _, inputs, output: seen.append(output))
    net(images)
    patches = height // 16 * (width // 16)
    assert seen[0].shape == (2, 6, 5 + patches, 5 + patches)
    expected = seen[0][:, :, 0, 5:]
    torch.testing.assert_close(selector.attention(images), expected, atol=1e-6, rtol=1e-3)
    scores = selector.scores(images)
    assert scores.shape == (2, height // 16, width // 16)
    torch.testing.assert_close(scores.flatten(1), expected.mean(1), atol=1e-6, rtol=1e-3)


def test_defaults(weights: Path) -> None:
    selector = DinoV3Selector(weights, model=NAME)
    assert selector.input_size == (256, 256) and selector.patch_size == 16 and str(selector.supervision) == "self"
    assert selector.mean == (0.485, 0.456, 0.406)
    with pytest.raises(UsageError, match="selector 'dinov3': image_size=100 is no multiple of patches of 16"):
        select(weights, image_size=100)


def test_other_weights_are_refused(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="missing"):
        DinoV3Selector(weights)
    torch.save(timm.create_model("vit_tiny_patch16_224", num_classes=0, depth=12).state_dict(), tmp_path / "plain.pth")
    with pytest.raises(InputError, match="selector 'dinov3' reads ViTs with rotary positions, which plain.pth has not"):
        DinoV3Selector(tmp_path / "plain.pth")
    state = {**built().state_dict(), "head.weight": torch.zeros(1000, 384), "head.bias": torch.zeros(1000)}
    torch.save(state, tmp_path / "labels.pth")
    with pytest.raises(InputError, match="trained with labels .a classifier of 1000 classes."):
        select(tmp_path / "labels.pth")


class TestContract(WeightsContract):
    @staticmethod
    def build(weights: Path) -> Selector:
        return select(weights)

    @pytest.fixture
    def selector(self, weights: Path) -> Selector:
        return select(weights)


class TestAnySizeContract(SelectorContract):
    size = (64, 112)

    @pytest.fixture
    def selector(self, weights: Path) -> Selector:
        return select(weights, any_size=True, rule="mass")
