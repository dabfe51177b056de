"""Checkpoints of MAE: sizes, heads, and files of another kind."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_maes import small_mae

from ltrp_bench.selectors.checkpoints import load_metadata
from ltrp_bench.selectors.errors import InputError
from ltrp_bench.selectors.ltrp.mae import MAE, MAEConfig
from ltrp_bench.selectors.ltrp.mae_checkpoints import load_mae, mae_config_from_state, save_mae


def test_published_sizes_are_told_from_the_state() -> None:
    with torch.device("meta"):
        for size, width, depth, heads in ((224, 768, 12, 12), (224, 1024, 24, 16)):
            state = MAE(
                MAEConfig(image_size=size, patch_size=16, embed_dim=width, depth=depth, heads=heads)
            ).state_dict()
            config = mae_config_from_state(state)
            found = [config[k] for k in ("image_size", "patch_size", "depth", "heads", "decoder_heads")]
            assert found == [size, 16, depth, heads, 16]
        huge = mae_config_from_state(
            MAE(MAEConfig(image_size=224, patch_size=14, embed_dim=1280, depth=32, heads=16)).state_dict()
        )
    assert (huge["patch_size"], huge["depth"], huge["heads"], huge["mlp_ratio"]) == (14, 32, 16, 4.0)


def test_save_and_load(tmp_path: Path) -> None:
    mae = small_mae(mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))
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
        torch.save({"model": small_mae().state_dict()}, tmp_path / name)
        assert load_mae(tmp_path / name, heads=2, decoder_heads=2).norm_pix_loss is expected


def test_heads_that_cannot_be_told_are_asked_for(tmp_path: Path) -> None:
    torch.save({"model": small_mae().state_dict()}, tmp_path / "m.pth")
    with pytest.raises(InputError, match=r"cannot infer the heads of the MAE from its width 24: pass heads=N"):
        load_mae(tmp_path / "m.pth")


def test_encoder_alone_is_named_as_such(tmp_path: Path) -> None:
    state = {k: v for k, v in small_mae().state_dict().items() if "decoder" not in k and k != "mask_token"}
    torch.save({"model": state}, tmp_path / "m.pth")
    with pytest.raises(InputError, match=r"do not fit a MAE: .*mask_token.*plain vision transformer"):
        load_mae(tmp_path / "m.pth")
