"""CrossMAE checkpoints: the authors' (`imagenet-mae-cross-vit{s,b,l}-pretrain-*`) and our safetensors."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ltrp_bench.selectors.checkpoints import (
    builds_from_config,
    load_content,
    load_into,
    load_metadata,
    load_state,
    mismatch,
    resolve,
    unwrap_state,
)
from ltrp_bench.selectors.files.file_kinds import kind_of
from ltrp_bench.selectors.ltrp.cross_mae import CrossMAE, CrossMAEConfig
from ltrp_bench.selectors.ltrp.mae import MAE
from ltrp_bench.selectors.ltrp.mae_checkpoints import (
    SHARED_KEYS,
    autoencoder_state,
    config_from_shapes,
    mae_from_state,
)

# Heads of the published decoders by width: 256 in ViT-S, 512 in ViT-B and ViT-L.
DECODER_HEADS = {256: 8, 512: 16}
NEEDED = (*SHARED_KEYS, "wfm.linear.weight", "dec_norms.0.weight", "decoder_blocks.0.cross_attn.kv.weight")


def is_cross_mae(state: Mapping[str, Tensor]) -> bool:
    """True if the decoder of a masked autoencoder's state dict cross-attends."""
    return any(re.match(r"decoder_blocks\.\d+\.cross_attn\.", key) for key in state)


def load_cross_mae(path_or_tag: str | Path, **overrides: Any) -> CrossMAE:
    """Load a CrossMAE from a file or the tag of bundled weights, in evaluation mode and frozen.

    `overrides` replace parts of the configuration, e.g. `heads`. The prediction ratio of an official file is that of
    the command line stored in it, else that of its name ("kmr0.75").

    Raises:
        InputError: a file of another model, or an unknown number of heads.
    """
    path = resolve(path_or_tag)
    state, metadata, published = _read(path)
    return _cross_mae(state, metadata, path.name, {**published, **overrides})


@builds_from_config
def load_autoencoder(path_or_tag: str | Path, **overrides: Any) -> MAE | CrossMAE:
    """Load a MAE or a CrossMAE, whichever the file holds; see `load_mae` and `load_cross_mae`."""
    path = resolve(path_or_tag)
    state, metadata, published = _read(path)
    if is_cross_mae(state):
        return _cross_mae(state, metadata, path.name, {**published, **overrides})
    return mae_from_state(state, metadata, path.name, **overrides)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str], dict[str, Any]]:
    """State dict, metadata, and what an official file says of its training beside the weights."""
    if kind_of(path) == "safetensors":
        return autoencoder_state(load_state(path)), load_metadata(path), {}
    content = load_content(path)
    stored = content.get("args") if isinstance(content, Mapping) else None
    arguments = vars(stored) if isinstance(stored, argparse.Namespace) else {}
    published: dict[str, Any] = {}
    named = re.search(r"kmr(0?\.\d+|1)", path.name)
    ratio = arguments.get("kept_mask_ratio") or (named and named[1])
    if ratio:
        published["predict_ratio"] = float(ratio)
    if isinstance(arguments.get("norm_pix_loss"), bool):
        published["norm_pix_loss"] = arguments["norm_pix_loss"]
    return autoencoder_state(unwrap_state(content, path)), {}, published


def _cross_mae(
    state: Mapping[str, Tensor], metadata: Mapping[str, str], file: str, overrides: Mapping[str, Any]
) -> CrossMAE:
    missing = [key for key in NEEDED if key not in state]
    if missing:
        raise mismatch("a CrossMAE", state, missing)
    config = config_from_shapes(state, metadata, DECODER_HEADS, "CrossMAE", overrides)
    mae = CrossMAE(CrossMAEConfig(**config))
    load_into(mae, state, f"the CrossMAE of {file}")
    return mae.eval().requires_grad_(False)
