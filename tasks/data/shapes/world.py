"""`shapes`, the built-in data set: generated images with exact boxes, masks and categories.

An image depends on (seed, view, index) alone. A category is a pair of an outline and a texture. There are sixteen, in
which every outline and every texture occurs twice, once in each half. The first half is seen in fold 0, the second in
fold 1, so that only the conjunction of outline and texture separates seen from unseen, not either alone, nor size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.tasks.data.shapes.drawing import (
    OUTLINES,
    STUFF,
    TEXTURES,
    Rng,
    hsv,
    outline_area,
    paint,
    power_noise,
)

WORLD_VERSION = 1
SIZE = 96
PATCH = 8
MEAN = (0.44, 0.44, 0.44)
STD = (0.23, 0.23, 0.23)

_PAIRS = [(o, t) for shift in (0, 1) for o, t in zip(OUTLINES, TEXTURES[shift:] + TEXTURES[:shift], strict=True)]
CATEGORIES: tuple[str, ...] = tuple(f"{texture} {outline}" for outline, texture in _PAIRS)
"""The sixteen categories, first half first."""

WORLD_SEEDS = {"train": 1, "val": 1000, "test": 2000}
"""Seed of each split: models are trained on "train" and evaluated on "test"."""

# The bytes of an image depend on the position of its view in this tuple: append new views.
VIEWS = ("scenes", "single-label/0", "single-label/1", "single-object")
MOST_OBJECTS = 4
LEAST_VISIBLE = 0.5


def seen_categories(fold: int) -> frozenset[str]:
    """The eight categories of the label set `shapes-seen/FOLD`; UsageError unless the fold is 0 or 1."""
    if fold not in (0, 1):
        raise UsageError(f"shapes has folds 0 and 1, got {fold!r}")
    half = len(CATEGORIES) // 2
    return frozenset(CATEGORIES[fold * half : (fold + 1) * half])


@dataclass(frozen=True)
class ShapesImage:
    """One image and its exact ground truth.

    Attributes:
        image: [96, 96, 3] uint8 RGB.
        boxes: [n, 4] float64 (x, y, width, height) of the visible part of each object; 1 <= n <= 4.
        masks: [n, 96, 96] bool, visible part of each object.
        labels: [n] int64 indices into `CATEGORIES`.
        semantic: [96, 96] uint8, 0 = background, 1 + label elsewhere.
    """

    image: np.ndarray
    boxes: np.ndarray
    masks: np.ndarray
    labels: np.ndarray
    semantic: np.ndarray

    def seen_object(self, fold: int) -> int:
        """Position of the first object whose category is seen in `fold`; single-label views have exactly one."""
        half = len(CATEGORIES) // 2
        return int(np.flatnonzero(self.labels // half == fold)[0])


@dataclass(frozen=True)
class ShapesWorld:
    """Images by index, in any order, with the same bytes in every process.

    Args:
        seed: seed of the images; different seeds share no image.
        view: "scenes" for images with categories drawn from all sixteen (detection, segmentation, multi-label,
            unlabelled training); "single-label/FOLD" for images with exactly one object of a category seen in that
            fold, which is the label, and unseen ones besides; "single-object" for images with a single object of any
            category, which is the label.

    Raises:
        UsageError: an unknown view.
    """

    seed: int = 0
    view: str = "scenes"

    def __post_init__(self) -> None:
        if self.view not in VIEWS:
            raise UsageError(f"shapes has no view {self.view!r}; views are {', '.join(VIEWS)}")

    def image(self, index: int) -> ShapesImage:
        """The image at `index` (any integer >= 0)."""
        rng = np.random.Generator(np.random.PCG64([WORLD_VERSION, self.seed, VIEWS.index(self.view), index]))
        canvas = _background(rng)
        masks, labels = _place_objects(rng, canvas, self._draw_labels(rng))
        shade = 1 + 0.12 * power_noise(rng, SIZE, 2.0, 1)[0]
        canvas = canvas * shade[..., None] + 0.012 * rng.standard_normal(canvas.shape)
        image = np.rint(np.clip(canvas, 0, 1) * 255).astype(np.uint8)
        semantic = np.zeros((SIZE, SIZE), np.uint8)
        for mask, label in zip(masks, labels, strict=True):
            semantic[mask] = 1 + label
        return ShapesImage(image, _boxes(masks), masks, labels, semantic)

    def label(self, index: int) -> int:
        """Index into `CATEGORIES` of the only object, or of the only seen one; UsageError for "scenes"."""
        if self.view == "scenes":
            raise UsageError(
                "view 'scenes' has no single label; use 'single-label/0', 'single-label/1', 'single-object'"
            )
        image = self.image(index)
        if self.view == "single-object":
            return int(image.labels[0])
        return int(image.labels[image.seen_object(int(self.view[-1]))])

    def _draw_labels(self, rng: Rng) -> np.ndarray:
        half = len(CATEGORIES) // 2
        if self.view == "single-object":
            return rng.integers(0, 2 * half, 1)
        count = int(rng.integers(1, MOST_OBJECTS + 1))
        if self.view == "scenes":
            return rng.integers(0, 2 * half, count)
        fold = int(self.view[-1])
        labels = rng.integers(0, half, count) + (1 - fold) * half
        labels[rng.integers(count)] = rng.integers(0, half) + fold * half
        return labels


_Y, _X = np.mgrid[0:SIZE, 0:SIZE] + 0.5


def _background(rng: Rng) -> np.ndarray:
    """Three to five wavy regions, each with its own color, 1/f noise and stuff texture."""
    count = int(rng.integers(3, 6))
    sites = rng.uniform(0, SIZE, (count, 2))
    warp = 9 * power_noise(rng, SIZE, 2.2, 2)
    distance = np.hypot(_X + warp[0] - sites[:, :1, None], _Y + warp[1] - sites[:, 1:, None])
    region = distance.argmin(0)
    tone = power_noise(rng, SIZE, rng.uniform(0.9, 1.3), 1)[0]
    canvas = np.empty((SIZE, SIZE, 3))
    for r in range(count):
        inside = region == r
        stuff = STUFF[int(rng.integers(len(STUFF)))](rng, _X, _Y)[inside]
        base = hsv(rng.random(), rng.uniform(0.05, 0.75), rng.uniform(0.25, 0.85))
        towards = hsv(rng.random(), rng.uniform(0.0, 0.7), rng.uniform(0.1, 0.95)) - base
        towards *= rng.uniform(0.05, 0.4) / max(float(np.abs(towards).mean()), 0.05)
        canvas[inside] = base + stuff[:, None] * towards * 0.5 + (rng.uniform(0.03, 0.1) * tone[inside])[:, None]
    return canvas


def _place_objects(rng: Rng, canvas: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Draws objects into `canvas`, later ones over earlier ones; returns the visible masks and their labels."""
    masks: list[np.ndarray] = []
    # Together objects fill at most about a fifth of the image, so that a quarter of the patches can hold them.
    largest = 0.17 * SIZE * SIZE / len(labels)
    for label in labels:
        area = rng.uniform(0.4, 1.0) * min(largest, 0.10 * SIZE * SIZE)
        colours = np.stack([hsv(rng.random(), rng.uniform(0.2, 1), rng.uniform(0.2, 1)) for _ in range(3)])
        for _ in range(24):
            mask, window, u, v = _outline_mask(rng, int(label), area)
            if all((m & ~mask).sum() >= LEAST_VISIBLE * m.sum() for m in masks):
                break
        outline, texture = _PAIRS[int(label)]
        alpha = _soften(mask[window])[..., None]
        canvas[window] += alpha * (paint(texture, outline, u, v, colours) - canvas[window])
        masks = [m & ~mask for m in masks] + [mask]
    return np.stack(masks), np.asarray(labels, np.int64)


