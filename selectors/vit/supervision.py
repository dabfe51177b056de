"""Supervision of the weights of a classifier: the label sets of its training, as far as its files tell them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import timm

from ltrp_bench.selectors.base import Supervision
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.vit.timm_tags import ASK_FOR_LABEL_SET, label_sets_of

CLASSIFIERS: Final[Mapping[int, str]] = {
    1000: "imagenet1k",
    11821: "imagenet12k",
    11221: "imagenet21k",
    19168: "imagenet21k",
    21841: "imagenet21k",
    21842: "imagenet21k",
    21843: "imagenet21k",
    115217: "bamboo",
}
"""Number of outputs of a classifier -> its label set."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the tensors of a file say of the training of its backbone, see `evidence`.

    Attributes:
        captions: what shows that it learned from texts; empty if nothing does.
        detector: "a detector", "a segmentor" or "Segment Anything" that the backbone is a part of; empty otherwise.
        classes: outputs of a classifier inside the ViT or beside it; 0 if there is none.
        frozen_positions: True if the positions are fixed sines and cosines, as of MAE and MoCo v3: a classifier then
            may be a probe on a frozen backbone, whereas supervised ViTs have learned positions.
    """

    captions: str = ""
    detector: str = ""
    classes: int = 0
    frozen_positions: bool = False


def unlabelled(name: str | None, config: Mapping[str, Any], evidence: Evidence = Evidence()) -> Supervision:
    """Supervision of weights that the user calls trained without labels.

    Args:
        name: name of a timm model with the tag of these weights; None if unknown.
        config: metadata of our own files.
        evidence: what the tensors say.

    Raises:
        UsageError: the tag, the metadata or the tensors tell of label sets.
    """
    label_sets = str(config.get("label_set") or "")
    if name and "." in name:
        # A tag that is not known here says nothing against the user.
        with contextlib.suppress(InputError):
            label_sets = "+".join(label_sets_of(name))
    if label_sets:
        raise UsageError(f"supervised=false, but {name or 'the weights'} were trained with labels ({label_sets})")
    if sign := labels_in(evidence):
        raise UsageError(f"supervised=false, but the weights show {sign}: {ASK_FOR_LABEL_SET}")
    return Supervision.self_supervised()


def labels_in(evidence: Evidence) -> str:
    """What in a file tells of labels or texts; empty if nothing does, or only a probe on a frozen backbone."""
    if evidence.captions or evidence.detector:
        return evidence.captions or f"{evidence.detector}, of which they are the backbone"
    if evidence.classes and not evidence.frozen_positions:
        return f"a classifier of {evidence.classes} classes"
    return ""


def supervision_of(
    name: str | None,
    config: Mapping[str, Any],
    classes: int,
    label_set: str | None,
    evidence: Evidence = Evidence(),
) -> Supervision:
    """Supervision of the weights of a classifier.

    Args:
        name: name of the timm model with its tag, which lists the label sets; None if unknown.
        config: metadata of our own files.
        classes: number of outputs of the classifier inside the ViT or beside it; 0 without one.
        label_set: overrides all others: label sets joined by "+", or "self".
        evidence: what the tensors say.

    Raises:
        InputError: the label set cannot be inferred, and `label_set` is not given.
        UsageError: `label_set` is "self" or "none", but the file shows texts or a detector.
    """
    if label_set is not None:
        given = Supervision.parse(label_set)
        if given.kind != "labels" and (evidence.captions or evidence.detector):
            raise UsageError(f"label_set={label_set}, but the weights show {labels_in(evidence)}")
        return given
    if config.get("label_set"):
        return Supervision.parse(str(config["label_set"]))
    if name and "." in name:
        return _of_timm(name, classes)
    if evidence.captions:
        return Supervision.labels("captions", *([CLASSIFIERS[classes]] if classes in CLASSIFIERS else []))
    if evidence.detector:
        raise InputError(
            f"these weights are the backbone of {evidence.detector}, and its labels are not in the file: give "
            "label_set=NAME (imagenet1k+coco80, …)"
        )
    if not classes:
        raise InputError(f"cannot infer the label set of weights without a classifier: {ASK_FOR_LABEL_SET}")
    if classes not in CLASSIFIERS:
        raise InputError(f"cannot infer the label set of a classifier with {classes} outputs: {ASK_FOR_LABEL_SET}")
    return Supervision.labels(CLASSIFIERS[classes])


def _of_timm(name: str, classes: int) -> Supervision:
    """Supervision by a timm tag, and by a classifier of another label set than the tag's."""
    found = label_sets_of(name)
    if classes in CLASSIFIERS:
        return Supervision.labels(*dict.fromkeys((*found, CLASSIFIERS[classes])))
    known = timm.get_pretrained_cfg(name) if timm.is_model_pretrained(name) else None
    # CLIP's outputs are the dimensions of an embedding, not classes.
    if classes and (known is None or known.num_classes != classes):
        raise InputError(
            f"a classifier with {classes} outputs is not that of timm's {name}: give the label sets of the whole "
            f"training by label_set=NAME ({'+'.join((*found, 'NAME'))})"
        )
    return Supervision.labels(*found) if found else Supervision.self_supervised()
