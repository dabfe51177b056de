"""Areas of masks in patches, exact where patch borders cut pixels."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


def even_edges(pixels: int, parts: int) -> tuple[float, ...]:
    """Borders of `parts` equal parts of an axis of `pixels` pixels."""
    return tuple(float(e) for e in np.arange(parts + 1) * (pixels / parts))


def patch_edges(pixels: int, content: int, patch: int) -> tuple[float, ...]:
    """Borders of patches of `patch` pixels on an image resized to `content`, in pixels of the original axis.

    There are ceil(content / patch) patches; the last one ends with the image.
    """
    parts = -(-content // patch)
    edges = np.minimum(np.arange(parts + 1) * patch, content) * (pixels / content)
    return tuple(float(e) for e in edges)


@lru_cache(maxsize=512)
def _overlaps(pixels: int, edges: tuple[float, ...]) -> np.ndarray:
    """[parts, pixels] float64: length of each pixel that lies between each two adjacent edges."""
    border, start = np.asarray(edges)[:, None], np.arange(pixels)
    return np.clip(np.minimum(border[1:], start + 1) - np.maximum(border[:-1], start), 0, None)


def patch_areas(mask: np.ndarray, rows: tuple[float, ...], columns: tuple[float, ...]) -> np.ndarray:
    """[gh, gw] float64: area of a [H, W] mask in each patch, in pixels; they add up to the mask's.

    Args:
        mask: of 0 and 1.
        rows, columns: the gh + 1 and gw + 1 borders, from 0 to H and W.
    """
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(ys):
        return np.zeros((len(rows) - 1, len(columns) - 1))
    down, across = slice(ys[0], ys[-1] + 1), slice(xs[0], xs[-1] + 1)
    left = _overlaps(mask.shape[0], rows)[:, down]
    right = _overlaps(mask.shape[1], columns)[:, across]
    return left @ mask[down, across].astype(np.float64) @ right.T


def covered_share(mask: np.ndarray, rows: tuple[float, ...], columns: tuple[float, ...]) -> np.ndarray:
    """[gh, gw] float32 in [0, 1]: share of each patch that a [H, W] mask covers."""
    parts = np.diff(rows)[:, None] * np.diff(columns)[None]
    return np.clip(patch_areas(mask, rows, columns) / parts, 0, 1).astype(np.float32)


def coverage_scores(areas: np.ndarray) -> np.ndarray:
    """Oracle scores for the mean coverage of objects: the k patches of highest score maximize it.

    Mean coverage is the sum of these values over the kept patches, up to a factor, so no other k patches cover more.

    Args:
        areas: [n, gh, gw] area of each object or segment in each patch, in whole pixels altogether.

    Returns:
        [gh, gw] float32 in [0, 1]: sum over objects of the share of each that lies in a patch, over its maximum.
    """
    flat = areas.reshape(len(areas), areas.shape[1] * areas.shape[2])
    scores = (flat / np.maximum(flat.sum(axis=1, keepdims=True), 1)).sum(axis=0).reshape(areas.shape[1:])
    return (scores / max(scores.max(), np.finfo(float).tiny)).astype(np.float32)
