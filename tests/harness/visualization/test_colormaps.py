"""Colors of values, and dimmed pixels."""

from __future__ import annotations

import numpy as np

from ltrp_bench.harness.visualization.colormaps import apply_colormap, blank, dim_dropped, to_uint8


def test_equal_values_get_the_middle_color() -> None:
    flat, ends = apply_colormap(np.full((2, 2), 3.0), "viridis"), apply_colormap(np.array([0.0, 0.5, 1.0]), "viridis")
    assert (flat == ends[1]).all() and (ends[0] != ends[2]).any()


def test_a_given_range_sets_the_ends_and_clips() -> None:
    low, high = apply_colormap(np.array([0.0, 1.0]), "gray")
    assert low.tolist() == [0, 0, 0] and high.tolist() == [255, 255, 255]
    assert (apply_colormap(np.array([-5.0, 9.0]), "gray", low=0, high=2) == [low, high]).all()


def test_dropped_pixels_are_gray_and_kept_ones_unchanged() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    kept = np.zeros((6, 6), bool)
    kept[:3] = True
    pale, dark = dim_dropped(pixels, kept, "light"), dim_dropped(pixels, kept, "dark")
    assert (pale[kept] == pixels[kept]).all() and (dark[kept] == pixels[kept]).all()
    assert (np.ptp(pale[~kept], axis=-1) == 0).all()
    assert pale[~kept].min() >= 180 and dark[~kept].max() <= 87


def test_pixels_in_unit_range_become_bytes() -> None:
    assert to_uint8(np.array([-0.1, 0.0, 0.5, 1.0, 1.2])).tolist() == [0, 0, 128, 255, 255]
    assert blank(2, 3, "dark").tolist() == np.full((2, 3, 3), 45).tolist()
