"""Augmentation of training images, a pure function of the image and a random generator.

Photos are augmented by timm's training transform, either with a random resized crop (a single label per image, as in
MAE's fine-tuning) or squashed to the input size (several labels: a crop could remove the objects that they name).
Images of `shapes` are only flipped and rotated by quarter turns, since hue and texture define its categories.

Scores of the whole image's patches can be moved by the same geometry (crop, mirror, shear, rotation), so that a
selector scores each image only once.
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

from ltrp_bench.harness.training.data.geometry import random_turn, turned
from ltrp_bench.selectors.errors import UsageError

RAND_AUGMENT = "rand-m9-mstd0.5-inc1"
GEOMETRIC = frozenset({"Rotate", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel"})
"""The operations of timm's RandAugment that move pixels."""


class Augmentation(Protocol):
    """Augmentation of one image of a stream."""

    def __call__(
        self, pixels: np.ndarray, rng: np.random.Generator, scores: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Augment an image [h, w, 3] uint8, and its scores [gh, gw] in the same way if they are given."""

    def identity(self) -> dict[str, Any]:
        """Its settings as plain JSON, for the record of a training run."""


class FlipsAndTurns:
    """One of the eight symmetries of the square."""

    def __call__(
        self, pixels: np.ndarray, rng: np.random.Generator, scores: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Flip and turn image and scores alike."""
        turns, mirror = random_turn(rng)
        moved = None if scores is None else np.ascontiguousarray(turned(scores, turns, mirror))
        return turned(pixels, turns, mirror), moved

    def identity(self) -> dict[str, Any]:
        """Its name, JSON-able."""
        return {"augment": "flips and turns"}


class PhotoAugmentation:
    """timm's training transform.

    Args:
        size: side of the result in pixels.
        mean: per channel of RGB in [0, 1], fills the area that RandAugment's shears and rotations uncover.
        policy: timm's name of a RandAugment ("rand-m9-mstd0.5-inc1"), or "none".
        crop: True for a random resized crop (0.08 to 1 of the area, ratio 3/4 to 4/3), False to squash the image.

    Raises:
        UsageError: timm does not know the policy.
    """

    def __init__(self, size: int, mean: tuple[float, ...], policy: str = RAND_AUGMENT, crop: bool = True) -> None:
        if policy != "none" and not policy.startswith("rand-"):
            raise UsageError(f"--augment {policy}: give a RandAugment in timm's notation ({RAND_AUGMENT}), or none")
        self._settings = {"augment": policy, "crop": crop}
        try:
            # use_prefetcher: 8-bit pixels come out; normalization and erasing follow in the training loop.
            self._pixels: Any = create_transform(
                size,
                is_training=True,
                use_prefetcher=True,
                auto_augment=None if policy == "none" else policy,
                color_jitter=0.0,
                interpolation="bicubic",
                mean=mean,
            )
        except (AssertionError, KeyError, ValueError) as error:
            raise UsageError(f"--augment {policy}: timm cannot read it: {' '.join(str(error).split())}") from error
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
        """Augment image and scores with the same geometry."""
        key = int(rng.integers(2**31))
        with seeded(key):
            out = np.asarray(self._pixels(Image.fromarray(pixels))).transpose(1, 2, 0)
        if scores is None:
            return out, None
        with seeded(key):
            moved = np.asarray(self._scores(_as_image(scores, pixels.shape[:2])))[0]
        return out, _on_grid(moved, scores.shape)

    def identity(self) -> dict[str, Any]:
        """RandAugment's policy and the crop, JSON-able."""
        return dict(self._settings)


def _geometry_of(pipeline: Any) -> Any:
    """The same random pipeline, which draws the same numbers but leaves the colors unchanged."""
    twin = copy.deepcopy(pipeline)
    for step in twin.transforms:
        for op in step.ops if isinstance(step, RandAugment) else ():
            _only_move(op)
    return twin


def _only_move(op: AugmentOp) -> None:
    if op.name in GEOMETRIC:
        op.kwargs["fillcolor"] = (0, 0, 0)  # patches from outside the image rank last
    else:
        op.aug_fn = _unchanged


def _posterized(image: Image.Image, bits: int, **kwargs: Any) -> Image.Image:
    """Posterize to at least 1 bit: timm draws 0 to 4 bits per channel, and Pillow refuses 0."""
    return ImageOps.posterize(image, max(1, bits)) if bits < 8 else image


def _unchanged(image: Image.Image, *args: Any, **kwargs: Any) -> Image.Image:
    return image


def _as_image(scores: np.ndarray, size: tuple[int, ...]) -> Image.Image:
    """Ranks of the scores, scaled to 1 .. 255, as a gray image of (h, w) pixels: the pipeline takes 8-bit images."""
    ranks = np.argsort(np.argsort(scores.ravel(), kind="stable"), kind="stable") / max(1, scores.size - 1)
    gray = np.rint(1 + 254 * ranks).astype(np.uint8).reshape(scores.shape)
    return Image.fromarray(gray).resize((size[1], size[0]), Image.Resampling.NEAREST).convert("RGB")


def _on_grid(moved: np.ndarray, grid: tuple[int, ...]) -> np.ndarray:
    """[H, W] -> [gh, gw] float32: mean over each patch."""
    plane = torch.from_numpy(moved.astype(np.float32))[None, None]
    return F.adaptive_avg_pool2d(plane, (grid[0], grid[1]))[0, 0].numpy()


@contextmanager
def seeded(key: int, device: torch.device | None = None) -> Iterator[None]:
    """Seed the global generators that libraries draw from with `key`, and restore them at the end."""
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
