"""Decoding of images: EXIF is applied only if the annotations need it, and errors are one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.data.decoding import open_image, oriented, read_rgb

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
def test_exif_is_applied_if_only_then_the_size_fits(tmp_path: Path, orientation: int) -> None:
    with Image.open(jpeg(tmp_path / "a.jpg", orientation)) as image:
        turned = oriented(image, (16, 32))
    expected = np.zeros((32, 16), bool)
    expected[SIDEWAYS[orientation]] = True
    assert turned.size == (16, 32) and np.array_equal(red(turned), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_is_ignored_if_the_stored_size_fits(tmp_path: Path, orientation: int) -> None:
    with Image.open(jpeg(tmp_path / "a.jpg", orientation)) as image:
        same = oriented(image, (32, 16))
        assert np.array_equal(red(same), RAW[..., 0] > 128)


@pytest.mark.parametrize("orientation", [1, 2, 3, 4])
def test_other_orientations_are_never_applied(tmp_path: Path, orientation: int) -> None:
    with Image.open(jpeg(tmp_path / "a.jpg", orientation)) as image:
        same = oriented(image, (16, 32))
        assert same.size == (32, 16) and np.array_equal(red(same), RAW[..., 0] > 128)


def test_a_size_is_checked_after_exif(tmp_path: Path) -> None:
    path = jpeg(tmp_path / "a.jpg", 6)
    assert read_rgb(path).shape == (16, 32, 3)
    assert read_rgb(path, (32, 16)).shape == (16, 32, 3)
    assert read_rgb(path, (16, 32)).shape == (32, 16, 3)
    with pytest.raises(InputError, match=r"^image .*/a\.jpg has 16x32 pixels, its mask says 9x9$"):
        read_rgb(path, (9, 9), size_from="its mask says")


@pytest.mark.parametrize("size", [None, (4, 4)])
def test_missing_and_corrupt_files_are_one_line(tmp_path: Path, size: tuple[int, int] | None) -> None:
    path = tmp_path / "a.png"
    with pytest.raises(InputError, match=r"^image .*/a\.png is missing \(it is listed\)$"):
        read_rgb(path, size, listed_by=" (it is listed)")
    path.write_bytes(b"no image")
    with pytest.raises(InputError, match=r"^image .*/a\.png is corrupt: [^\n]+$"):
        read_rgb(path, size)


def test_errors_of_the_reader_pass_through(tmp_path: Path) -> None:
    def refuse(image: Image.Image) -> None:
        raise InputError("not this one")

    with pytest.raises(InputError, match=r"^not this one$"):
        open_image(jpeg(tmp_path / "a.jpg", 1), "mask", refuse)
