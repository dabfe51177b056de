"""The interface of patch selectors: images in, one score a patch out, greater = keep.

`Selector` is the base class of every selector here. A third party may subclass it, or hand in any object with `name`,
`supervision`, `mean`, `std` and `scores(images)`: `as_selector` turns that into a `Selector`.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.normalization import normalize

Channels = tuple[float, float, float]
Role = Literal["method", "control", "reference"]

IMAGENET_MEAN: Channels = (0.485, 0.456, 0.406)
IMAGENET_STD: Channels = (0.229, 0.224, 0.225)

REQUIRED = ("name", "supervision", "mean", "std", "scores")
"""Attributes without which an object is no selector."""


@dataclass(frozen=True)
class Supervision:
    """Label sets that a selector was trained with.

    Label sets are named as in docs/label-sets.md: "imagenet1k", "coco80", …, or "captions" and "hashtags" for texts,
    which may have shown anything. Other names are legal too; what such a label set contains is then unknown.

    Attributes:
        kind: "none" (nothing was trained), "self" (trained without labels) or "labels".
        label_sets: for "labels", the label sets in the order of training, e.g. ("imagenet21k", "imagenet1k"). Those of
            pretraining and of teachers in a distillation count.
    """

    kind: Literal["none", "self", "labels"]
    label_sets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.kind == "labels") != bool(self.label_sets):
            raise ValueError(f"supervision {self.kind!r} does not go with label sets {self.label_sets!r}")

    @classmethod
    def none(cls) -> Supervision:
        """Nothing was trained."""
        return cls("none")

    @classmethod
    def self_supervised(cls) -> Supervision:
        """Trained on images alone."""
        return cls("self")

    @classmethod
    def labels(cls, *label_sets: str) -> Supervision:
        """Trained with these label sets, e.g. `Supervision.labels("imagenet1k")`."""
        return cls("labels", tuple(label_sets))

    @classmethod
    def parse(cls, text: str) -> Supervision:
        """Supervision written as `str` writes it: "none", "self", or label sets joined by "+".

        Raises:
            UsageError: the name of a label set is empty.
        """
        if text in ("none", "self"):
            return cls("none" if text == "none" else "self")
        names = [name.strip() for name in text.split("+")]
        if not all(names):
            raise UsageError(f"label sets {text!r}: write their names joined by '+', such as imagenet21k+imagenet1k")
        return cls.labels(*names)

    def __str__(self) -> str:
        return "+".join(self.label_sets) if self.label_sets else self.kind


@dataclass(frozen=True)
class BatchContext:
    """Information beyond the pixels, for controls only; a method must not use it.

    Attributes:
        image_ids: one id per image of the batch.
        seed: seed of the run.
        objects: [B, gh, gw] ground truth as the task's `oracle_scores` gives it; only for the oracle.
        grid: the task's patch grid (gh, gw); None to score on the selector's own grid.
    """

    image_ids: tuple[str, ...]
    seed: int = 0
    objects: Tensor | None = None
    grid: tuple[int, int] | None = None


class Selector(ABC):
    """Base class of patch selectors.

    Attributes:
        name: name in the registry and in tables, e.g. "ltrp".
        role: "method"; "control" for a baseline that uses no model (random, center, variance, downsample); "reference"
            for what no method is ranked against (full, oracle).
        supervision: label sets that it was trained with.
        mean, std: per channel of RGB in [0, 1]; callers normalize images by them.
        input_size: (H, W) that images must be resized to; None accepts any multiple of `patch_size`.
        patch_size: side of a patch in pixels.
        needs_context: True if `scores` must be given a `BatchContext` (controls only).
        stochastic: True if the scores depend on the seed of the run.
        uses_pixels: False if the scores depend on the context and the shape of the images alone (controls only).
        keeps_every_patch: True if it ranks nothing, so that only keep ratio 1 makes sense (`full`).
        reduces_by_downsampling: True if the task shrinks the whole image instead of keeping patches (`downsample`).
        task_patch: True if `patch_size` is an option and should be the task's.
        movable: True if `to` moves it to another device.
        checks_images: True if `scores` refuses images of a wrong shape or normalization.
        tag_option: option that a tag sets in the names of selectors without weights: "oracle.unseen" for the oracle's
            `group`; None if there is none.
        oracle_groups: groups of objects whose ground truth it is given (`Task.group_oracle_scores`); empty for all.
        weights_family: part before the tag in the names of bundled weights, e.g. "ltrp" of "ltrp.photos"; None if
            there are none.
        version: part of the fingerprint; raise it in a subclass when a change of its code changes its scores.
        later_options: options added after results were published. At their defaults, which must leave the scores as
            they were, they are no part of the fingerprint.
        assumptions: one line for each thing that neither weights nor options say and that was assumed: printed at the
            start of a run, and kept with its results.
        readings: values that determine the scores and are not in the weights' bytes or options, as JSON: those of files
            beside the weights, and those that were assumed. Part of the fingerprint.
    """

    name: str
    role: Role = "method"
    supervision: Supervision = Supervision.none()
    mean: Channels = IMAGENET_MEAN
    std: Channels = IMAGENET_STD
    input_size: tuple[int, int] | None = None
    patch_size: int = 16
    needs_context: bool = False
    stochastic: bool = False
    uses_pixels: bool = True
    keeps_every_patch: bool = False
    reduces_by_downsampling: bool = False
    task_patch: bool = False
    movable: bool = True
    checks_images: bool = True
    tag_option: str | None = None
    oracle_groups: tuple[str, ...] = ()
    weights_family: str | None = None
    version: int = 1
    later_options: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()
    readings: Mapping[str, Any] = MappingProxyType({})

    def scores(self, images: Tensor, context: BatchContext | None = None) -> Tensor:
        """Score each patch.

        Args:
            images: [B, 3, H, W] float, normalized by this selector's `mean` and `std`.
            context: ids, seed and ground truth; required if `needs_context`.

        Returns:
            [B, gh, gw] finite float32 scores, greater = keep; only their order has a meaning.

        Raises:
            InputError: images of a wrong shape or normalization, scores of a wrong shape or not finite.
        """
        check_images(images, self)
        if self.needs_context and context is None:
            raise InputError(f"selector {self.name!r} needs the batch's context (image ids, seed); pass context=")
        with torch.inference_mode():
            out = self._scores(images, context)
        return check_scores(out, len(images), self.name, context)

    def grid_of(self, images: Tensor) -> tuple[int, int]:
        """Patch grid (gh, gw) of [B, 3, H, W] images."""
        return images.shape[2] // self.patch_size, images.shape[3] // self.patch_size

    def prepare(
        self, images: Sequence[np.ndarray], grid: tuple[int, int], device: torch.device | str = "cpu"
    ) -> Tensor:
        """Resize (antialiased bilinear) and normalize images of one size as this selector expects them.

        Args:
            images: [H, W, 3] uint8 RGB each.
            grid: (gh, gw) patches; a selector without an input size gets images of `grid` times its patch size.
            device: device of the result.

        Returns:
            [B, 3, H', W'] float32.
        """
        return normalize(resize(images, self.input_size_on(grid), device), self.mean, self.std)

    def input_size_on(self, grid: tuple[int, int]) -> tuple[int, int]:
        """(H, W) of this selector's input for a task's grid (gh, gw)."""
        return self.input_size or (grid[0] * self.patch_size, grid[1] * self.patch_size)

    @abstractmethod
    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        """[B, 3, H, W] normalized images -> [B, gh, gw] scores; `scores` does the checks."""

    def to(self, device: torch.device | str) -> Selector:
        """Move every module held by this selector to `device`; returns itself."""
        for value in vars(self).values():
            if isinstance(value, nn.Module):
                value.to(device)
        return self


class AdaptedSelector(Selector):
    """A third-party object as a `Selector`: missing optional attributes get their defaults, scores are checked.

    Attributes:
        wrapped: the object itself.
    """

    checks_images = False

    def __init__(self, wrapped: Any) -> None:
        self.wrapped = wrapped
        self.name = str(wrapped.name)
        self.supervision, self.mean, self.std = wrapped.supervision, wrapped.mean, wrapped.std
        # The only place that asks an unknown object for attributes which it need not have.
        self.input_size = getattr(wrapped, "input_size", None)
        self.patch_size = int(getattr(wrapped, "patch_size", Selector.patch_size))
        self.needs_context = bool(getattr(wrapped, "needs_context", False))
        self.stochastic = bool(getattr(wrapped, "stochastic", False))
        self.movable = hasattr(wrapped, "to")
        self._takes_context = _takes_context(wrapped)

    def scores(self, images: Tensor, context: BatchContext | None = None) -> Tensor:
        """See `Selector.scores`; checking the images is left to the wrapped object."""
        with torch.inference_mode():
            out = self._scores(images, context)
        return check_scores(out, len(images), self.name, context)

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        scores = self.wrapped.scores(images, context=context) if self._takes_context else self.wrapped.scores(images)
        return scores  # type: ignore[no-any-return]

    def to(self, device: torch.device | str) -> Selector:
        """Move the wrapped object if it can be moved; returns itself."""
        if self.movable:
            self.wrapped.to(device)
        return self


def as_selector(candidate: Any, name: str | None = None) -> Selector:
    """A `Selector` from any object with `name`, `supervision`, `mean`, `std` and `scores(images)`.

    Args:
        candidate: returned as it is if it is a `Selector`, else wrapped in an `AdaptedSelector`.
        name: name for the error message; None takes the object's own.

    Raises:
        UsageError: an attribute is missing.
    """
    missing = [attribute for attribute in REQUIRED if not hasattr(candidate, attribute)]
    if missing:
        label = name or str(getattr(candidate, "name", type(candidate).__name__))
        raise UsageError(f"selector {label!r} lacks {', '.join(missing)}; see docs/extending/selector.md")
    return candidate if isinstance(candidate, Selector) else AdaptedSelector(candidate)


def resize(images: Sequence[np.ndarray], size: tuple[int, int], device: torch.device | str = "cpu") -> Tensor:
    """Resize images of one size (antialiased bilinear).

    Args:
        images: [H, W, 3] uint8 RGB each.
        size: (H', W').
        device: device of the result.

    Returns:
        [B, 3, H', W'] float32 in [0, 1].
    """
    pixels = torch.from_numpy(np.stack(images)).to(device).permute(0, 3, 1, 2).float() / 255.0
    if tuple(pixels.shape[2:]) == tuple(size):
        return pixels
    pixels = F.interpolate(pixels, size=tuple(size), mode="bilinear", antialias=True, align_corners=False)
    # Rounding can pass 0 or 1 by an ulp.
    return pixels.clamp_(0.0, 1.0)


def _takes_context(candidate: Any) -> bool:
    try:
        return "context" in inspect.signature(candidate.scores).parameters
    except (TypeError, ValueError):
        return False


def check_images(images: Tensor, selector: Selector) -> None:
    """Raise `InputError` unless `images` is a [B, 3, H, W] float batch that fits the selector's size and range."""
    name, patch = selector.name, selector.patch_size
    if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point() or len(images) == 0:
        got = f"{images.dtype} {list(images.shape)}"
        raise InputError(f"selector {name!r}: images must be float [B, 3, H, W], got {got}")
    size, wanted = (int(images.shape[2]), int(images.shape[3])), selector.input_size
    if wanted is not None and size != tuple(wanted):
        raise InputError(f"selector {name!r} scores images of {wanted[0]}x{wanted[1]}, got {size[0]}x{size[1]}")
    if size[0] % patch or size[1] % patch:
        got = f"{size[0]}x{size[1]}"
        raise InputError(f"selector {name!r}: image size {got} is not a multiple of its patch size {patch}")
    # Pixels in [0, 1] become [(0 - mean) / std, (1 - mean) / std]; resampling overshoots a little.
    low = min(-m / s for m, s in zip(selector.mean, selector.std, strict=True))
    high = max((1 - m) / s for m, s in zip(selector.mean, selector.std, strict=True))
    least, most = float(images.min()), float(images.max())
    if not (low - 0.5 <= least and most <= high + 0.5):
        raise InputError(
            f"selector {name!r}: images range over [{least:.3g}, {most:.3g}], outside [{low:.3g}, {high:.3g}]; "
            f"normalise RGB in [0, 1] by its mean {selector.mean} and std {selector.std}"
        )


def check_scores(scores: Tensor, batch: int, name: str, context: BatchContext | None = None) -> Tensor:
    """Return `scores` as float32 [B, gh, gw]; raise `InputError` for a wrong shape, NaN or infinite scores."""
    if not isinstance(scores, Tensor) or scores.ndim != 3 or len(scores) != batch:
        shape = list(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise InputError(f"selector {name!r} returned scores of shape {shape}; expected [{batch}, gh, gw]")
    scores = scores.detach().float().contiguous()
    bad = ~torch.isfinite(scores).flatten(1).all(1)
    if bool(bad.any()):
        first = int(bad.nonzero()[0])
        where = f"image {context.image_ids[first]!r}" if context is not None else f"image {first} of the batch"
        raise InputError(f"selector {name!r} returned NaN or infinite scores for {where}")
    return scores
