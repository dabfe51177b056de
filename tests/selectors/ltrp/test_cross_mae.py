"""CrossMAE and semantic density on it, against the reference's golden vectors and against masks written out."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.ltrp.cross_checkpoints import load_cross_mae
from ltrp_bench.selectors.ltrp.cross_density import cross_density
from ltrp_bench.selectors.ltrp.cross_mae import CrossMAE, CrossMAEConfig, count_predicted, sample_positions
from ltrp_bench.selectors.ltrp.mae import complement, random_visible


def small(**options: Any) -> CrossMAE:
    torch.manual_seed(0)
    sizes = {"embed_dim": 32, "depth": 3, "heads": 2, "decoder_dim": 24, "decoder_depth": 2, "decoder_heads": 3}
    return CrossMAE(CrossMAEConfig(**{"image_size": 48, "patch_size": 8, **sizes, **options})).eval()


def reference(golden: Callable, name: str, folder: Path) -> tuple[CrossMAE, torch.Tensor, dict[str, np.ndarray]]:
    """The reference's weights in the wrapping of the authors' files, read by the product's loader."""
    meta, out, fill = golden(name)
    state = {key: value.float() for key, value in fill.state_dict(meta["shapes"], meta["seed"]).items()}
    arguments = argparse.Namespace(kept_mask_ratio=0.75, norm_pix_loss=True, cross_mae=True)
    content = {"model": state, "optimizer": {}, "epoch": 799, "scaler": {}, "args": arguments}
    torch.save(content, folder / "checkpoint.pth")
    # The published widths tell their heads; those of the tiny model are its own.
    heads = {"heads": meta["heads"], "decoder_heads": meta["decoder_heads"]} if name == "crossmae_tiny" else {}
    mae = load_cross_mae(folder / "checkpoint.pth", **heads)
    assert {key: list(value.shape) for key, value in mae.state_dict().items()} == meta["shapes"]
    images = fill.images(meta["batch"], meta["image_size"], meta["seed"]).float()
    return mae, images, out


@pytest.mark.parametrize(("name", "step"), [("crossmae_tiny", 3), ("crossmae_small", 7)])
@pytest.mark.parametrize("part", ["all", "some"])
def test_golden_predictions_loss_and_density(golden: Callable, name: str, step: int, part: str, tmp_path: Path) -> None:
    mae, images, out = reference(golden, name, tmp_path)
    visible = torch.from_numpy(out["visible"].astype(np.int64))
    positions = torch.from_numpy(out[f"predicted_{part}"].astype(np.int64))
    expected = torch.from_numpy(out[f"prediction_{part}"])
    with torch.no_grad():
        prediction = mae.decode(mae.encode(images, visible), positions)
        target = mae.target(torch.stack([p[i] for p, i in zip(mae.patchify(images), positions, strict=True)]))
    torch.testing.assert_close(prediction[:, ::step], expected, atol=1e-4 * float(expected.std()), rtol=0)
    assert float((prediction - target).square().mean()) == pytest.approx(float(out[f"loss_{part}"]), abs=1e-4)
    scores = cross_density(mae, images, visible, positions).numpy()
    wanted = out[f"leave_one_out_{part}"]
    np.testing.assert_allclose(scores, wanted, atol=1e-5, rtol=0)
    for ours, theirs in zip(scores, wanted, strict=True):
        order = theirs[np.argsort(ours)]
        assert (np.diff(order) > -1e-6).all(), "equal ranks, neighbors under 1e-6 apart may swap"


