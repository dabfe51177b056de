"""ViTs of every family of timm on a part of their patches: as timm drops them, and as its attention masks hide them."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import timm
import torch
from timm.layers import PatchDropoutWithIndices
from torch import Tensor, nn
from vit_families import FAMILIES, UNREAD, family, images

from ltrp_bench.selectors.vit.families import as_vit
from ltrp_bench.tasks.models.reduction import fill
from ltrp_bench.tasks.models.vit.loading import PlainViT, load_timm
from ltrp_bench.tasks.models.vit.token_dropping import forward_kept

ALL = [*FAMILIES, *UNREAD]


class Dropping(nn.Module):
    """timm's dropout of patches, random on the first call; notes the kept ones, and returns what the ViT's own does."""

    def __init__(self, prefix: int, with_indices: bool) -> None:
        super().__init__()
        self.drop, self.with_indices = PatchDropoutWithIndices(0.5, prefix).train(), with_indices
        self.kept = torch.empty(0)

    def forward(self, x: Tensor) -> Any:
        x, self.kept = self.drop(x)
        return (x, self.kept) if self.with_indices else x


@pytest.mark.parametrize("name", ALL)
@torch.no_grad()
def test_all_patches_are_timms_own_forward(name: str) -> None:
    net = family(name)
    every = torch.arange(9).expand(2, -1)
    expected = net(images())
    assert expected.shape == (2, 7)
    for kept in (None, every, every.flip(1)):
        torch.testing.assert_close(forward_kept(as_vit(net, name), images(), kept), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ALL)
@torch.no_grad()
def test_some_patches_are_timms_patch_dropout(name: str) -> None:
    net = cast(Any, family(name))
    own = net.patch_drop
    net.patch_drop = drop = Dropping(net.num_prefix_tokens, hasattr(net, "rope"))
    expected = net(images())
    net.patch_drop = own
    assert drop.kept.shape == (2, 4)
    got = forward_kept(net, images(), drop.kept)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(got, net(images()), atol=1e-2), "the dropped patches matter"


@pytest.mark.parametrize("name", ALL)
@torch.no_grad()
def test_dropped_patches_are_as_if_attention_was_masked(name: str) -> None:
    """The same patches for both images: masked tokens are left out of the pool by hand."""
    net = cast(Any, family(name))
    kept = torch.tensor([7, 0, 4])
    tokens = torch.cat([torch.arange(net.num_prefix_tokens), kept + net.num_prefix_tokens])
    visible = torch.zeros(net.num_prefix_tokens + 9, dtype=torch.bool)
    visible[tokens] = True
    features = net.forward_features(images(), attn_mask=visible.expand(len(visible), -1))
    expected = net.forward_head(features[:, tokens])
    got = forward_kept(net, images(), kept.expand(2, -1))
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", [*ALL, "swin_tiny_patch4_window7_224", "pvt_v2_b0", "cait_xxs24_224"])
@torch.no_grad()
def test_filled_patches_have_no_part(name: str) -> None:
    """Two images that differ in the dropped patches alone are one image."""
    side = 48 if name in ALL else 224
    net = family(name) if name in ALL else timm.create_model(name, num_classes=7).eval()
    rng = np.random.default_rng(0)
    keep = rng.random((side // 16, side // 16)) < 0.5
    mean = (124.0, 116.0, 104.0)
    first, second = rng.integers(0, 256, (2, side, side, 3))
    hidden = np.repeat(np.repeat(~keep, 16, 0), 16, 1)
    second[~hidden] = first[~hidden]
    inputs = [(fill(one, keep, 16, mean) - mean) / 58 for one in (first, second)]
    batch = torch.from_numpy(np.stack(inputs)).permute(0, 3, 1, 2).float()
    logits = net(batch)
    torch.testing.assert_close(logits[0], logits[1])
    whole = torch.from_numpy((first[None] - np.asarray(mean)) / 58).permute(0, 3, 1, 2).float()
    assert logits.isfinite().all() and not torch.allclose(logits[:1], net(whole))


@pytest.mark.parametrize("name", ["vit_tiny_patch16_dinov3_qkvb", "eva02_tiny_patch14_224"])
def test_models_of_eva_drop_patches_at_other_sizes_too(name: str) -> None:
    side = 32 if "16" in name else 28
    found = load_timm(None, name, random_weights=0, image_size=side, classes=3)
    assert isinstance(found, PlainViT) and found.grid == (2, 2) and found.classes == 3
    pixels = images(1, side, side)
    with torch.no_grad():
        torch.testing.assert_close(found.net(pixels), forward_kept(found.vit, pixels))


def test_other_families_only_take_whole_images() -> None:
    found = load_timm(None, "pvt_v2_b0", random_weights=0, classes=3)
    assert not isinstance(found, PlainViT)
