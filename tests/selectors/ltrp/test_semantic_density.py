from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from small_maes import uneven_mae
from tensor_memory import PeakMemory
from torch import Tensor

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.ltrp.mae import MAE, MAEConfig, complement, default_memory_mb, random_visible
from ltrp_bench.selectors.ltrp.mae_checkpoints import mae_config_from_state
from ltrp_bench.selectors.ltrp.semantic_density import average_density, semantic_density


def golden_mae(golden: Callable, name: str) -> tuple[MAE, Tensor, dict[str, Any]]:
    meta, out, fill = golden(name)
    state = fill.state_dict(meta["shapes"], meta["seed"])
    mae = MAE(MAEConfig(**mae_config_from_state(state, heads=meta["heads"], decoder_heads=meta["decoder_heads"])))
    mae.load_state_dict(state)
    return mae.eval(), fill.images(meta["batch"], meta["image_size"], meta["seed"]), out


def hidden_by_mask(mae: MAE, images: Tensor, visible: Tensor, encoder: bool) -> Tensor:
    """The plain way: a -inf column in the attentions of one half, one removal at a time, all positions.

    In the encoder the hidden token's own row is zero too, and the decoder hides nothing.
    """
    masked = complement(visible, mae.patches)

    def block(layer: Any, x: Tensor, hide: int | None, silent: bool = False) -> Tensor:
        q, k, v = layer.attn.heads_of(layer.attn.qkv(layer.norm1(x))).unbind(0)
        bias, rows = torch.zeros(x.shape[1], x.shape[1]), torch.ones(x.shape[1], 1)
        if hide is not None:
            bias[:, hide + 1] = -torch.inf
            rows[hide + 1] = float(not silent)
        weights = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5 + bias).softmax(-1) * rows
        x = x + layer.attn.proj((weights @ v).transpose(1, 2).flatten(2))
        return x + layer.mlp(layer.norm2(x))

    def run(hide: int | None) -> Tensor:
        x = mae.embed(images, visible)
        for layer in mae.blocks:
            x = block(layer, x, hide if encoder else None, silent=True)
        x = mae.decoder_tokens(mae.norm(x), visible, masked)
        for layer in mae.decoder_blocks:
            x = block(layer, x, None if encoder else hide)
        return mae.decoder_pred(mae.decoder_norm(x))[:, visible.shape[1] + 1 :]

    with torch.no_grad():
        anchor = run(None)
        return torch.stack([(run(i) - anchor).abs().mean((1, 2)) for i in range(visible.shape[1])], dim=1)


@pytest.mark.parametrize("name", ["mae_leave_one_out_tiny", "mae_leave_one_out_base"])
def test_golden_anchor_and_decoder_scores(golden: Callable, name: str) -> None:
    mae, images, out = golden_mae(golden, name)
    visible, expected = torch.from_numpy(out["visible"]), torch.from_numpy(out["score_decoder"])
    with torch.no_grad():
        anchor = mae.decode(mae.encode(images, visible), visible)[:, ::7]
    torch.testing.assert_close(anchor, torch.from_numpy(out["anchor"]), atol=1e-4, rtol=0)
    _, scores = semantic_density(mae, images, visible)
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=0)
    assert torch.equal(scores.argsort(1), expected.argsort(1))


@pytest.mark.parametrize("name", ["mae_leave_one_out_tiny", "mae_leave_one_out_base"])
def test_golden_encoder_decoder_scores(golden: Callable, name: str) -> None:
    mae, images, out = golden_mae(golden, name)
    visible, expected = torch.from_numpy(out["visible"]), torch.from_numpy(out["score_encoder_decoder"])
    _, scores = semantic_density(mae, images, visible, hide="encoder_decoder")
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=0)
    assert torch.equal(scores.argsort(1), expected.argsort(1))


@pytest.mark.parametrize("decoder_depth", [1, 2, 3])
@pytest.mark.parametrize("hide", ["decoder", "encoder_decoder"])
def test_leaving_out_is_hiding_by_a_mask(hide: Any, decoder_depth: int) -> None:
    mae = uneven_mae(decoder_depth=decoder_depth)
    images, visible = torch.randn(3, 3, 48, 48), random_visible(3, 36, 7, torch.Generator().manual_seed(2))
    _, scores = semantic_density(mae, images, visible, hide=hide)
    expected = hidden_by_mask(mae, images, visible, hide == "encoder_decoder")
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("hide", ["decoder", "encoder_decoder"])
@pytest.mark.parametrize("distance", ["l1", "l2", "ssim", "psnr"])
def test_neither_memory_nor_batch_changes_scores(hide: Any, distance: Any) -> None:
    mae = uneven_mae()
    images, visible = torch.randn(4, 3, 48, 48), random_visible(4, 36, 6, torch.Generator().manual_seed(5))
    _, reference = semantic_density(mae, images, visible, hide=hide, distance=distance, max_memory_mb=1000)
    for megabytes in (0.001, 0.3, 1.5):
        _, scores = semantic_density(mae, images, visible, hide=hide, distance=distance, max_memory_mb=megabytes)
        torch.testing.assert_close(scores, reference, atol=2e-6, rtol=1e-3)
    _, alone = semantic_density(mae, images[2:3], visible[2:3], hide=hide, distance=distance)
    torch.testing.assert_close(alone, reference[2:3], atol=2e-6, rtol=1e-3)


