"""MAE checkpoints: official ones (`mae_visualize_vit_*`, `mae_pretrain_*_full`) and our safetensors."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from ltrp_bench.selectors.checkpoints import (
    Weights,
    builds_from_config,
    check_depths,
    load_built,
    load_metadata,
    mismatch,
    read_weights,
    resolve,
    save_safetensors,
)
from ltrp_bench.selectors.errors import InputError
from ltrp_bench.selectors.ltrp.mae import MAE, MAEConfig, MaskedAutoencoder
from ltrp_bench.selectors.vit.key_names import to_mae_names

# Heads by width, which a state dict does not hold: the published sizes Ti, S, B, L, H, and the decoder of width 512.
HEADS = {192: 3, 384: 6, 768: 12, 1024: 16, 1152: 16, 1280: 16, 1536: 24}
DECODER_HEADS = {512: 16}
# Keys that MAE and CrossMAE have in common, and those without which a state dict is no MAE.
SHARED_KEYS = (
    "cls_token",
    "pos_embed",
    "mask_token",
    "decoder_pos_embed",
    "patch_embed.proj.weight",
    "blocks.0.mlp.fc1.weight",
)
NEEDED = (*SHARED_KEYS, "decoder_embed.weight", "decoder_blocks.0.mlp.fc1.weight")


def count_blocks(state: Mapping[str, Tensor], prefix: str) -> int:
    """Number of blocks `prefix.0`, `prefix.1`, … in a state dict."""
    found = [int(m[1]) for key in state if (m := re.match(rf"{re.escape(prefix)}\.(\d+)\.", key))]
    return max(found) + 1 if found else 0


def autoencoder_of(weights: Weights) -> Weights:
    """The masked autoencoder in a file, under the official names, without what stands before its keys."""
    return replace(weights, state=to_mae_names(weights.state)).under("decoder_pos_embed", "mask_token", "pos_embed")


def mae_config_from_state(
    state: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None, **overrides: Any
) -> dict[str, Any]:
    """Infer the configuration of a MAE from its state dict.

    Sizes follow from shapes; numbers of heads from `overrides`, else the `config` in the metadata of our files, else
    the published widths.

    Raises:
        InputError: a state dict of another model, or an unknown number of heads.
    """
    missing = [key for key in NEEDED if key not in state]
    if missing:
        raise mismatch("a MAE", state, missing)
    return config_from_shapes(state, metadata, DECODER_HEADS, "MAE", overrides)


def config_from_shapes(
    state: Mapping[str, Tensor],
    metadata: Mapping[str, str] | None,
    decoder_heads: Mapping[int, int],
    model: str,
    overrides: Mapping[str, Any],
) -> dict[str, Any]:
    """Configuration of a masked autoencoder whose state dict has the keys of its kind; see `mae_config_from_state`.

    Args:
        state: tensors by key.
        metadata: metadata of the file.
        decoder_heads: published numbers of heads by width of the decoder.
        model: name of the kind for the error.
        overrides: parts of the configuration that are given.
    """
    width, decoder_width = state["pos_embed"].shape[-1], state["decoder_pos_embed"].shape[-1]
    patch = state["patch_embed.proj.weight"].shape[-1]
    side = math.isqrt(state["pos_embed"].shape[1] - 1)
    config: dict[str, Any] = {
        "image_size": side * patch,
        "patch_size": patch,
        "embed_dim": width,
        "depth": count_blocks(state, "blocks"),
        "heads": HEADS.get(width),
        "decoder_dim": decoder_width,
        "decoder_depth": count_blocks(state, "decoder_blocks"),
        "decoder_heads": decoder_heads.get(decoder_width),
        "mlp_ratio": state["blocks.0.mlp.fc1.weight"].shape[0] / width,
    }
    stored = json.loads((metadata or {}).get("config", "{}"))
    check_depths(config, stored, f"the {model}")
    config.update(stored)
    config.update(overrides)
    for name, size in (("heads", width), ("decoder_heads", decoder_width)):
        if config[name] is None:
            raise InputError(f"cannot infer the {name} of the {model} from its width {size}: pass {name}=N")
    return config


@builds_from_config
def load_mae(path_or_tag: str | Path, *, ema: bool | None = None, **overrides: Any) -> MAE:
    """Load a MAE from a file or the tag of bundled weights ("mae.shapes"), in evaluation mode and frozen.

    `overrides` replace parts of the configuration, e.g. `heads`; `ema` is as in `read_weights`. Official
    `mae_visualize_*` files were trained on plain pixels and the others on normalized ones, which only distances on
    pixels depend on. It follows from the file name unless overridden.
    """
    path = resolve(path_or_tag)
    return mae_from(autoencoder_of(read_weights(path, ema)), load_metadata(path), **overrides)


def mae_from(weights: Weights, metadata: Mapping[str, str], **overrides: Any) -> MAE:
    """The MAE whose state dict is that of `weights`, as `load_mae` returns it."""
    file = weights.path.name
    if "config" not in metadata and "visualize" in file:
        overrides.setdefault("norm_pix_loss", False)
    config = MAEConfig(**mae_config_from_state(weights.state, metadata, **overrides))
    mae = load_built(lambda: MAE(config), weights.state, f"the MAE of {file}")
    mae.notes = weights.notes
    return mae.eval().requires_grad_(False)


def save_mae(path: str | Path, mae: MaskedAutoencoder, **metadata: Any) -> None:
    """Write a MAE or CrossMAE as safetensors, atomically, with all that its loader needs and further `metadata`."""
    save_safetensors(path, mae.state_dict(), {"kind": "mae", "config": mae.config, **metadata})
