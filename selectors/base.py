"""What a patch selector is: scores of patches from images, greater means keep.

`Selector` is the base class of every selector here; third parties may subclass it or hand in any object with
`name`, `supervision`, `mean`, `std` and `scores(images)`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ltrp_bench.selectors.errors import InputError

Channels = tuple[float, float, float]

IMAGENET_MEAN: Channels = (0.485, 0.456, 0.406)
IMAGENET_STD: Channels = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Supervision:
    """The label sets that a selector was taught with.

    Attributes:
        kind: "none" (nothing learnt), "self" (learnt without labels) or "labels".
        label_sets: for "labels", the label sets in the order of training, e.g. ("imagenet21k", "imagenet1k").
    """

    kind: Literal["none", "self", "labels"]
    label_sets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.kind == "labels") != bool(self.label_sets):
            raise ValueError(f"supervision {self.kind!r} does not go with label sets {self.label_sets!r}")

    @classmethod
    def none(cls) -> Supervision:
        """Nothing was learnt."""
        return cls("none")

    @classmethod
    def self_supervised(cls) -> Supervision:
        """Learnt from images alone."""
        return cls("self")

    @classmethod
    def labels(cls, *label_sets: str) -> Supervision:
        """Learnt from the labels of these sets, e.g. `Supervision.labels("imagenet1k")`."""
        return cls("labels", tuple(label_sets))

    def __str__(self) -> str:
        return "+".join(self.label_sets) if self.label_sets else self.kind


@dataclass(frozen=True)
class BatchContext:
    """What a control may know beyond the pixels; methods never ask for it.

    Attributes:
        image_ids: one id per image of the batch.
        seed: the cell's seed.
        objects: [B, gh, gw] in [0, 1], share of each patch that annotated objects cover; only for the oracle.
        grid: the task's patch grid (gh, gw); None where the selector's own grid is asked for.
    """

    image_ids: tuple[str, ...]
    seed: int = 0
    objects: Tensor | None = None
    grid: tuple[int, int] | None = None


class Selector(ABC):
    """Base class of patch selectors.

    Attributes:
        name: as in the registry, e.g. "ltrp".
        supervision: the label sets it was taught with.
        mean, std: per channel of RGB in [0, 1]; callers normalise images by them.
        input_size: (H, W) that images must be resized to, or None for any multiple of `patch_size`.
        patch_size: pixels along the side of a patch.
        needs_context: `scores` must be given a `BatchContext` (controls only).
        stochastic: other seeds give other scores.
    """

    name: str
    supervision: Supervision = Supervision.none()
    mean: Channels = IMAGENET_MEAN
    std: Channels = IMAGENET_STD
    input_size: tuple[int, int] | None = None
    patch_size: int = 16
    needs_context: bool = False
    stochastic: bool = False

    def scores(self, images: Tensor, context: BatchContext | None = None) -> Tensor:
        """Informativeness of each patch.

        Args:
            images: [B, 3, H, W] float, normalised by this selector's `mean` and `std`.
            context: ids, seed and ground truth; needed where `needs_context` is true.

        Returns:
            [B, gh, gw] finite float32 scores, greater = keep; no meaning beyond their order.

        Raises:
            InputError: wrong shape, images that cannot have been normalised, scores that are not finite.
        """
        check_images(images, self)
        if self.needs_context and context is None:
            raise InputError(f"selector {self.name!r} needs the batch's context (image ids, seed); pass context=")
        with torch.inference_mode():
            out = self._scores(images, context)
        return check_scores(out, len(images), self.name, context)

    @abstractmethod
    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        """[B, 3, H, W] normalised images -> [B, gh, gw] scores; checks are done by `scores`."""

    def to(self, device: torch.device | str) -> Selector:
        """Move every module held by this selector to `device`; returns itself."""
        for value in vars(self).values():
            if isinstance(value, nn.Module):
                value.to(device)
        return self


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
    # Pixels in [0, 1] land in [(0 - mean) / std, (1 - mean) / std]; resampling overshoots a little.
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
