"""timm's own ViTs, built by their names for the tensors of a file."""

from __future__ import annotations

import contextlib
import io
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import timm
import torch
from timm.models.eva import Eva, checkpoint_filter_fn
from torch import Tensor

from ltrp_bench.selectors.checkpoints import mismatch
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.vit.families import ViT, as_vit, heads_of, is_vit
from ltrp_bench.selectors.vit.vit_files import ViTFile


def from_timm(
    name: str,
    state: dict[str, Tensor],
    path: Path,
    *,
    heads: int | None = None,
    size: tuple[int, int] | None = None,
) -> tuple[ViT, dict[str, Tensor]]:
    """A timm model with the classifier, pooling and input size of a file, and the file's tensors under its names.

    These may differ from those of timm's weights: fine-tuned weights have classes and sizes of their own. Positions of
    an oblong grid need `size`, the (H, W) that the model is to have.

    Raises:
        InputError: no plain ViT in the file. UsageError: timm's model is of another family, or cannot be built so.
    """
    with torch.device("meta"):
        bare = as_vit(timm.create_model(name, pretrained=False), name)
    state = _under_own_names(bare, state)
    options: dict[str, Any] = {"num_classes": int(state["head.weight"].shape[0]) if "head.weight" in state else 0}
    first = "patch_embed.proj.weight" if isinstance(bare, Eva) else "blocks.0.attn.qkv.weight"
    if first not in state:
        raise mismatch(f"a plain ViT ({path.name})", state, [first])
    if heads:
        options["num_heads"] = check_heads(heads, int(bare.embed_dim), path.name)
    if "fc_norm.weight" in state and "norm.weight" not in state:
        options["global_pool"] = "avg"  # as in MAE's fine-tunes
    with torch.device("meta"):
        net = as_vit(timm.create_model(name, pretrained=False, **options), name)
    table = state.get("pos_embed")
    if table is not None and net.pos_embed is not None and table.ndim == 3 and table.shape != net.pos_embed.shape:
        places = int(table.shape[1]) - (0 if net.no_embed_class else int(net.num_prefix_tokens))
        side, patch = math.isqrt(max(0, places)), int(net.patch_embed.patch_size[0])
        if size is not None and size[0] // patch * (size[1] // patch) == places:
            options["img_size"] = size
        elif side * side == places and side:
            options["img_size"] = side * patch
    return as_vit(timm.create_model(name, pretrained=False, **options), name), state


def _under_own_names(net: ViT, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a file for a model; those of an `Eva` get timm's names."""
    own = net.state_dict()
    foreign = not any("blocks." in key for key in state)
    if not isinstance(net, Eva) or own.keys() == state.keys() or foreign:
        return dict(state)
    bare = dict(state)
    sized = {key: bare.pop(key) for key in _SIZED if key in bare}
    with contextlib.redirect_stdout(io.StringIO()):  # timm prints the biases that DINOv3 holds and does not use
        found = {**checkpoint_filter_fn(bare, net), **sized}
    # Reading a file of unknown architecture calls layer scale as other ViTs do.
    named = {re.sub(r"\.ls([12])\.gamma$", r".gamma_\1", key): value for key, value in found.items()}
    return {key: value for key, value in named.items() if key != "mask_token"}


_SIZED = ("patch_embed.proj.weight", "pos_embed")
"""Tensors that timm's conversion would resample to the model's own size."""


def known_heads(file: ViTFile) -> int | None:
    """Number of attention heads that a file says, by its metadata, timm's name, or a file beside it."""
    if file.config or file.name is None:
        return cast(int | None, file.config.get("heads") or (file.sidecar and file.sidecar.heads))
    with torch.device("meta"):
        net = timm.create_model(file.name, pretrained=False)
    return heads_of(cast(ViT, net)) if is_vit(net) else None


def check_heads(heads: int, width: int, what: str) -> int:
    """The number of heads; `UsageError` if they do not divide the width."""
    if heads < 1 or width % heads:
        raise UsageError(f"heads={heads} do not divide the width {width} of {what}")
    return heads
