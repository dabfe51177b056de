"""The layers of MAE and the ranker against torch's and timm's own."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import Block as TimmBlock
from torch import nn

from ltrp_bench.selectors.vit.layers import (
    Attention,
    Block,
    Mlp,
    PatchEmbed,
    init_vit,
    patchify,
    resample_positions,
    sincos_positions,
    take,
    unpatchify,
)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def test_patches_are_in_raster_order_and_back() -> None:
    images = torch.randn(2, 3, 8, 12)
    patches = patchify(images, 4)
    assert patches.shape == (2, 6, 48)
    assert torch.equal(patches[1, 4], images[1, :, 4:8, 4:8].permute(1, 2, 0).flatten())
    assert torch.equal(unpatchify(patches, (2, 3), 4), images)
    with pytest.raises(ValueError, match="an image of 8x12 pixels cannot be cut into patches of 5 pixels"):
        patchify(images, 5)


def test_patch_embedding_is_the_strided_convolution() -> None:
    embed, images = PatchEmbed(4, 10), torch.randn(2, 3, 8, 12)
    torch.testing.assert_close(embed(patchify(images, 4)), embed.proj(images).flatten(2).transpose(1, 2))


def test_a_block_is_timms() -> None:
    ours, theirs = Block(24, 3), TimmBlock(24, 3, qkv_bias=True, norm_layer=partial(nn.LayerNorm, eps=1e-6))
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 7, 24)
    torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours(x, first_query=3), theirs(x)[:, 3:])
    torch.testing.assert_close(ours.after_qkv(x, ours.qkv(x)), theirs(x))


def test_a_token_alone_attends_to_nothing() -> None:
    block, x = Block(24, 3), torch.randn(2, 7, 24)
    nn.init.normal_(block.attn.proj.bias)
    after = x + block.attn.proj(torch.zeros_like(x))
    torch.testing.assert_close(block.alone(x), after + block.mlp(block.norm2(after)))


def test_heads_must_divide_the_channels() -> None:
    with pytest.raises(ValueError, match="5 heads do not divide 24 channels"):
        Attention(24, 5)


def test_the_mlp_is_the_same_without_gradients() -> None:
    mlp, x = Mlp(6, 12), torch.randn(3, 6)
    with torch.no_grad():
        frozen = mlp(x)
    torch.testing.assert_close(frozen, mlp(x))
    torch.testing.assert_close(mlp(x), mlp.fc2(F.gelu(mlp.fc1(x))))


def test_rows_by_index() -> None:
    x, index = torch.randn(2, 5, 3), torch.tensor([[4, 0], [2, 2]])
    assert torch.equal(take(x, index), torch.stack([x[0, [4, 0]], x[1, [2, 2]]]))


def test_sine_cosine_positions_by_the_formula() -> None:
    table = sincos_positions(8, (2, 3))
    assert table.shape == (1, 7, 8) and torch.equal(table[0, 0], torch.zeros(8))
    row, column = 1, 2
    rates = (1.0, 10000**-0.5)
    expected = [f(column * r) for f in (math.sin, math.cos) for r in rates]
    expected += [f(row * r) for f in (math.sin, math.cos) for r in rates]
    torch.testing.assert_close(table[0, 1 + row * 3 + column], torch.tensor(expected))
    with pytest.raises(ValueError, match="a multiple of 4 channels, not 6"):
        sincos_positions(6, (2, 3))


def test_positions_at_another_grid() -> None:
    positions = torch.randn(1, 1 + 6, 4)
    assert resample_positions(positions, (2, 3), (2, 3)) is positions
    new = resample_positions(positions, (2, 3), (4, 5))
    plane = positions[:, 1:].unflatten(1, (2, 3)).permute(0, 3, 1, 2)
    expected = F.interpolate(plane, size=(4, 5), mode="bicubic").flatten(2).transpose(1, 2)
    assert torch.equal(new[:, :1], positions[:, :1])
    torch.testing.assert_close(new[:, 1:], expected)


def test_initialization() -> None:
    linear, embed = nn.Linear(50, 40), PatchEmbed(4, 64)
    init_vit(linear)
    init_vit(embed)
    assert (linear.bias == 0).all() and linear.weight.abs().max() <= math.sqrt(6 / 90)
    assert embed.proj.weight.abs().max() <= math.sqrt(6 / (64 + 48))
