"""EXIF orientation of JPEGs: followed where the annotations' size asks for it, else left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ltrp_bench.tasks.data.decoding import oriented

RAW = np.zeros((16, 32, 3), np.uint8)
RAW[:8, :16] = (255, 0, 0)  # stored: 32 wide, 16 high; the upper left quarter is red
LEFT, RIGHT, UPPER, LOWER = slice(0, 8), slice(8, 16), slice(0, 16), slice(16, 32)
# Where EXIF's orientation puts the stored upper left corner: its row 0 and column 0 are named in the standard.
SIDEWAYS = {5: (UPPER, LEFT), 6: (UPPER, RIGHT), 7: (LOWER, RIGHT), 8: (LOWER, LEFT)}


def jpeg(path: Path, orientation: int) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(RAW).save(path, exif=exif, quality=100, subsampling=0)
    return path


def red(image: Image.Image) -> np.ndarray:
    pixels = np.asarray(image.convert("RGB")).astype(int)
    return pixels[..., 0] > 128


@pytest.mark.parametrize("orientation", SIDEWAYS)
def test_a_sideways_jpeg_is_turned_where_only_then_its_size_fits(tmp_path: Path, orientation: int) -> None:
    with Image.open(jpeg(tmp_path / "a.jpg", orientation)) as image:
        turned = oriented(image, (16, 32))
    expected = np.zeros((32, 16), bool)
    expected[SIDEWAYS[orientation]] = True
    assert turned.size == (16, 32) and np.array_equal(red(turned), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_whose_stored_size_fits_is_left_alone(tmp_path: Path, orientation: int) -> None:
    with Image.open(jpeg(tmp_path / "a.jpg", orientation)) as image:
        same = oriented(image, (32, 16))
        assert np.array_equal(red(same), RAW[..., 0] > 128)


@pytest.mark.parametrize("orientation", [1, 2, 3, 4])
def test_who_is_not_sideways_is_never_turned(tmp_path: Path, orientation: int) -> None:
    with Image.open(jpeg(tmp_path / "a.jpg", orientation)) as image:
        same = oriented(image, (16, 32))
        assert same.size == (32, 16) and np.array_equal(red(same), RAW[..., 0] > 128)
