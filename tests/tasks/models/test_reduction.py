from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.models.reduction import downsampled_size, fill, patch_grid


@given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 16), st.integers(0, 99))
def test_kept_pixels_stay_and_dropped_ones_are_the_mean(h: int, w: int, patch: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (h, w, 3), np.uint8)
    keep = rng.random(patch_grid(h, w, patch)) < 0.5
    mean = (123.675, 116.28, 103.53)
    out = fill(image, keep, patch, mean)
    for i, j in np.ndindex(*keep.shape):
        cell = (slice(i * patch, (i + 1) * patch), slice(j * patch, (j + 1) * patch))
        if keep[i, j]:
            np.testing.assert_array_equal(out[cell], image[cell])
        else:
            # Exactly zero behind the model's own normalisation, in its own precision.
            assert not (out[cell] - np.asarray(mean, np.float32)).any()
    assert out.dtype == np.float32


def test_the_input_is_left_alone_and_a_wrong_grid_refused() -> None:
    image = np.full((20, 20, 3), 7, np.uint8)
    fill(image, np.zeros((2, 2), bool), 16, (0, 0, 0))
    assert (image == 7).all()
    with pytest.raises(InputError, match="3x3 patches does not fit"):
        fill(image, np.zeros((3, 3), bool), 16, (0, 0, 0))


@given(st.integers(1, 2000), st.integers(1, 2000), st.floats(0.01, 1))
def test_downsampling_spends_the_same_share(h: int, w: int, ratio: float) -> None:
    a, b = downsampled_size(h, w, ratio)
    assert 1 <= a <= h and 1 <= b <= w
    if min(a, b) > 50:
        assert a * b == pytest.approx(ratio * h * w, rel=0.03)
    assert downsampled_size(h, w, 1.0) == (h, w)


def test_a_ratio_of_zero_is_refused() -> None:
    with pytest.raises(UsageError):
        downsampled_size(10, 10, 0.0)
