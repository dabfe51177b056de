"""What is read inside ViTs of every family equals what timm's own modules compute."""

from __future__ import annotations

from typing import Any, cast

import pytest
import timm
import torch
from timm.layers import set_fused_attn
from torch import Tensor, nn
from vit_families import FAMILIES, OTHERS, UNREAD, family, images

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.vit.families import as_vit, attention_module, is_vit
from ltrp_bench.selectors.vit.reading import ViTReader


@pytest.fixture
def unfused() -> Any:
    """timm computes its attention in steps, which hooks can see."""
    set_fused_attn(False)
    yield
    set_fused_attn(True)


def own_attention(net: nn.Module, pixels: Tensor) -> list[Tensor]:
    """[B, heads, N, N] of each block, as timm computes it."""
    seen: list[Tensor] = []
    for block in cast(Any, net).blocks:
        attention_module(block).attn_drop.register_forward_hook(lambda _, inputs, out: seen.append(inputs[0]))
    net(pixels)
    return list(seen)


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_attention_is_timms_own(name: str, unfused: None) -> None:
    net = family(name)
    reader, seen = ViTReader(as_vit(net, name)), own_attention(net, images())
    assert reader.depth == len(seen) == 3
    for number, expected in enumerate(seen):
        torch.testing.assert_close(reader.attention(images(), number), expected, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(reader.attention(images(), -2, [0, 3]), seen[1][:, :, [0, 3]], atol=1e-6, rtol=1e-4)
    if reader.class_token is None:
        with pytest.raises(InputError, match="no class token"):
            reader.class_attention(images())
    else:
        expected = seen[2][:, :, 0, -9:]
        torch.testing.assert_close(reader.class_attention(images()), expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_other_sizes_are_read_as_timms_dynamic_models_do(name: str, unfused: None) -> None:
    net, dynamic = family(name), family(name, dynamic_img_size=True)
    pixels = images(2, 32, 80)
    seen = own_attention(dynamic, pixels)
    read = ViTReader(as_vit(net, name))
    torch.testing.assert_close(read.attention(pixels), seen[-1], atol=1e-6, rtol=1e-4)
    whole = cast(Any, dynamic).forward_features(pixels)
    torch.testing.assert_close(read.features(pixels, normalized=True), whole, atol=1e-5, rtol=1e-4)
    assert read.tokens(pixels).grid == (2, 5) and seen[-1].shape[-1] == read.prefix + 10


@pytest.mark.parametrize("name", [*FAMILIES, *UNREAD])
@torch.no_grad()
def test_features_are_those_of_timm(name: str) -> None:
    net = family(name)
    read = ViTReader(as_vit(net, name))
    torch.testing.assert_close(read.features(images(), normalized=True), cast(Any, net).forward_features(images()))
    _, inner = cast(Any, net).forward_intermediates(images(), output_fmt="NLC")
    for number, expected in enumerate(inner):
        torch.testing.assert_close(read.features(images(), number)[:, read.prefix :], expected)


@torch.no_grad()
def test_keys_are_those_whose_product_with_the_queries_is_the_attention() -> None:
    read = ViTReader(as_vit(family("dinov3"), "dinov3"))
    tokens = read.tokens(images())
    q, k, v = read.qkv(tokens, 2, read.input_of(tokens, 2))
    torch.testing.assert_close(k, read.keys(images()))
    assert q.shape == k.shape == v.shape == (2, 3, 14, 16)
    expected = (q @ k.transpose(2, 3) / 4).softmax(-1)
    torch.testing.assert_close(read.attention(images()), expected)
    # Rotations keep lengths: only prefix keys are as the linear layer made them.
    attn = cast(Any, read.model.blocks[2]).attn
    plain = attn.qkv(cast(Any, read.model.blocks[2]).norm1(read.input_of(tokens, 2))).chunk(3, -1)[1]
    plain = plain.unflatten(-1, (3, 16)).transpose(1, 2)
    assert torch.allclose(plain[:, :, :5], k[:, :, :5], atol=1e-5)
    assert not torch.allclose(plain[:, :, 6:], k[:, :, 6:], atol=1e-2)
    torch.testing.assert_close(plain.norm(dim=-1), k.norm(dim=-1), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", UNREAD)
def test_blocks_without_one_attention_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"blocks of timm's \w+( with DiffAttention)?, whose attention is not read"):
        ViTReader(as_vit(family(name), name)).attention(images())


@pytest.mark.parametrize(("name", "why"), OTHERS.items())
def test_other_models_are_refused_in_words(name: str, why: str) -> None:
    with torch.device("meta"):
        net = timm.create_model(name)
    assert not is_vit(net)
    with pytest.raises(UsageError, match=f"timm's {name} is a .*, not a plain vision transformer: .*{why}"):
        as_vit(net, name)
