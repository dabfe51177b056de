"""Augmentation of training images, a pure function of the image and a random generator.

Photos get timm's training transform, with a random resized crop (one label an image: MAE's fine-tuning) or squashed
whole to the input size (several labels: a crop would cut off what they name); images of the built-in world the eight
flips and turns under which it is invariant, and nothing else, for hue and texture are its labels.

Scores of a whole image's patches can go through the same geometry (crop, mirror, shear, turn) beside it: then a
selector need only look once at each image.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from timm.data import create_transform
from timm.data.auto_augment import AugmentOp, RandAugment
from torchvision.transforms import InterpolationMode, Resize

from ltrp_bench.harness.training.data.unlabelled import turned
from ltrp_bench.selectors.errors import UsageError

RAND_AUGMENT = "rand-m9-mstd0.5-inc1"
GEOMETRIC = frozenset({"Rotate", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel"})
"""The operations of timm's RandAugment that move pixels."""


class Augmentation(Protocol):
    """What a stream does to each image."""

    def __call__(
        self, pixels: np.ndarray, rng: np.random.Generator, scores: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """[h, w, 3] uint8 and its [gh, gw] scores, if any -> the same of the augmented image."""

    def identity(self) -> dict[str, Any]:
        """What it depends on, JSON-able."""


class FlipsAndTurns:
    """One of the eight symmetries of the square."""

    def __call__(
        self, pixels: np.ndarray, rng: np.random.Generator, scores: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Image and scores, turned alike."""
        turns, mirror = int(rng.integers(4)), bool(rng.integers(2))
        moved = None if scores is None else np.ascontiguousarray(turned(scores, turns, mirror))
        return turned(pixels, turns, mirror), moved

    def identity(self) -> dict[str, Any]:
        """Its name."""
        return {"augment": "flips and turns"}


class PhotoAugmentation:
    """timm's training transform.

    Args:
        size: side of the result in pixels.
        mean: in [0, 1], fills what RandAugment's shears and turns uncover.
        policy: timm's name of a RandAugment ("rand-m9-mstd0.5-inc1"), or "none".
        crop: a random resized crop (0.08 to 1 of the area, ratio 3/4 to 4/3); else the whole image, squashed.

    Raises:
        UsageError: a policy that timm does not know.
    """

    def __init__(self, size: int, mean: tuple[float, ...], policy: str = RAND_AUGMENT, crop: bool = True) -> None:
        if policy != "none" and not policy.startswith("rand-"):
            raise UsageError(f"--augment {policy}: write timm's words for a RandAugment ({RAND_AUGMENT}), or none")
        self._words = {"augment": policy, "crop": crop}
        named = None if policy == "none" else policy
        words: dict[str, Any] = {"auto_augment": named, "color_jitter": 0.0, "interpolation": "bicubic", "mean": mean}
        try:
            # The prefetcher's form: 8-bit pixels; the training loop normalises, and erases behind that.
            self._pixels: Any = create_transform(size, is_training=True, use_prefetcher=True, **words)
        except (AssertionError, KeyError, ValueError) as error:
            raise UsageError(f"--augment {policy}: timm cannot read that: {' '.join(str(error).split())}") from error
        for step in self._pixels.transforms:
            for op in step.ops if isinstance(step, RandAugment) else ():
                if op.name.startswith("Posterize"):
                    op.aug_fn = _posterized
        if not crop:
            self._pixels.transforms[0] = Resize((size, size), InterpolationMode.BICUBIC)
        self._scores = _geometry_of(self._pixels)

    def __call__(
        self, pixels: np.ndarray, rng: np.random.Generator, scores: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Image and scores, moved alike."""
        key = int(rng.integers(2**31))
        with seeded(key):
            out = np.asarray(self._pixels(Image.fromarray(pixels))).transpose(1, 2, 0)
        if scores is None:
            return out, None
        with seeded(key):
            moved = np.asarray(self._scores(_as_image(scores, pixels.shape[:2])))[0]
        return out, _on_grid(moved, scores.shape)

    def identity(self) -> dict[str, Any]:
        """RandAugment's policy, and whether it crops."""
        return dict(self._words)


def _geometry_of(pipeline: Any) -> Any:
    """The same random pipeline, drawing the same numbers, but colours stay."""
    twin = copy.deepcopy(pipeline)
    for step in twin.transforms:
        for op in step.ops if isinstance(step, RandAugment) else ():
            _only_move(op)
    return twin


def _only_move(op: AugmentOp) -> None:
    if op.name in GEOMETRIC:
        op.kwargs["fillcolor"] = (0, 0, 0)  # what came from outside the image is kept last
    else:
        op.aug_fn = _unchanged


def _posterized(image: Image.Image, bits: int, **kwargs: Any) -> Image.Image:
    """timm draws 0 to 4 bits a channel; of 0, which Pillow refuses, no image would be left."""
    return ImageOps.posterize(image, max(1, bits)) if bits < 8 else image


def _unchanged(image: Image.Image, *args: Any, **kwargs: Any) -> Image.Image:
    return image


def _as_image(scores: np.ndarray, size: tuple[int, ...]) -> Image.Image:
    """Scores by rank, from 1 to 255, as a grey image of (h, w) pixels: 8-bit, as the image's own path is."""
    ranks = np.argsort(np.argsort(scores.ravel(), kind="stable"), kind="stable") / max(1, scores.size - 1)
    grey = np.rint(1 + 254 * ranks).astype(np.uint8).reshape(scores.shape)
    return Image.fromarray(grey).resize((size[1], size[0]), Image.Resampling.NEAREST).convert("RGB")


def _on_grid(moved: np.ndarray, grid: tuple[int, ...]) -> np.ndarray:
    """[H, W] -> [gh, gw] float32: means over patches."""
    plane = torch.from_numpy(moved.astype(np.float32))[None, None]
    return F.adaptive_avg_pool2d(plane, (grid[0], grid[1]))[0, 0].numpy()


@contextmanager
def seeded(key: int, device: torch.device | None = None) -> Iterator[None]:
    """Inside, the global generators that libraries draw from start at `key`; behind it they are as before."""
    kept, array = random.getstate(), np.random.get_state()
    cuda = [device] if device is not None and device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        random.seed(key)
        np.random.seed(key % 2**32)
        torch.default_generator.manual_seed(key)
        if cuda:
            torch.cuda.manual_seed(key)
        try:
            yield
        finally:
            random.setstate(kept)
            np.random.set_state(array)
