"""CrossMAE checkpoints: the authors' (`imagenet-mae-cross-vit{s,b,l}-pretrain-*`) and our safetensors."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ltrp_bench.selectors.checkpoints import (
    Weights,
    builds_from_config,
    load_built,
    load_metadata,
    mismatch,
    read_weights,
    resolve,
)
from ltrp_bench.selectors.files.file_kinds import kind_of
from ltrp_bench.selectors.ltrp.cross_mae import CrossMAE, CrossMAEConfig
from ltrp_bench.selectors.ltrp.mae import MAE
from ltrp_bench.selectors.ltrp.mae_checkpoints import SHARED_KEYS, autoencoder_of, config_from_shapes, mae_from

# Heads of the published decoders by width: 256 in ViT-S, 512 in ViT-B and ViT-L.
DECODER_HEADS = {256: 8, 512: 16}
NEEDED = (*SHARED_KEYS, "wfm.linear.weight", "dec_norms.0.weight", "decoder_blocks.0.cross_attn.kv.weight")


def is_cross_mae(state: Mapping[str, Tensor]) -> bool:
    """True if the decoder of a masked autoencoder's state dict cross-attends."""
    return any(re.match(r"decoder_blocks\.\d+\.cross_attn\.", key) for key in state)


def load_cross_mae(path_or_tag: str | Path, *, ema: bool | None = None, **overrides: Any) -> CrossMAE:
    """Load a CrossMAE from a file or the tag of bundled weights, in evaluation mode and frozen.

    `overrides` replace parts of the configuration, e.g. `heads`; `ema` is as in `read_weights`. The prediction ratio of
    an official file is that of the command line stored in it, else that of its name ("kmr0.75").

    Raises:
        InputError: a file of another model, or an unknown number of heads.
    """
    weights = autoencoder_of(read_weights(resolve(path_or_tag), ema))
    return _cross_mae(weights, {**_published(weights), **overrides})


@builds_from_config
def load_autoencoder(path_or_tag: str | Path, *, ema: bool | None = None, **overrides: Any) -> MAE | CrossMAE:
    """Load a MAE or a CrossMAE, whichever the file holds; see `load_mae` and `load_cross_mae`."""
    weights = autoencoder_of(read_weights(resolve(path_or_tag), ema))
    if is_cross_mae(weights.state):
        return _cross_mae(weights, {**_published(weights), **overrides})
    return mae_from(weights, load_metadata(weights.path), **overrides)


def _published(weights: Weights) -> dict[str, Any]:
    """What an official file, which is a torch file, says of its training beside the weights and in its name."""
    if kind_of(weights.path) == "safetensors":
        return {}
    stored = weights.beside.get("args")
    arguments = vars(stored) if isinstance(stored, argparse.Namespace) else {}
    published: dict[str, Any] = {}
    named = re.search(r"kmr(0?\.\d+|1)", weights.path.name)
    ratio = arguments.get("kept_mask_ratio") or (named and named[1])
    if ratio:
        published["predict_ratio"] = float(ratio)
    if isinstance(arguments.get("norm_pix_loss"), bool):
        published["norm_pix_loss"] = arguments["norm_pix_loss"]
    return published


def _cross_mae(weights: Weights, overrides: Mapping[str, Any]) -> CrossMAE:
    state = weights.state
    missing = [key for key in NEEDED if key not in state]
    if missing:
        raise mismatch("a CrossMAE", state, missing)
    config = config_from_shapes(state, load_metadata(weights.path), DECODER_HEADS, "CrossMAE", overrides)
    mae = load_built(lambda: CrossMAE(CrossMAEConfig(**config)), state, f"the CrossMAE of {weights.path.name}")
    mae.notes = weights.notes
    return mae.eval().requires_grad_(False)
