"""timm's block in parts: together they are the block."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from small_vits import CONFIG, make_images, small_vit
from vit_families import FAMILIES

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.selectors.merging.diffrate import DiffRateSelector
from ltrp_bench.selectors.merging.pitome import PiToMeSelector
from ltrp_bench.selectors.merging.tome import ToMeSelector
from ltrp_bench.selectors.pruning.ats import ATSSelector
from ltrp_bench.selectors.pruning.evit import EViTSelector
from ltrp_bench.selectors.pruning.staged_topk import TopKSelector
from ltrp_bench.selectors.vit.backbones import build_vit, qkv_of, tokens
from ltrp_bench.selectors.vit.blocks import attend, check_plain, close_attention, config_of, feed_forward, token_layout


def test_the_parts_make_the_block() -> None:
    vit = small_vit().eval()
    x = tokens(vit, make_images(2))
    block = vit.blocks[0]
    q, k, v = qkv_of(block.attn, block.norm1(x))
    with torch.no_grad():
        ours = feed_forward(block, close_attention(block, x, attend(q, k, v, block.attn)))
        torch.testing.assert_close(ours, block(x))


def test_a_bias_of_minus_infinity_hides_a_token() -> None:
    vit = small_vit().eval()
    block = vit.blocks[0]
    q, k, v = torch.randn(3, 2, 4, 6, 8, generator=torch.Generator().manual_seed(0))
    bias = torch.zeros(2, 1, 1, 6)
    bias[..., -1] = -torch.inf
    hidden = attend(q, k, v, block.attn, bias)
    torch.testing.assert_close(hidden, attend(q, k[:, :, :-1], v[:, :, :-1], block.attn))


def test_where_the_patches_are() -> None:
    prefix, patches = token_layout(small_vit(), 3, torch.device("cpu"))
    assert prefix == 1 and patches.shape == (3, 36) and patches[2].tolist() == list(range(36))


def test_other_blocks_are_refused() -> None:
    check_plain(small_vit(), "EViT")
    with pytest.raises(InputError, match="EViT needs timm's plain blocks, these weights have ParallelScalingBlock"):
        vit = timm.create_model("vit_tiny_patch16_224", depth=1)
        block = timm.models.vision_transformer.ParallelScalingBlock(192, 3)
        vit.blocks = torch.nn.Sequential(block)
        check_plain(vit, "EViT")
    bare = timm.create_model("vit_tiny_patch16_224", depth=1, class_token=False, global_pool="avg")
    with pytest.raises(InputError, match="EViT needs a ViT with a class token, which these weights do not have"):
        check_plain(bare, "EViT")
    check_plain(bare, "ToMe", class_token=False)


@pytest.fixture(scope="module", params=["eva02", "dinov3"])
def eva(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of one of timm's `Eva` models, at its full size."""
    model = FAMILIES[request.param][0]
    file = tmp_path_factory.mktemp("eva") / f"{model}.pth"
    torch.save(timm.create_model(model).state_dict(), file)
    return file


@pytest.mark.parametrize(
    "method", [ATSSelector, TopKSelector, EViTSelector, ToMeSelector, PiToMeSelector, DiffRateSelector]
)
def test_methods_inside_the_blocks_refuse_evas_blocks_in_one_line(method: Any, eva: Path) -> None:
    message = r"^\S+ needs timm's plain blocks, these weights have EvaBlock with \w*Attention\w*$"
    with pytest.raises(InputError, match=message):
        method(eva, model=f"timm:{eva.stem}", supervised=False)


def test_the_configuration_builds_the_same_vit() -> None:
    vit = small_vit()
    config = config_of(vit)
    assert {key: config[key] for key in CONFIG} == CONFIG and config["layer_norm_eps"] == 1e-6
    again = build_vit(config)
    again.load_state_dict(vit.state_dict())
    assert torch.equal(again.eval()(make_images(2)), vit.eval()(make_images(2)))
