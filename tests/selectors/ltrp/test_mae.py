from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_maes import small_mae

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.ltrp.mae import complement, count_visible, random_visible
from ltrp_bench.selectors.ltrp.mae_checkpoints import load_mae


def test_golden_mae_forward(golden: Callable, tmp_path: Path) -> None:
    meta, out, fill = golden("mae_forward")
    path = tmp_path / "mae_pretrain_vit_full.pth"
    torch.save({"model": fill.state_dict(meta["shapes"], meta["seed"])}, path)
    mae = load_mae(path, heads=meta["heads"], decoder_heads=meta["decoder_heads"])
    assert list(mae.state_dict()) == list(meta["shapes"])
    images = fill.images(meta["batch"], meta["image_size"], meta["seed"])
    visible = torch.from_numpy(out["visible"])
    with torch.no_grad():
        loss, pred, mask = mae(images, visible=visible)
        alone = mae.training_loss(images, visible=visible)
    torch.testing.assert_close(pred[:, ::7], torch.from_numpy(out["pred"]), atol=1e-4, rtol=0)
    torch.testing.assert_close(mask, torch.from_numpy(out["mask"]))
    assert loss.item() == pytest.approx(float(out["loss"]), abs=1e-4)
    assert alone.item() == pytest.approx(float(out["loss"]), abs=1e-4)


def test_training_loss_is_the_loss_and_has_gradients_everywhere() -> None:
    mae, images = small_mae(), torch.randn(3, 3, 48, 48)
    draw = torch.Generator().manual_seed(3)
    visible = mae.random_visible(3, mae.patches, 9, draw)
    assert mae.training_loss(images, visible=visible).item() == pytest.approx(
        mae(images, visible=visible)[0].item(), rel=1e-5
    )
    mae.training_loss(images, visible=visible).backward()
    for name, parameter in mae.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
        else:
            assert "pos_embed" in name


def test_order_of_visible_patches_does_not_matter() -> None:
    mae, images = small_mae(), torch.randn(2, 3, 48, 48)
    visible = random_visible(2, 36, 8, torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(
            mae(images, visible=visible)[1], mae(images, visible=visible.flip(1))[1], atol=1e-5, rtol=1e-4
        )


@pytest.mark.parametrize("norm_pix_loss", [True, False])
def test_target(norm_pix_loss: bool) -> None:
    mae = small_mae(norm_pix_loss=norm_pix_loss)
    images = torch.randn(2, 3, 48, 48) * 3 + 5
    patches = mae.patchify(images)
    torch.testing.assert_close(mae.unpatchify(patches), images)
    target = mae.target(patches)
    if norm_pix_loss:
        torch.testing.assert_close(target.mean(-1), torch.zeros(2, 36), atol=1e-5, rtol=0)
        torch.testing.assert_close(target.std(-1), torch.ones(2, 36), atol=1e-4, rtol=0)
    else:
        assert torch.equal(target, patches)


@settings(max_examples=30)
@given(st.integers(1, 3), st.integers(2, 40), st.data())
def test_visible_and_masked_are_a_partition(batch: int, patches: int, data: st.DataObject) -> None:
    keep = data.draw(st.integers(1, patches))
    visible = random_visible(batch, patches, keep, torch.Generator().manual_seed(keep))
    assert visible.shape == (batch, keep)
    both = torch.cat([visible, complement(visible, patches)], dim=1)
    assert torch.equal(both.sort(dim=1).values, torch.arange(patches).expand(batch, -1))
    assert torch.equal(visible, visible.sort(dim=1).values)


def test_counts_of_visible_patches() -> None:
    assert [count_visible(r, 196) for r in (0.9, 0.75, 0.5, 0.0, 0.999)] == [19, 49, 98, 196, 1]
    assert count_visible(0.9, 100) == 10  # 100 * (1 - 0.9) is a little less than 10
    with pytest.raises(UsageError, match="mask_ratio"):
        count_visible(1.0, 196)


def test_wrong_size_of_image_is_named() -> None:
    with pytest.raises(ValueError, match="48x48 pixels, not 64x48"):
        small_mae().patchify(torch.zeros(1, 3, 64, 48))
