"""Files with a plain ViT inside: its tensors under timm's names, and what the file and those beside it say of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import timm
from torch import Tensor

from ltrp_bench.selectors.checkpoints import load_metadata, read_weights, stored_config, strip_prefix
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.files.prefixes import prefixes_of
from ltrp_bench.selectors.files.sidecars import Sidecar, sidecar_of
from ltrp_bench.selectors.ltrp.mae_checkpoints import count_blocks
from ltrp_bench.selectors.vit.evidence import evidence_of
from ltrp_bench.selectors.vit.key_names import to_timm_names
from ltrp_bench.selectors.vit.stem import stem_patch_size
from ltrp_bench.selectors.vit.supervision import Evidence

WEIGHTS_SUFFIXES: Final = (".pt", ".pth", ".tar", ".bin", ".safetensors")
"""Ends of file names that are no tag."""

TELLTALE: Final = (r"blocks\.0\.attn\.qkv\.weight", r"pos_embed")
"""Keys of a plain ViT, before which its prefix stands."""

ROTARY_TELLTALE: Final = (r"blocks\.0\.attn\.(?:qkv|q_proj)\.weight", r"cls_token")
"""Keys of a ViT that need not have a table of positions, such as DINOv3."""


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
        ema: which set of weights was asked for, see `read_weights`.
        notes: one line about each file beside it that does not fit, and about which of two sets of weights this is.
    """

    path: Path
    state: dict[str, Tensor]
    library: str
    config: Mapping[str, Any]
    name: str | None
    sidecar: Sidecar | None
    evidence: Evidence
    ema: bool | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_vit(self) -> bool:
        """True if there is a plain ViT inside."""
        return "blocks.0.attn.qkv.weight" in self.state or "blocks.0.attn.q_proj.weight" in self.state

    @property
    def tagged(self) -> str | None:
        """Name of a timm model with a tag, by the file's name or a file beside it; timm need not know the tag."""
        beside = None if self.sidecar is None else self.sidecar.timm_name
        if beside is not None and ("." not in beside or not timm.is_model(beside.partition(".")[0])):
            beside = None
        return self.name or tagged_name(self.path) or beside

    @property
    def clip(self) -> bool:
        """True for the image tower of CLIP: it has a norm before the first block."""
        return "norm_pre.weight" in self.state

    @property
    def siglip(self) -> bool:
        """True for the image tower of SigLIP: it has a pooling head with a probe, and no class token."""
        return "attn_pool.latent" in self.state and "cls_token" not in self.state

    @property
    def activation(self) -> str:
        """timm's name of the activation of CLIP or SigLIP, which their tensors do not show.

        Where nothing says it, a SigLIP of transformers has the GELU that it was trained with, and others that of timm.

        Raises:
            InputError: neither the file of a CLIP nor one beside it says.
        """
        if self.sidecar is not None and self.sidecar.activation is not None:
            return self.sidecar.activation
        if self.siglip:
            return "gelu_tanh" if self.library == "transformers siglip" else "gelu"
        raise InputError(
            f"{self.path.name} is the image tower of CLIP (its supervision is captions), and nothing says whether its "
            "activation is GELU or QuickGELU: give model=TIMM_NAME (or activation=, if there is that option), name the "
            "file after it (vit_base_patch16_clip_quickgelu_224.openai.pt), or put its config.json beside it"
        )

    @property
    def dinov2(self) -> bool:
        """True for DINOv2's backbones: layer scale, and a mask token without a decoder."""
        return "mask_token" in self.state and "blocks.0.ls1.gamma" in self.state


def read_vit_file(path: Path, model: str | None = None, ema: bool | None = None) -> ViTFile:
    """Read a file with a plain ViT; a file with none is returned with its tensors as they are.

    Args:
        path: torch or safetensors file.
        model: name of the timm model, which overrides those of the file and of files beside it.
        ema: which of a model and its moving average to take, see `read_weights`.

    Raises:
        InputError: a missing or corrupt file, or one with several ViTs of which none is to be preferred.
        UsageError: timm has no such model, or `ema` is given for a file with one set of weights.
    """
    weights = read_weights(path, ema)
    whole = {k: v.float() if v.is_floating_point() else v for k, v in weights.state.items()}
    state, library = to_timm_names(whole)
    telltale = TELLTALE if prefixes_of(state, *TELLTALE) else ROTARY_TELLTALE
    prefix, weights = replace(weights, state=state).prefix_of(*telltale)
    vit = strip_prefix(state, prefix) if prefix else state
    others = {key: value for key, value in state.items() if not key.startswith(prefix)} if prefix else {}
    config = own_config(path)
    sidecar, notes = (None, ()) if config else fitting_sidecar(path, _sizes(vit))
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
        ema=ema,
        notes=(*weights.notes, *notes),
    )


def own_config(path: Path) -> dict[str, Any]:
    """Configuration in the metadata of a file made here; empty for other files, and for detectors, which have code.

    Raises:
        InputError: a damaged configuration.
    """
    # A detector's metadata hold the name of its configuration, not the configuration itself.
    named = re.fullmatch(r"[A-Za-z_]\w*", load_metadata(path).get("config", ""))
    return {} if named else stored_config(path)


def fitting_sidecar(path: Path, sizes: Mapping[str, int]) -> tuple[Sidecar | None, tuple[str, ...]]:
    """What files beside some weights say, and a note; None if it is of another model than the tensors.

    Args:
        path: the weights.
        sizes: attribute of `Sidecar` -> its value by the tensors; those that they do not show are left out.
    """
    found = sidecar_of(path)
    if found is None:
        return None, ()
    for name, own in sizes.items():
        said = getattr(found, name)
        if said and said != own:
            return None, (
                f"{found.file.name} beside {path.name} is not used: it is of another model ({said} {name}, not {own})",
            )
    return found, ()


def _sizes(state: Mapping[str, Tensor]) -> dict[str, int]:
    """Sizes of a plain ViT that files beside it may say, too."""
    out = {}
    if "pos_embed" in state:
        out["width"] = int(state["pos_embed"].shape[-1])
    if "head.weight" in state:
        out["classes"] = int(state["head.weight"].shape[0])
    if "blocks.0.attn.qkv.weight" in state:
        out["depth"] = count_blocks(state, "blocks")
    if "patch_embed.proj.weight" in state and stem_patch_size(state) is None:
        out["patch"] = int(state["patch_embed.proj.weight"].shape[-1])
    return out


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
