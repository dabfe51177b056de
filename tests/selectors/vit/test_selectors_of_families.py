"""Selectors read every family of timm: by attention, by features and by gradient, as timm's own modules compute."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from torch import Tensor
from vit_families import FAMILIES, UNREAD, family, images, selector_of

from ltrp_bench.selectors.attention.attention_rollout import AttentionRolloutSelector
from ltrp_bench.selectors.errors import InputError
from ltrp_bench.selectors.gradcam.selector import GradCAMSelector
from ltrp_bench.selectors.merging.dpc_knn import DPCKNNSelector
from ltrp_bench.selectors.patch_statistics import PatchNormSelector
from ltrp_bench.selectors.vit.families import as_vit
from ltrp_bench.selectors.vit.reading import ViTReader
from ltrp_bench.selectors.vlm.clip import ClipSelector

WITHOUT_CLASS_TOKEN = ("average-pooled", "siglip", "siglip-average", "aimv2", "no-class-token", "rope-registers")


@pytest.fixture
def pixels() -> Tensor:
    return images().clamp(-1, 1)


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_by_attention(name: str, pixels: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = ViTReader(as_vit(family(name), name))
    rows = reader.attention(pixels, 1)[:, :, 0:1] if reader.class_token == 0 else reader.attention(pixels, 1)
    first = 0 if reader.class_token == 0 else reader.prefix
    received = rows[:, :, first:, reader.prefix :].mean((1, 2))
    got = selector_of(monkeypatch, ClipSelector, name).scores(pixels).flatten(1)
    torch.testing.assert_close(got, received)
    if reader.class_token is None:
        assert name in WITHOUT_CLASS_TOKEN
        with pytest.raises(InputError, match="attention of a class token, which these weights do not have"):
            selector_of(monkeypatch, AttentionRolloutSelector, name)
        return
    assert name not in WITHOUT_CLASS_TOKEN
    selector = selector_of(monkeypatch, AttentionRolloutSelector, name)
    expected = torch.eye(reader.prefix + 9)
    for number in range(3):
        mixed = reader.attention(pixels, number).mean(1) / 2 + torch.eye(reader.prefix + 9) / 2
        expected = mixed @ expected
    got = selector.scores(pixels).flatten(1)
    torch.testing.assert_close(got, expected[:, 0, reader.prefix :], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("name", [*FAMILIES, *UNREAD])
@torch.no_grad()
def test_by_features(name: str, pixels: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    net = cast(Any, family(name))
    _, (last,) = net.forward_intermediates(pixels, 1, output_fmt="NLC")
    norms = selector_of(monkeypatch, PatchNormSelector, name).scores(pixels)
    torch.testing.assert_close(norms.flatten(1), last.norm(dim=-1))
    clustered = selector_of(monkeypatch, DPCKNNSelector, name)
    torch.testing.assert_close(clustered.features(pixels), torch.nn.functional.layer_norm(last, last.shape[-1:]))


@pytest.mark.parametrize("name", [*FAMILIES, "differential"])
def test_by_gradient(name: str, pixels: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    net = cast(Any, family(name))
    last = net.blocks[-1]
    seen: list[Tensor] = []

    def keep(_module: Any, _inputs: Any, output: Tensor) -> None:
        output.retain_grad()
        seen.append(output)

    (last.in_norm if hasattr(last, "in_norm") else last.norm1).register_forward_hook(keep)
    net(pixels).amax(1).sum().backward()
    assert seen[0].grad is not None
    channels = seen[0].grad[:, -9:].mean(1, keepdim=True)
    expected = (seen[0][:, -9:] * channels).sum(-1).detach()
    got = selector_of(monkeypatch, GradCAMSelector, name, relu=False).scores(pixels).flatten(1)
    torch.testing.assert_close(got, expected, atol=1e-5 * float(expected.abs().max()), rtol=1e-4)


def test_gradients_of_parallel_attentions_have_no_single_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="gradcam needs a last block with one first norm, these weights have Parallel"):
        selector_of(monkeypatch, GradCAMSelector, "parallel-things")
