"""Plain ViT segmentors: dropped patches leave no trace, and heads predict where their patches are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_segmentors import HEADS, small_segmentor

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.models.segmentors.plain_vit import head_config, on_grid
from ltrp_bench.tasks.models.vit.token_dropping import missing_tokens


@pytest.mark.parametrize("head", HEADS, ids=["linear", "mask-transformer"])
@pytest.mark.parametrize("stem", ["patch", "conv"])
def test_dropped_pixels_change_nothing(head: dict[str, Any], stem: str) -> None:
    net = small_segmentor(head=head, stem=stem)
    images = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    kept = torch.tensor([[0, 4, 5], [2, 3, 8]])
    other = images.clone()
    for image, indices in enumerate(kept.tolist()):
        for patch in set(range(9)) - set(indices):
            row, column = divmod(patch, 3)
            other[image, :, row * 16 : row * 16 + 16, column * 16 : column * 16 + 16] = 7.0
    logits = net(images, kept)
    assert logits.shape == (2, 5, 6, 6)
    assert torch.equal(logits, net(other, kept))
    torch.testing.assert_close(net(images[1:], kept[1:]), logits[1:], rtol=1e-4, atol=1e-5)
    everything = torch.arange(9).repeat(2, 1)
    torch.testing.assert_close(net(images, everything), net(images), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(logits, net(images))


def test_subpatches_are_in_place() -> None:
    # Patch (0, 1) of a 1 x 2 grid: its four subpatches are 4, 5 / 6, 7.
    logits = torch.arange(8.0).view(1, 2, 4, 1)
    assert on_grid(logits, (1, 2))[0, 0].tolist() == [[0, 1, 4, 5], [2, 3, 6, 7]]


def test_dropped_patches_get_the_mask_token_and_their_position() -> None:
    net = small_segmentor(head=HEADS[1])
    images, kept = torch.randn(1, 3, 48, 48), torch.tensor([[0]])
    places = net.encoder.pos_embed[0, 1:]
    torch.testing.assert_close(missing_tokens(net.encoder, net.mask_token, (3, 3)), net.mask_token + places)
    before = net(images, kept)
    net.mask_token.data += 1
    assert not torch.allclose(net(images, kept), before)
    torch.testing.assert_close(missing_tokens(net.encoder, net.mask_token, (3, 3))[4], net.mask_token + places[4])
    assert missing_tokens(net.encoder, net.mask_token, (2, 5)).shape == (10, 24)


def test_heads_of_files_without_metadata() -> None:
    state = small_segmentor(head={**HEADS[1], "cells": 1}).state_dict()
    assert head_config(state, "it") == {"head": "mask-transformer", "dim": 24, "depth": 1, "heads": 1, "cells": 1}
    assert head_config(small_segmentor(head={"head": "linear"}).state_dict(), "it") == {"head": "linear"}
    with pytest.raises(InputError, match="neither Segmenter's linear head"):
        head_config({}, "it")
