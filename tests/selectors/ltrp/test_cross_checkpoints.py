"""Checkpoints of CrossMAE: published sizes, our files, and files of another kind."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.selectors.ltrp.cross_checkpoints import (
    DECODER_HEADS,
    is_cross_mae,
    load_autoencoder,
    load_cross_mae,
)
from ltrp_bench.selectors.ltrp.cross_mae import CrossMAE, CrossMAEConfig
from ltrp_bench.selectors.ltrp.mae import MAE, MAEConfig
from ltrp_bench.selectors.ltrp.mae_checkpoints import config_from_shapes, load_mae, save_mae

SIZES: dict[str, Any] = {
    "image_size": 48,
    "patch_size": 8,
    "embed_dim": 24,
    "depth": 2,
    "heads": 2,
    "decoder_dim": 16,
    "decoder_depth": 3,
    "decoder_heads": 2,
}
HEADS = {"heads": 2, "decoder_heads": 2}


def tiny(**options: Any) -> CrossMAE:
    torch.manual_seed(0)
    return CrossMAE(CrossMAEConfig(**SIZES, **options))


def published(path: Path, arguments: dict[str, Any] | None, state: dict[str, Tensor] | None = None) -> Path:
    """Write a state dict, by default that of `tiny`, as the authors wrap theirs."""
    content: dict[str, Any] = {"model": tiny().state_dict() if state is None else state, "epoch": 799}
    torch.save(content if arguments is None else {**content, "args": Namespace(**arguments)}, path)
    return path


@pytest.mark.parametrize(
    ("size", "width", "depth", "heads", "decoder_width", "decoder_heads"),
    [(224, 384, 12, 6, 256, 8), (224, 768, 12, 12, 512, 16), (448, 768, 12, 12, 512, 16), (224, 1024, 24, 16, 512, 16)],
)
def test_published_sizes_are_told_from_the_state(
    size: int, width: int, depth: int, heads: int, decoder_width: int, decoder_heads: int
) -> None:
    with torch.device("meta"):
        options = {"embed_dim": width, "depth": depth, "heads": heads}
        config = CrossMAEConfig(image_size=size, decoder_dim=decoder_width, decoder_heads=decoder_heads, **options)
        state = CrossMAE(config).state_dict()
    found = CrossMAEConfig(**config_from_shapes(state, None, DECODER_HEADS, "CrossMAE", {}))
    assert found == config and found.decoder_depth == 12 and is_cross_mae(state)


def test_save_and_load(tmp_path: Path) -> None:
    mae = tiny(mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2), predict_ratio=0.25, norm_pix_loss=False)
    assert mae.config["decoder"] == "cross"
    save_mae(tmp_path / "mae.safetensors", mae)
    for load in (load_cross_mae, load_autoencoder):
        again = load(tmp_path / "mae.safetensors")
        assert isinstance(again, CrossMAE) and again.config == mae.config and not again.training
        assert again.predict_ratio == 0.25 and not any(p.requires_grad for p in again.parameters())
        assert all(torch.equal(value, again.state_dict()[key]) for key, value in mae.state_dict().items())


def test_either_kind_is_loaded_as_what_it_is(tmp_path: Path) -> None:
    torch.manual_seed(0)
    plain = MAE(MAEConfig(**SIZES))
    assert "decoder" not in plain.config
    save_mae(tmp_path / "mae.safetensors", plain)
    torch.save({"model": plain.state_dict()}, tmp_path / "mae_visualize_vit_base.pth")
    for file, normalized, options in (
        ("mae.safetensors", True, {}),
        ("mae_visualize_vit_base.pth", False, HEADS),
    ):
        mae = load_autoencoder(tmp_path / file, **options)
        assert isinstance(mae, MAE) and mae.norm_pix_loss is normalized
    assert load_autoencoder("mae.shapes").config == load_mae("mae.shapes").config


@pytest.mark.parametrize(
    ("file", "arguments", "expected"),
    [
        ("checkpoint.pth", {"kept_mask_ratio": 0.25}, 0.25),
        ("imagenet-mae-cross-vitb-pretrain-wfm-mr0.75-kmr0.25-dd12-ep400-ui-res-448.pth", None, 0.25),
        ("imagenet-mae-cross-vitb-pretrain-wfm-mr0.75-kmr0.25-dd12.pth", {"kept_mask_ratio": 0.5}, 0.5),
        ("checkpoint.pth", None, 0.75),
    ],
)
def test_prediction_ratio_of_official_files(
    tmp_path: Path, file: str, arguments: dict[str, Any] | None, expected: float
) -> None:
    assert load_cross_mae(published(tmp_path / file, arguments), **HEADS).predict_ratio == expected


def test_targets_of_official_files_follow_their_command_line(tmp_path: Path) -> None:
    for given in (True, False):
        file = published(tmp_path / "checkpoint.pth", {"norm_pix_loss": given})
        assert load_cross_mae(file, **HEADS).norm_pix_loss is given


def test_other_files_are_refused_in_words(tmp_path: Path) -> None:
    state = tiny().state_dict()
    file = published(tmp_path / "m.pth", {})
    with pytest.raises(InputError, match="cannot infer the heads of the CrossMAE from its width 24: pass heads=N"):
        load_cross_mae(file)
    with pytest.raises(InputError, match="do not fit a MAE: .*decoder_embed.weight.*looks like a CrossMAE pretraining"):
        load_mae(file)
    with pytest.raises(InputError, match="do not fit a CrossMAE: .*wfm.linear.weight.*looks like a MAE pretraining"):
        load_cross_mae("mae.shapes")
    encoder = {k: v for k, v in state.items() if not k.startswith(("dec", "mask_token", "wfm"))}
    for load in (load_cross_mae, load_autoencoder):
        with pytest.raises(InputError, match="keys missing: .*mask_token.*plain vision transformer"):
            load(published(tmp_path / "encoder.pth", {}, encoder))
    with pytest.raises(InputError, match="the CrossMAE of no-input.pth: 1 of another shape: wfm.linear.weight 3x2"):
        weights = {**state, "wfm.linear.weight": torch.zeros(3, 2)}
        load_cross_mae(published(tmp_path / "no-input.pth", {}, weights), **HEADS)
    with pytest.raises(InputError, match="the CrossMAE of both.pth: 1 unexpected: decoder_blocks.0.attn.qkv.weight"):
        both = {**state, "decoder_blocks.0.attn.qkv.weight": torch.zeros(48, 16)}
        load_cross_mae(published(tmp_path / "both.pth", {}, both), **HEADS)
    with pytest.raises(InputError, match="keys missing: wfm.linear.weight; .*looks like a CrossMAE"):
        last = {k: v for k, v in state.items() if not k.startswith("wfm")}
        load_cross_mae(published(tmp_path / "last.pth", {}, last), **HEADS)
