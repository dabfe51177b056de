"""ViTs that were trained without labels, for selectors that are reported so: DINO, MoCo v3."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ltrp_bench.selectors.base import Supervision
from ltrp_bench.selectors.checkpoints import resolve
from ltrp_bench.selectors.errors import InputError
from ltrp_bench.selectors.vit.assumptions import OPTIONS_OR_BESIDE, assumptions_of, normalization_of
from ltrp_bench.selectors.vit.backbones import Backbone, load_backbone
from ltrp_bench.selectors.vit.families import heads_of
from ltrp_bench.selectors.vit.supervision import labels_in
from ltrp_bench.selectors.vit.timm_tags import label_sets_of
from ltrp_bench.selectors.vit.vit_files import ViTFile, read_vit_file

OFFICIAL_NAMES = r"dino_(vit|deit)|dinov2_vit|vit-[sb]-\d+ep|linear-vit-[sb]-\d+ep"
"""Beginnings of the names of published files, whose normalization and heads are known."""


def load_unlabelled(
    weights: str | Path,
    name: str,
    *,
    model: str | None = None,
    drop: tuple[str, ...] = (),
    probes: bool = False,
    heads: int | None = None,
    published_heads: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    ema: bool | None = None,
) -> Backbone:
    """Load a ViT that was trained without labels, or with captions, as `load_backbone` does.

    Args:
        weights: an official file or one of ours.
        name: name of the selector.
        model: name of the timm model; overrides those of the file and of files beside it.
        drop: prefixes of keys to leave out, which belong to another part of the method.
        probes: accept a classifier on a frozen backbone.
        heads: number of attention heads; only needed if neither file nor width identifies it.
        published_heads: value of `heads` that a `config.json` beside the file overrides.
        mean, std, ema: see `load_backbone`.

    Raises:
        InputError: the weights were trained with labels, or do not fit.
    """
    file = read_vit_file(resolve(weights), model, ema)
    trained = supervision_or_refusal(file, name, probes)
    if heads == published_heads and file.sidecar is not None:
        heads = file.sidecar.heads or heads
    backbone = load_backbone(
        weights,
        model,
        heads=heads,
        label_set=str(trained),
        drop=drop,
        mean=mean,
        std=std,
        ema=ema,
        published=trained.kind == "self",
        remedy=OPTIONS_OR_BESIDE,
    )
    if trained.kind == "self" and not re.match(OFFICIAL_NAMES, file.path.name):
        values = normalization_of(file, mean, std)
        count = heads_of(backbone.model)
        backbone.assumptions += tuple(assumptions_of(file, values, count, remedy=OPTIONS_OR_BESIDE))
    if trained.kind == "labels" and not any("captions" in line for line in backbone.assumptions):
        backbone.assumptions += ("these weights were trained with captions, and count as such",)
    return backbone


def supervision_or_refusal(file: ViTFile, name: str, probes: bool) -> Supervision:
    """Supervision of weights for a selector that is reported as label-free: none, or the captions of CLIP.

    Args:
        file: the weights.
        name: name of the selector.
        probes: accept a classifier on a frozen backbone; published files of MoCo v3 hold one.

    Raises:
        InputError: the weights were trained with labels, or are the backbone of a detector.
    """
    labels = file.config.get("label_set")
    if labels is None and file.tagged is not None:
        try:
            labels = "+".join(label_sets_of(file.tagged)) or None
        except InputError as error:
            raise InputError(
                f"selector {name!r} needs weights trained without labels, and the name {file.tagged} does not tell: if "
                "they were, use a file name without a timm tag"
            ) from error
    if labels is None and file.is_vit:
        if file.evidence.captions:
            return Supervision.labels("captions")
        if not probes or file.evidence.detector or not file.evidence.frozen_positions:
            labels = labels_in(file.evidence) or None
        if labels is None and file.evidence.classes and not probes:
            labels = f"a classifier of {file.evidence.classes} classes"
    if labels == "captions":
        return Supervision.labels("captions")
    if labels is not None:
        raise InputError(
            f"{file.path.name} was trained with labels ({labels}); selector {name!r} needs weights trained without"
        )
    return Supervision.self_supervised()
