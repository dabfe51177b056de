"""Patches really dropped: all kept is timm's own forward; some kept is what attention masks make of the whole."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.selectors.vit.backbones import build_vit
from ltrp_bench.selectors.vit.embedding import embeds_patches_alone, grid_of, patch_sides, position_embeddings
from ltrp_bench.tasks.models.vit.token_dropping import features_kept, forward_kept, missing_tokens, scatter_tokens

SMALL: dict[str, Any] = {
    "img_size": 48,
    "patch_size": 8,
    "embed_dim": 32,
    "depth": 3,
    "num_heads": 4,
    "num_classes": 10,
}
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "registers": {"reg_tokens": 4},
    "registers-apart": {"reg_tokens": 4, "no_embed_class": True},
    "class-apart": {"no_embed_class": True, "init_values": 0.5},
    "average": {"global_pool": "avg"},
    "average-with-norm": {"global_pool": "avg", "fc_norm": False},
    "no-class-token": {"global_pool": "avg", "class_token": False},
    "map": {"global_pool": "map", "class_token": False},
    "clip-like": {"pre_norm": True, "norm_layer": torch.nn.LayerNorm},
    "no-positions": {"pos_embed": "none"},
    "normed-patches": {"embed_norm_layer": torch.nn.LayerNorm},
    "patch-14": {"img_size": 56, "patch_size": 14},
    "patch-16": {"img_size": 64, "patch_size": 16},
    "patch-32": {"img_size": 96, "patch_size": 32},
    "oblong": {"img_size": (32, 56)},
    "oblong-patches": {"img_size": (32, 64), "patch_size": (8, 16)},
}


def random_(vit: torch.nn.Module, seed: int = 0) -> Any:
    """Weights of unit gain, so that every token matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in vit.named_parameters():
            gain = 1.5 / value[0].numel() ** 0.5 if value.ndim == 2 or ("proj" in name and value.ndim > 1) else 0.3
            noise = torch.randn(value.shape, generator=generator)
            value.copy_(noise * gain if "norm" not in name or name.endswith("bias") else 1 + noise * 0.1)
    return vit.eval()


def vit_of(kind: str) -> VisionTransformer:
    return random_(VisionTransformer(**{**SMALL, **KINDS[kind]}))


def make_images(vit: Any, batch: int = 3, size: tuple[int, int] | None = None) -> Tensor:
    height, width = size or vit.patch_embed.img_size
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(1))


def some(batch: int, patches: int, kept: int, seed: int = 2) -> Tensor:
    """[batch, kept] another choice for each image, in raster order."""
    noise = torch.rand(batch, patches, generator=torch.Generator().manual_seed(seed))
    return noise.argsort(1)[:, :kept].sort(1).values


def by_masks(vit: Any, images: Tensor, indices: Tensor) -> Tensor:
    """Logits of the whole sequence whose dropped patches no token may attend to; pooling over what is kept."""
    out = []
    for image, kept in zip(images, indices, strict=True):
        x = vit.norm_pre(vit._pos_embed(vit.patch_embed(image[None])))
        prefix = vit.num_prefix_tokens
        seen = torch.zeros(x.shape[1], dtype=torch.bool)
        seen[:prefix] = True
        seen[kept + prefix] = True
        mask = torch.zeros(1, 1, 1, x.shape[1]).masked_fill(~seen, float("-inf"))
        for block in vit.blocks:
            x = block(x, attn_mask=mask.expand(1, 1, x.shape[1], -1))
        out.append(vit.forward_head(vit.norm(x)[:, seen]))
    return torch.cat(out)


def same(ours: Tensor, reference: Tensor) -> None:
    assert float(reference.std(0).min()) > 1e-3, "images that all look alike prove nothing"
    torch.testing.assert_close(ours, reference, atol=1e-5, rtol=1e-5)
    assert torch.equal(ours.argsort(1), reference.argsort(1))


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_all_patches_are_timms_own_forward(kind: str) -> None:
    vit = vit_of(kind)
    images = make_images(vit)
    gh, gw = grid_of(vit, *images.shape[2:])
    same(forward_kept(vit, images, torch.arange(gh * gw).expand(3, -1)), vit(images))
    same(forward_kept(vit, images), vit(images))
    torch.testing.assert_close(features_kept(vit, images), vit.forward_features(images), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75, 0])