@pytest.mark.parametrize("hide_in_encoder", [False, True])
@pytest.mark.parametrize("distance", ["l1", "l2"])
def test_density_is_that_of_masks_written_out(hide_in_encoder: bool, distance: str) -> None:
    mae = small()
    images = torch.randn(2, 3, 48, 48)
    visible = random_visible(2, 36, 6, torch.Generator().manual_seed(1))
    positions = complement(visible, 36)[:, ::4]
    scores = cross_density(mae, images, visible, positions, hide_in_encoder=hide_in_encoder, distance=distance)
    with torch.no_grad():
        anchor = mae.decode(mae.encode(images, visible), positions)
        for removed in range(6):
            allowed = torch.ones(7, dtype=torch.bool)
            allowed[removed + 1] = False
            x = mae.embed(images, visible)
            maps = [x]
            for block in mae.blocks:
                q, k, v = block.attn.heads_of(block.qkv(x)).unbind(0)
                weights = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
                if hide_in_encoder:
                    weights = weights.masked_fill(~allowed, -torch.inf)
                mixed = weights.softmax(-1) @ v
                if hide_in_encoder:
                    mixed = mixed * allowed[:, None]
                x = x + block.attn.proj(mixed.transpose(1, 2).flatten(2))
                x = x + block.mlp(block.norm2(x))
                maps.append(x)
            memory = mae.memory(torch.stack(maps, dim=-1))
            y = mae.blank(positions)
            for block, (keys, values) in zip(mae.decoder_blocks, memory, strict=True):
                q = block.cross_attn.split_heads(block.queries(y))
                weights = q @ keys.transpose(-1, -2) * q.shape[-1] ** -0.5
                if not hide_in_encoder:
                    weights = weights.masked_fill(~allowed, -torch.inf)
                y = y + block.cross_attn.proj((weights.softmax(-1) @ values).transpose(1, 2).flatten(2))
                y = y + block.mlp(block.norm2(y))
            change = mae.decoder_pred(mae.decoder_norm(y)) - anchor
            change = change.abs() if distance == "l1" else change.square()
            torch.testing.assert_close(scores[:, removed], change.mean((1, 2)), atol=1e-6, rtol=1e-5)


def test_a_prediction_depends_on_no_other_position() -> None:
    mae, images = small(), torch.randn(2, 3, 48, 48)
    visible = random_visible(2, 36, 6, torch.Generator().manual_seed(2))
    masked = complement(visible, 36)
    with torch.no_grad():
        memory = mae.encode(images, visible)
        torch.testing.assert_close(mae.decode(memory, masked)[:, 3:9], mae.decode(memory, masked[:, 3:9]))


def test_the_mean_over_disjoint_samples_is_the_density_of_all_positions() -> None:
    mae, images = small(), torch.randn(2, 3, 48, 48)
    visible = random_visible(2, 36, 6, torch.Generator().manual_seed(3))
    masked = complement(visible, 36)
    parts = [cross_density(mae, images, visible, masked[:, i::5]) for i in range(5)]
    torch.testing.assert_close(torch.stack(parts).mean(0), cross_density(mae, images, visible, masked))


def test_training_loss_has_gradients_everywhere_and_its_sample_is_of_the_masked_patches() -> None:
    mae, images = small(predict_ratio=0.25).train(), torch.randn(3, 3, 48, 48)
    loss = mae.training_loss(images, 0.75, torch.Generator().manual_seed(0))
    loss.backward()
    for name, parameter in mae.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
        else:
            assert "pos_embed" in name


def test_positions_are_a_sorted_sample_without_repeats() -> None:
    masked = complement(torch.tensor([[0, 5], [3, 4]]), 12)
    drawn = sample_positions(masked, 4, torch.Generator().manual_seed(0))
    for row, of in zip(drawn.tolist(), masked.tolist(), strict=True):
        assert row == sorted(set(row)) and len(row) == 4 and set(row) <= set(of)
    assert sample_positions(masked, 10).equal(masked)
    assert count_predicted(0.25, 196) == 49 and count_predicted(1e-3, 196) == 1


def test_wrong_use_is_named() -> None:
    mae, images = small(), torch.randn(1, 3, 48, 48)
    visible = torch.arange(6)[None]
    with pytest.raises(UsageError, match="takes l1 or l2"):
        cross_density(mae, images, visible, complement(visible, 36), distance="ssim")
    with pytest.raises(UsageError, match="cannot predict 31 of 30"):
        sample_positions(complement(visible, 36), 31)
    with pytest.raises(UsageError, match=r"must lie in \(0, 1\], not 0"):
        small(predict_ratio=0.0)
    with pytest.raises(UsageError, match="cannot predict 27 of 18 masked patches"):
        mae.training_loss(images, 0.5)
    with pytest.raises(ValueError, match="takes images of 48x48 pixels, not 40x40"):
        mae.training_loss(torch.randn(1, 3, 40, 40))
    with pytest.raises(UsageError, match="do not tile"):
        CrossMAE(CrossMAEConfig(image_size=50, patch_size=8))