@pytest.mark.parametrize("hide", ["decoder", "encoder_decoder"])
@pytest.mark.parametrize("megabytes", [2, 8])
def test_the_working_memory_is_about_the_limit(hide: Any, megabytes: float) -> None:
    images, visible = torch.randn(40, 3, 48, 48), random_visible(40, 36, 12, torch.Generator().manual_seed(5))
    mae = uneven_mae()
    with PeakMemory() as memory:
        semantic_density(mae, images, visible, hide=hide, max_memory_mb=megabytes)
    assert 0.7 < memory.peak / (megabytes * 2**20) < 1.4


def test_the_limit_is_that_of_the_device() -> None:
    assert default_memory_mb(torch.device("cpu")) == 64
    assert default_memory_mb(torch.device("cuda")) == default_memory_mb(torch.device("cuda:1")) == 4096


@pytest.mark.parametrize("distance", ["l2", "ssim", "psnr"])
def test_greater_is_farther_for_every_distance(distance: Any) -> None:
    mae = uneven_mae()
    images, visible = torch.randn(2, 3, 48, 48), random_visible(2, 36, 6, torch.Generator().manual_seed(5))
    _, l1 = semantic_density(mae, images, visible)
    _, scores = semantic_density(mae, images, visible, distance=distance)
    assert torch.corrcoef(torch.stack([l1.flatten().log(), scores.flatten()]))[0, 1] > 0.5


def test_every_patch_is_visited() -> None:
    mae, images = uneven_mae(), torch.randn(2, 3, 48, 48)
    one = average_density(mae, images, visits=1, mask_ratio=0.8, generator=torch.Generator().manual_seed(0))
    assert one.shape == (2, 6, 6) and (one > 0).all()
    again = average_density(mae, images, visits=1, mask_ratio=0.8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(one, again)
    ranks = average_density(
        mae, images, visits=2, mask_ratio=0.8, normalise="rank", generator=torch.Generator().manual_seed(0)
    )
    assert ranks.min() >= 0 and ranks.max() <= 1


def test_average_is_the_mean_of_its_maskings() -> None:
    mae, images = uneven_mae(), torch.randn(1, 3, 48, 48)
    orders = torch.stack([torch.randperm(36) for _ in range(2)])[None]
    found = average_density(mae, images, mask_ratio=5 / 6, orders=orders).flatten()
    total = torch.zeros(36)
    for order in orders[0]:
        for visible in order.view(6, 6):
            total[visible] += semantic_density(mae, images, visible[None])[1][0]
    torch.testing.assert_close(found, total / 2, atol=1e-6, rtol=1e-4)


def test_a_single_visible_patch() -> None:
    visible, scores = semantic_density(uneven_mae(), torch.randn(2, 3, 48, 48), mask_ratio=0.99)
    assert visible.shape == (2, 1) and torch.isfinite(scores).all()


def test_no_gradient_is_kept() -> None:
    _, scores = semantic_density(uneven_mae(), torch.randn(1, 3, 48, 48, requires_grad=True))
    assert not scores.requires_grad


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"distance": "l3"}, "distance must be one of l1, l2, ssim, psnr, lpips, got 'l3'"),
        ({"hide": "encoder"}, "hide must be one of decoder, encoder_decoder, got 'encoder'"),
        ({"mask_ratio": 0.0}, "mask at least one"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        semantic_density(uneven_mae(), torch.randn(1, 3, 48, 48), **options)


def test_half_precision_keeps_the_order_roughly() -> None:
    mae, images = uneven_mae(), torch.randn(2, 3, 48, 48)
    visible = random_visible(2, 36, 12, torch.Generator().manual_seed(5))
    _, full = semantic_density(mae, images, visible)
    _, half = semantic_density(mae.bfloat16(), images, visible)
    assert half.dtype == torch.float32
    assert F.cosine_similarity(full - full.mean(), half - half.mean()).min() > 0.9