def _outline_mask(rng: Rng, label: int, area: float) -> tuple[np.ndarray, tuple[slice, slice], np.ndarray, np.ndarray]:
    """Draws a random pose of the category's outline, of which the border cuts off little.

    Returns:
        The mask, the window that contains it, and the object's coordinates u, v inside the window.
    """
    outline = _PAIRS[label][0]
    scale = np.sqrt(area / outline_area(outline))
    angle, margin = rng.uniform(0, 2 * np.pi), 0.45 * np.sqrt(area)
    cx, cy = rng.uniform(margin, SIZE - margin, 2)
    reach = 1.6 * scale + 2
    window = (
        slice(max(0, int(cy - reach)), min(SIZE, int(cy + reach) + 1)),
        slice(max(0, int(cx - reach)), min(SIZE, int(cx + reach) + 1)),
    )
    dx, dy = (_X[window] - cx) / scale, (_Y[window] - cy) / scale
    u, v = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
    mask = np.zeros((SIZE, SIZE), bool)
    mask[window] = OUTLINES[outline](u, v)
    return mask, window, u, v


def _soften(mask: np.ndarray) -> np.ndarray:
    """Blurs a mask by [1 2 1] / 4 along both axes, so that outlines do not alias."""
    padded = np.pad(mask.astype(np.float64), 1, mode="edge")
    rows = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    return (rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / 16


def _boxes(masks: np.ndarray) -> np.ndarray:
    """[n, 4] tight (x, y, width, height) boxes of [n, H, W] masks."""
    boxes = np.zeros((len(masks), 4))
    for i, mask in enumerate(masks):
        ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        boxes[i] = xs[0], ys[0], xs[-1] + 1 - xs[0], ys[-1] + 1 - ys[0]
    return boxes
