"""GFNet checkpoints: the released files (`*.pth.tar`, with four state dicts) and our safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ltrp_bench.selectors.checkpoints import (
    builds_from_config,
    load_built,
    load_content,
    load_into,
    load_metadata,
    load_state,
    looks_like,
    mismatch,
    resolve,
    save_safetensors,
)
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.files.file_kinds import kind_of
from ltrp_bench.selectors.files.prefixes import without_wrappers
from ltrp_bench.selectors.gfnet.encoders import PUBLISHED, CnnEncoder, timm_keys
from ltrp_bench.selectors.gfnet.model import GFNet, GFNetConfig
from ltrp_bench.selectors.gfnet.policy import CONVOLVED, ENCODED

PARTS = ("model_prime_state_dict", "model_state_dict", "policy", "fc")
CROPS = {9.0: 96, 16.0: 128}
"""Positions of a feature map -> the only published crop size that has so many (25 are ambiguous: 144 or 160)."""


def load_gfnet(
    path_or_tag: str | Path, model: str | None = None, crop: int | None = None, glances: int | None = None
) -> GFNet:
    """Load a GFNet, in evaluation mode and frozen.

    Args:
        path_or_tag: a released file, a checkpoint of the official training, one of our files, or the tag of bundled
            weights ("gfnet.shapes0").
        model: backbone; needed if the file has no `model_name`, as checkpoints of the official training.
        crop: side of a crop in pixels; needed if the file has no `patch_size`.
        glances: number of glimpses; None takes that of the file (the length of `flops`), else 5.

    Raises:
        InputError: a missing, corrupt or foreign file, one without a policy, or with parts that do not fit together.
        UsageError: an unknown `model`.
    """
    path = resolve(path_or_tag)
    if kind_of(path) == "safetensors":
        net = _from_ours(path)
    else:
        content = load_content(path)
        if not (isinstance(content, Mapping) and all(part in content for part in PARTS)):
            raise _foreign(content, path)
        net = _from_released(content, path, model, crop, glances)
    return net.eval().requires_grad_(False)


def save_gfnet(path: str | Path, net: GFNet, **metadata: Any) -> None:
    """Write a GFNet as safetensors, atomically, with all that `load_gfnet` needs and further `metadata`."""
    save_safetensors(path, net.state_dict(), {"kind": "gfnet", "config": net.config, **metadata})


@builds_from_config
def _from_ours(path: Path) -> GFNet:
    state, metadata = load_state(path), load_metadata(path)
    if metadata.get("kind") != "gfnet" or "config" not in metadata:
        raise InputError(f"{path.name} is no GFNet file (metadata kind 'gfnet'); it looks like {looks_like(state)}")
    try:
        config = GFNetConfig(**json.loads(metadata["config"]))
        return load_built(lambda: GFNet(config), state, f"the GFNet of {path.name}")
    except (TypeError, KeyError, ValueError) as error:
        raise InputError(f"{path.name}: its metadata do not describe a GFNet ({error})") from None


def _from_released(
    content: Mapping[str, Any], path: Path, model: str | None, crop: int | None, glances: int | None
) -> GFNet:
    prime, local, policy, fc = (_part(content, part, path) for part in PARTS)
    name = str(model or content.get("model_name") or "")
    if name not in PUBLISHED:
        known = ", ".join(PUBLISHED)
        if model:
            raise UsageError(f"no GFNet backbone {name!r}; there are {known}")
        found = f"the unknown backbone {name!r}" if name else "no model_name"
        raise InputError(f"{path.name} has {found}: give model=NAME, one of {known}")
    published = PUBLISHED[name]
    first, recurrent = policy["state_encoder.0.weight"], "rnn.weight_hh_l0" in fc
    convolution = first.ndim == 4
    with torch.device("meta"):
        channels = CnnEncoder(name).channels
    config = GFNetConfig(
        encoder={"backbone": name},
        classes=int(fc["fc.weight" if recurrent else "fc_2.weight"].shape[0]),
        crop=crop or int(content.get("patch_size") or _crop_from(policy, channels, path)),
        glances=glances or len(content.get("flops") or range(5)),
        image_size=published.image_size,
        policy_hidden=int(policy["gru.weight_hh_l0"].shape[1]),
        policy_convolution=convolution,
        policy_encoded=ENCODED if convolution else int(first.shape[0]),
        fc_hidden=int(fc["rnn.weight_hh_l0"].shape[1]) if recurrent else None,
        own_first=published.own_first,
        glance=published.glance,
        patch_size=patch_for(published.image_size),
        label_set="imagenet1k",
    )
    net = GFNet(config)
    for part, module, state in (
        ("prime encoder", net.prime.get_submodule("net"), timm_keys(name, prime)),
        ("local encoder", net.local.get_submodule("net"), timm_keys(name, local)),
        ("policy", net.policy, policy),
        ("classifier", net.fc, fc),
    ):
        load_into(module, state, f"the {part} of a GFNet on {name} with crops of {net.crop} pixels ({path.name})")
    return net


def patch_for(image_size: int) -> int:
    """Side of the patches to rank: 16 if it divides the side of the images, else 20 (for 260 and 300 pixels)."""
    return 16 if image_size % 16 == 0 else 20


def _part(content: Mapping[str, Any], part: str, path: Path) -> dict[str, Tensor]:
    """One of the four state dicts, without "module."; `InputError` if it is none or its size cannot be inferred."""
    found = content[part]
    if part == "policy" and found is None:
        raise InputError(f"{path.name} holds no policy (a checkpoint of stage 1): take one of stage 2 or 3")
    if not isinstance(found, Mapping) or not found or not all(isinstance(v, Tensor) for v in found.values()):
        raise InputError(f"cannot read weights {path}: {part!r} is no state dict")
    state = without_wrappers({str(key): value for key, value in found.items()})
    needed = {"policy": ("state_encoder.0.weight", "gru.weight_hh_l0")}.get(part, ())
    missing = [key for key in needed if key not in state]
    if part == "fc" and "fc_2.weight" not in state:
        missing = [key for key in ("rnn.weight_hh_l0", "fc.weight") if key not in state]
    if missing:
        raise mismatch(f"the {part} of a GFNet ({path.name})", state, missing)
    return state


def _crop_from(policy: Mapping[str, Tensor], channels: int, path: Path) -> int:
    """Infer the crop size from the first linear layer of the policy; `InputError` if it is ambiguous."""
    first = policy["state_encoder.0.weight"]
    places = policy["state_encoder.3.weight"].shape[1] / CONVOLVED if first.ndim == 4 else first.shape[1] / channels
    if places in CROPS:
        return CROPS[places]
    raise InputError(f"{path.name} does not say how large its crops are (no patch_size): give crop=PIXELS")


def _foreign(content: Any, path: Path) -> InputError:
    """Error for a torch file that is no GFNet: what is missing, and what it looks like."""
    state = load_state(path)
    there = content if isinstance(content, Mapping) else {}
    return mismatch(f"a GFNet ({path.name})", state, [part for part in PARTS if part not in there])