@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_some_patches_are_what_attention_masks_leave(kind: str, share: float) -> None:
    vit = vit_of(kind)
    images = make_images(vit)
    patches = vit.patch_embed.num_patches
    indices = some(3, patches, max(1, round(share * patches)))
    same(forward_kept(vit, images, indices), by_masks(vit, images, indices))


@torch.no_grad()
def test_pooling_is_over_the_kept_patches() -> None:
    vit = vit_of("average")
    images, indices = make_images(vit), some(3, 36, 9)
    tokens = features_kept(vit, images, indices)
    assert tokens.shape == (3, 1 + 9, 32)
    torch.testing.assert_close(forward_kept(vit, images, indices), vit.head(vit.fc_norm(tokens[:, 1:].mean(1))))


@pytest.mark.parametrize("kind", ["plain", "registers-apart", "no-class-token"])
@pytest.mark.parametrize("size", [(48, 48), (32, 72), (64, 40)])
@torch.no_grad()
def test_dynamic_sizes(kind: str, size: tuple[int, int]) -> None:
    fixed = vit_of(kind)
    vit = VisionTransformer(**{**SMALL, **KINDS[kind]}, dynamic_img_size=True).eval()
    vit.load_state_dict(fixed.state_dict())
    images = make_images(vit, size=size)
    assert grid_of(vit, *size) == (size[0] // 8, size[1] // 8)
    same(forward_kept(vit, images), vit(images))
    # A model that was not built for it does the same: the weights are.
    same(forward_kept(fixed, images), vit(images))
    indices = some(3, size[0] * size[1] // 64, 11)
    reference = by_masks(vit, images, indices)
    same(forward_kept(vit, images, indices), reference)


@torch.no_grad()
def test_padding_of_odd_sizes() -> None:
    vit = VisionTransformer(**SMALL, dynamic_img_size=True, dynamic_img_pad=True)
    random_(vit)
    images = make_images(vit, size=(45, 51))
    assert grid_of(vit, 45, 51) == (6, 7)
    same(forward_kept(vit, images), vit(images))
    with pytest.raises(InputError, match=r"45x51 pixels cannot be cut into patches of 8x8"):
        forward_kept(vit_of("plain"), images)


@torch.no_grad()
def test_two_prefix_tokens_of_a_distilled_deit() -> None:
    vit = random_(timm.create_model("deit_tiny_distilled_patch16_224", img_size=64, depth=2, embed_dim=48, num_heads=3))
    images, indices = make_images(vit), some(3, 16, 6)
    same(forward_kept(vit, images), vit(images))
    same(forward_kept(vit, images, indices), by_masks(vit, images, indices))


@torch.no_grad()
def test_dropped_pixels_are_never_seen_with_any_stem() -> None:
    """Also behind a stem that looks beyond a patch: there dropped patches are zero before it."""
    conv = build_vit(
        {"image_size": 48, "patch_size": 8, "embed_dim": 32, "depth": 2, "heads": 4, "classes": 10, "stem": "conv"}
    )
    hybrid = timm.create_model("vit_tiny_r_s16_p8_224", img_size=64, depth=2, num_classes=10)
    for vit, alone in ((vit_of("plain"), True), (random_(conv), False), (random_(hybrid), False)):
        assert embeds_patches_alone(vit) is alone
        images = make_images(vit)
        gh, gw = grid_of(vit, *images.shape[2:])
        side = patch_sides(vit)[0]
        torch.testing.assert_close(forward_kept(vit, images), vit(images), atol=1e-5, rtol=1e-5)
        every = torch.arange(gh * gw).expand(3, -1)
        torch.testing.assert_close(forward_kept(vit, images, every), vit(images), atol=1e-5, rtol=1e-5)
        indices = some(3, gh * gw, gh * gw // 2)
        kept = torch.zeros(3, gh * gw).scatter(1, indices, 1.0).view(3, 1, gh, gw)
        other = torch.where(kept.repeat_interleave(side, 2).repeat_interleave(side, 3) > 0, images, -images + 3)
        assert torch.equal(forward_kept(vit, images, indices), forward_kept(vit, other, indices))
        assert not torch.allclose(forward_kept(vit, images), forward_kept(vit, other))


def test_gradients_flow_and_checkpointing_changes_nothing() -> None:
    vit = vit_of("registers").requires_grad_(True)
    images, indices = make_images(vit), some(3, 36, 9)
    forward_kept(vit, images, indices).square().sum().backward()
    plain = {name: p.grad.clone() for name, p in vit.named_parameters() if p.grad is not None}
    assert plain.keys() == dict(vit.named_parameters()).keys()
    vit.zero_grad()
    vit.set_grad_checkpointing()
    forward_kept(vit, images, indices).square().sum().backward()
    for name, p in vit.named_parameters():
        torch.testing.assert_close(p.grad, plain[name], msg=name)


def test_scattering_back() -> None:
    tokens = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    indices = torch.tensor([[0, 4, 5], [1, 2, 3]])
    zero = scatter_tokens(tokens, indices, (2, 3))
    assert zero.shape == (2, 5, 2, 3)
    assert torch.equal(zero[0, :, 1, 1], tokens[0, 1]) and torch.equal(zero[1, :, 1, 0], tokens[1, 2])
    assert not zero[0, :, 0, 1:].any() and not zero[0, :, 1, 0].any() and not zero[1, :, 0, 0].any()
    mask = torch.full((5,), 7.0, requires_grad=True)
    filled = scatter_tokens(tokens, indices, (2, 3), mask)
    assert (filled[0, :, 0, 1] == 7).all() and torch.equal(filled[0, :, 1, 1], tokens[0, 1])
    filled.sum().backward()
    assert mask.grad is not None and mask.grad.tolist() == [6.0] * 5  # three places in each of two images
    assert tokens.grad is not None and (tokens.grad == 1).all()
    places = torch.arange(30.0).view(6, 5)
    assert torch.equal(scatter_tokens(tokens, indices, (2, 3), places)[0, :, 0, 2], places[2])
    with pytest.raises(InputError, match="leave out prefix tokens"):
        scatter_tokens(tokens, indices[:, :2], (2, 3))
    with pytest.raises(InputError, match=r"fill must be \[5\] or \[6, 5\], got \[4\]"):
        scatter_tokens(tokens, indices, (2, 3), torch.zeros(4))


def test_position_embeddings_of_the_grid() -> None:
    vit = vit_of("plain")
    grid = tuple(vit.patch_embed.grid_size)
    prefix, positions = position_embeddings(vit, grid)
    assert torch.equal(torch.cat([prefix, positions], 1), vit.pos_embed)
    prefix, positions = position_embeddings(vit, (2, 5))
    assert prefix.shape[1] == vit.num_prefix_tokens and positions.shape == (1, 10, vit.embed_dim)
    apart = vit_of("registers-apart")
    assert position_embeddings(apart, tuple(apart.patch_embed.grid_size))[0].shape[1] == 0


def test_missing_tokens_are_the_mask_token_at_each_place() -> None:
    vit = vit_of("plain")
    token = torch.arange(float(vit.embed_dim))
    assert missing_tokens(vit, None, (2, 2)) is None
    grid = tuple(vit.patch_embed.grid_size)
    found = missing_tokens(vit, token, grid)
    assert found is not None and torch.equal(found, token + vit.pos_embed[0, vit.num_prefix_tokens :])
    vit.pos_embed = None
    assert missing_tokens(vit, token, grid) is token


def test_wrong_shapes_are_named() -> None:
    vit = vit_of("plain")
    images = make_images(vit)
    with pytest.raises(InputError, match=r"indices must be \[3, k\]"):
        forward_kept(vit, images, torch.arange(5))
    with pytest.raises(InputError, match=r"indices must be \[3, k\] with k > 0, got \[3, 0\]"):
        forward_kept(vit, images, torch.zeros(3, 0, dtype=torch.long))
    with pytest.raises(InputError, match=r"images must be \[B, 3, H, W\]"):
        forward_kept(vit, images[0])
