"""Tokens-to-token: the performer's formula written out, and one token per 16x16 pixels."""

from __future__ import annotations

import torch

from ltrp_bench.selectors.vit.tokens_to_token import SPLITS, TokenPerformer, TokensToToken


def test_performer_attention_by_the_formula() -> None:
    torch.manual_seed(0)
    layer = TokenPerformer(12, 8, 4).eval()
    x = torch.randn(2, 5, 12)
    with torch.no_grad():
        got = layer(x)
        k, q, v = layer.kqv(layer.norm1(x)).chunk(3, dim=-1)
        for image in range(2):
            for i in range(5):

                def feature(vector: torch.Tensor) -> torch.Tensor:
                    return torch.exp(layer.w @ vector - vector @ vector / 2) / 2  # 2 is the root of 4 features

                weights = torch.stack([feature(q[image, i]) @ feature(k[image, j]) for j in range(5)])
                gathered = (weights[:, None] * v[image]).sum(0) / (weights.sum() + 1e-8)
                y = v[image, i] + layer.proj(gathered)
                torch.testing.assert_close(got[image, i], y + layer.mlp(layer.norm2(y)), rtol=1e-4, atol=1e-5)


def test_the_directions_are_orthogonal_and_not_trained() -> None:
    layer = TokenPerformer(12, 8, 4)
    torch.testing.assert_close(layer.w @ layer.w.T, 4 * torch.eye(4), rtol=1e-4, atol=1e-5)
    assert not layer.w.requires_grad


def test_one_token_per_sixteen_pixels_in_raster_order() -> None:
    torch.manual_seed(0)
    module = TokensToToken(20, 8, 4).eval()
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        out = module(images)
        assert out.shape == (1, 4 * 6, 20)
        # The splits overlap, but the last one reaches no farther than the neighbouring tokens.
        changed = images.clone()
        changed[..., :8, :8] += 1
        plain = torch.nn.functional.unfold(images, SPLITS[0][0], padding=SPLITS[0][2], stride=SPLITS[0][1])
        assert plain.shape[-1] == 16 * 24
        assert not torch.equal(module(changed)[0, 0], out[0, 0])
