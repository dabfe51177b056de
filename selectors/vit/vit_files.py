"""Files with a plain ViT inside: its tensors under timm's names, and what the file and those beside it say of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import timm
from torch import Tensor

from ltrp_bench.selectors.checkpoints import load_metadata, load_state
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.files.prefixes import ambiguous, prefixes_of, strip_prefix
from ltrp_bench.selectors.files.sidecars import Sidecar, sidecar_of
from ltrp_bench.selectors.vit.evidence import evidence_of
from ltrp_bench.selectors.vit.key_names import to_timm_names
from ltrp_bench.selectors.vit.supervision import Evidence

WEIGHTS_SUFFIXES: Final = (".pt", ".pth", ".tar", ".bin", ".safetensors")
"""Ends of file names that are no tag."""

TELLTALE: Final = (r"blocks\.0\.attn\.qkv\.weight", r"pos_embed")
"""Keys of a plain ViT, before which its prefix stands."""


@dataclass(frozen=True, kw_only=True)
class ViTFile:
    """A file with a plain ViT.

    Attributes:
        path: the file.
        state: tensors of the ViT under timm's names, floating-point ones as float32.
        library: the library whose key names the file has.
        config: metadata of our own files.
        name: name of the timm model with its tag; None if unknown.
        sidecar: what files beside it say, if they fit its tensors.
        evidence: what it says of its training.
        notes: one line about each file beside it that does not fit.
    """

    path: Path
    state: dict[str, Tensor]
    library: str
    config: Mapping[str, Any]
    name: str | None
    sidecar: Sidecar | None
    evidence: Evidence
    notes: tuple[str, ...] = ()

    @property
    def is_vit(self) -> bool:
        """True if there is a plain ViT inside."""
        return "blocks.0.attn.qkv.weight" in self.state

    @property
    def tagged(self) -> str | None:
        """Name of a timm model with a tag, by the file's name or a file beside it; timm need not know the tag."""
        beside = None if self.sidecar is None else self.sidecar.timm_name
        if beside is not None and ("." not in beside or not timm.is_model(beside.partition(".")[0])):
            beside = None
        return self.name or tagged_name(self.path) or beside

    @property
    def dinov2(self) -> bool:
        """True for DINOv2's backbones: layer scale, and a mask token without a decoder."""
        return "mask_token" in self.state and "blocks.0.ls1.gamma" in self.state


def read_vit_file(path: Path, model: str | None = None) -> ViTFile:
    """Read a file with a plain ViT; a file with none is returned with its tensors as they are.

    Args:
        path: torch or safetensors file.
        model: name of the timm model, which overrides those of the file and of files beside it.

    Raises:
        InputError: a missing or corrupt file, or one with several ViTs of which none is to be preferred.
        UsageError: timm has no such model.
    """
    whole = {k: v.float() if v.is_floating_point() else v for k, v in load_state(path).items()}
    state, library = to_timm_names(whole)
    found = prefixes_of(state, *TELLTALE)
    if ambiguous(found):
        names = ", ".join(f"{prefix}*" for prefix in found[:3])
        raise InputError(f"{path.name} holds several vision transformers ({names}): save the state dict of one alone")
    prefix = found[0] if found else ""
    vit = strip_prefix(state, prefix) if prefix else state
    others = {key: value for key, value in state.items() if not key.startswith(prefix)} if prefix else {}
    config = own_config(path)
    sidecar, notes = (None, ()) if config else fitting_sidecar(path, _width(vit), _outputs(vit))
    if model is not None:
        name: str | None = timm_name(model)
    else:
        name = name_of_file(path) or known_name(sidecar)
    captioned = sidecar is not None and sidecar.captioned
    return ViTFile(
        path=path,
        state=vit,
        library=library,
        config=config,
        name=name,
        sidecar=sidecar,
        evidence=evidence_of(vit, prefix, others, captioned=captioned),
        notes=notes,
    )


def own_config(path: Path) -> dict[str, Any]:
    """Configuration in the metadata of a file made here; empty for other files, and for detectors, which have code."""
    try:
        found = json.loads(load_metadata(path).get("config", "{}"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def fitting_sidecar(path: Path, width: int | None, outputs: int | None) -> tuple[Sidecar | None, tuple[str, ...]]:
    """What files beside some weights say, and a note; None if it is of another model than the tensors.

    Args:
        path: the weights.
        width: width of the features, None if unknown.
        outputs: number of outputs, None if unknown or without a classifier.
    """
    found = sidecar_of(path)
    if found is None:
        return None, ()
    for what, said, own in (("width", found.width, width), ("outputs", found.classes, outputs)):
        if said and own and said != own:
            return None, (
                f"{found.file.name} beside {path.name} is not used: it is of another model ({said} {what}, not {own})",
            )
    return found, ()


def _width(state: Mapping[str, Tensor]) -> int | None:
    return int(state["pos_embed"].shape[-1]) if "pos_embed" in state else None


def _outputs(state: Mapping[str, Tensor]) -> int | None:
    return int(state["head.weight"].shape[0]) if "head.weight" in state else None


def known_name(sidecar: Sidecar | None) -> str | None:
    """The name that a file beside the weights gives, if it has a tag that timm knows; None for any other."""
    if sidecar is None or sidecar.timm_name is None or "." not in sidecar.timm_name:
        return None
    try:
        return timm_name(sidecar.timm_name)
    except UsageError:
        return None


def timm_name(name: str) -> str:
    """Name of a timm model without "timm:" and with its tag, timm's default if none is given.

    Raises:
        UsageError: timm does not have the model or the tag.
    """
    bare = name.removeprefix("timm:")
    base, _, tag = bare.partition(".")
    if not timm.is_model(base):
        near = ", ".join(timm.list_models(f"{bare.partition('_')[0]}*")[:4]) or "timm.list_models() names them"
        raise UsageError(f"timm has no model {bare!r}; similar names: {near}")
    try:
        known = timm.get_pretrained_cfg(bare)
    except RuntimeError:
        tags = ", ".join(timm.list_models(f"{base}.*", pretrained=True)[:4]) or f"{base} alone"
        raise UsageError(f"timm knows no weights {tag!r} of {base}; it knows {tags}") from None
    tag = tag or (known.tag if known is not None else "")
    return f"{base}.{tag}" if tag else base


def name_of_file(path: Path) -> str | None:
    """Name of the timm model, with its tag, that a file is named after; None for any other file name.

    A name without a tag does not identify weights: many official files are named after their architecture alone.
    """
    stem = path.name.removesuffix(path.suffix)
    if "." not in stem:
        return None
    try:
        return timm_name(stem)
    except UsageError:
        return None


def tagged_name(path: Path) -> str | None:
    """The file name without suffixes if it is a model of timm with any tag; None otherwise.

    A tag that this version of timm does not know may still name label sets.
    """
    stem = path.name
    while (suffix := Path(stem).suffix) in WEIGHTS_SUFFIXES:
        stem = stem.removesuffix(suffix)
    return stem if "." in stem and timm.is_model(stem.partition(".")[0]) else None
