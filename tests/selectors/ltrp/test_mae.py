from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ltrp_bench.selectors.checkpoints import load_metadata
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.ltrp.mae import MAE, complement, count_visible, random_visible
from ltrp_bench.selectors.ltrp.mae_checkpoints import load_mae, mae_config_from_state, save_mae


def tiny(**options: Any) -> MAE:
    torch.manual_seed(0)
    return MAE(48, 8, 24, 2, 2, 16, 2, 2, **options)


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
    mae, images = tiny(), torch.randn(3, 3, 48, 48)
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
    mae, images = tiny(), torch.randn(2, 3, 48, 48)
    visible = random_visible(2, 36, 8, torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(
            mae(images, visible=visible)[1], mae(images, visible=visible.flip(1))[1], atol=1e-5, rtol=1e-4
        )


@pytest.mark.parametrize("norm_pix_loss", [True, False])
def test_target(norm_pix_loss: bool) -> None:
    mae = tiny(norm_pix_loss=norm_pix_loss)
    images = torch.randn(2, 3, 48, 48) * 3 + 5
    patches = mae.patchify(images)
    torch.testing.assert_close(mae.unpatchify(patches), images)
    target = mae.target(patches)
    if norm_pix_loss:
        torch.testing.assert_close(target.mean(-1), torch.zeros(2, 36), atol=1e-5, rtol=0)
        torch.testing.assert_close(target.std(-1), torch.ones(2, 36), atol=1e-4, rtol=0)
    else:
        assert torch.equal(target, patches)


@settings(max_examples=30, deadline=None)
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
        tiny().patchify(torch.zeros(1, 3, 64, 48))


def test_published_sizes_are_told_from_the_state() -> None:
    with torch.device("meta"):
        for size, width, depth, heads in ((224, 768, 12, 12), (224, 1024, 24, 16)):
            state = MAE(size, 16, width, depth, heads).state_dict()
            config = mae_config_from_state(state)
            found = [config[k] for k in ("image_size", "patch_size", "depth", "heads", "decoder_heads")]
            assert found == [size, 16, depth, heads, 16]
        huge = mae_config_from_state(MAE(224, 14, 1280, 32, 16).state_dict())
    assert (huge["patch_size"], huge["depth"], huge["heads"], huge["mlp_ratio"]) == (14, 32, 16, 4.0)


def test_save_and_load(tmp_path: Path) -> None:
    mae = tiny(mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))
    save_mae(tmp_path / "mae.safetensors", mae, note="seed 0")
    again = load_mae(tmp_path / "mae.safetensors")
    assert again.config == mae.config and again.mean == (0.5, 0.5, 0.5) and not again.training
    assert not any(p.requires_grad for p in again.parameters())
    for key, value in mae.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])
    assert load_metadata(tmp_path / "mae.safetensors")["note"] == "seed 0"
    first = (tmp_path / "mae.safetensors").read_bytes()
    save_mae(tmp_path / "mae.safetensors", mae, note="seed 0")
    assert (tmp_path / "mae.safetensors").read_bytes() == first


def test_visualize_files_predict_plain_pixels(tmp_path: Path) -> None:
    for name, expected in (("mae_visualize_vit_base.pth", False), ("mae_pretrain_vit_base_full.pth", True)):
        torch.save({"model": tiny().state_dict()}, tmp_path / name)
        assert load_mae(tmp_path / name, heads=2, decoder_heads=2).norm_pix_loss is expected


def test_heads_that_cannot_be_told_are_asked_for(tmp_path: Path) -> None:
    torch.save({"model": tiny().state_dict()}, tmp_path / "m.pth")
    with pytest.raises(InputError, match=r"heads from its width 24: pass heads=N"):
        load_mae(tmp_path / "m.pth")


def test_encoder_alone_is_named_as_such(tmp_path: Path) -> None:
    state = {k: v for k, v in tiny().state_dict().items() if "decoder" not in k and k != "mask_token"}
    torch.save({"model": state}, tmp_path / "m.pth")
    with pytest.raises(InputError, match=r"do not fit a MAE: .*mask_token.*plain vision transformer"):
        load_mae(tmp_path / "m.pth")
