"""Decoding of images: EXIF is applied only if the annotations need it, and errors are one line."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_png import save_grey_png

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.data.decoding import limit_pixels, open_image, oriented, read_mask, read_rgb, revision_tag

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


def test_colors_of_sixteen_bits_whose_high_bits_are_empty(tmp_path: Path) -> None:
    import cv2

    pixels = np.arange(48, dtype=np.uint16).reshape(4, 4, 3)
    cv2.imwrite(str(tmp_path / "deep.png"), pixels * 256)
    np.testing.assert_array_equal(read_rgb(tmp_path / "deep.png"), pixels[..., ::-1])
    cv2.imwrite(str(tmp_path / "dark.png"), pixels)
    with pytest.raises(InputError, match=r"dark\.png has 16 bits a sample, of which the highest 8 are 0"):
        read_rgb(tmp_path / "dark.png")


def test_masks_of_several_channels_and_of_floating_point_numbers(tmp_path: Path) -> None:
    values = np.array([[0, 3, 255]], np.uint8)
    for name, pixels in (("rgb.png", np.dstack([values] * 3)), ("f.tif", values.astype(np.float32))):
        Image.fromarray(pixels).save(tmp_path / name)
        np.testing.assert_array_equal(read_mask(tmp_path / name), values)
    Image.fromarray(np.dstack([values] * 3 + [values])).save(tmp_path / "transparent.png")
    Image.fromarray(np.array([[0.5]], np.float32)).save(tmp_path / "half.tif")
    for name in ("transparent.png", "half.tif"):
        with pytest.raises(InputError, match=r"a class mask has one channel that holds class numbers"):
            read_mask(tmp_path / name)


def test_errors_of_the_reader_pass_through(tmp_path: Path) -> None:
    def refuse(image: Image.Image) -> None:
        raise InputError("not this one")

    with pytest.raises(InputError, match=r"^not this one$"):
        open_image(jpeg(tmp_path / "a.jpg", 1), "mask", refuse)


RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)


def save_tiff(path: Path, data: bytes, bits: int, photometric: int) -> Path:
    """Writes a 16x16 TIFF of unsigned integers of any number of bits."""
    tags = ((256, 16), (257, 16), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1), (278, 16))
    tags += ((279, len(data)),)
    entries = b"".join(struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, value) for tag, value in tags)
    end = 8 + len(data)
    body = data + struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    path.write_bytes(b"II*\0" + struct.pack("<I", end) + body)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_16_bits_are_scaled_by_their_range(tmp_path: Path, name: str) -> None:
    values = RAMP.astype(np.uint16) * 256 + RAMP[::-1]
    Image.fromarray(values).save(tmp_path / name)
    assert np.array_equal(read_rgb(tmp_path / name), np.dstack([RAMP] * 3))


def test_other_depths_of_tiff(tmp_path: Path) -> None:
    twelve = RAMP.astype(np.uint16).ravel() * 16 + 5
    packed = bytes(b for x, y in zip(twelve[::2], twelve[1::2], strict=True) for b in _pair(int(x), int(y)))
    assert np.array_equal(read_rgb(save_tiff(tmp_path / "a.tif", packed, 12, 1))[..., 0], RAMP)
    inverted = (65535 - RAMP.astype("<u2") * 256).tobytes()
    assert np.array_equal(read_rgb(save_tiff(tmp_path / "b.tif", inverted, 16, 0))[..., 0], RAMP)
    Image.fromarray((RAMP / 255).astype(np.float32)).save(tmp_path / "c.tif")
    assert np.array_equal(read_rgb(tmp_path / "c.tif")[..., 0], RAMP)


def _pair(x: int, y: int) -> tuple[int, int, int]:
    """Two samples of 12 bits in three bytes."""
    return x >> 4, (x & 15) << 4 | y >> 8, y & 255


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (RAMP.astype(np.int32), "holds integers of 32 bits or with a sign, for which black and white are not known"),
        (RAMP.astype(np.float32), r"holds floating-point numbers from 0 to 255: only 0 \(black\) to 1 \(white\)"),
        (RAMP.astype(np.float32) - 1, "holds floating-point numbers from -1 to 254"),
        (np.full((2, 2), np.nan, np.float32), "holds floating-point numbers from nan to nan"),
        (RAMP.astype(np.uint16), "has 16 bits a sample, but none above 255: it would be all black"),
    ],
)
def test_samples_of_unknown_range_are_refused(tmp_path: Path, values: np.ndarray, message: str) -> None:
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match=rf"^image .*/a\.tif {message}[^\n]*$"):
        read_rgb(tmp_path / "a.tif")


def test_black_of_16_bits_is_black(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((2, 2), np.uint16)).save(tmp_path / "a.png")
    assert not read_rgb(tmp_path / "a.png").any()


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_sub_byte_grey_is_scaled_in_images_and_not_in_masks(tmp_path: Path, bits: int) -> None:
    values = RAMP % 2**bits
    path = save_grey_png(tmp_path / "a.png", values, bits)
    assert np.array_equal(read_rgb(path)[..., 0], values * (255 // (2**bits - 1)))
    assert np.array_equal(read_mask(path), values) and read_mask(path).dtype == np.uint8


def test_palettes_alpha_and_cmyk(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    palette = Image.fromarray(np.array([[0, 1], [2, 2]], np.uint8), "P")
    palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    for transparency in (None, 1):
        palette.save(path, transparency=transparency, bits=2)
        assert read_rgb(path).tolist() == [[[10, 20, 30], [40, 50, 60]], [[70, 80, 90]] * 2]
        assert read_mask(path).tolist() == [[0, 1], [2, 2]]
    Image.new("RGBA", (2, 2), (1, 2, 3, 0)).save(path)
    assert np.all(read_rgb(path) == (1, 2, 3))
    Image.new("LA", (2, 2), (7, 0)).save(path)
    assert np.all(read_rgb(path) == 7)
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    assert np.all(np.abs(read_rgb(tmp_path / "a.jpg").astype(int) - (255, 0, 0)) <= 2)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_images_are_turned_as_the_standard_says(tmp_path: Path, orientation: int) -> None:
    rows, columns = {
        **{1: (slice(0, 8), slice(0, 16)), 2: (slice(0, 8), slice(16, 32))},
        **{3: (slice(8, 16), slice(16, 32)), 4: (slice(8, 16), slice(0, 16))},
        **SIDEWAYS,
    }[orientation]
    found = read_rgb(jpeg(tmp_path / "a.jpg", orientation), upright=True)
    expected = np.zeros(found.shape[:2], bool)
    expected[rows, columns] = True
    assert found.shape == ((32, 16, 3) if orientation > 4 else (16, 32, 3))
    assert np.array_equal(found[..., 0] > 128, expected)


def test_16_bit_images_are_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RAMP[:8].astype(np.uint16) * 257).save(tmp_path / "a.png", exif=exif)
    turned = np.rot90(RAMP[:8], -1)
    assert np.array_equal(read_rgb(tmp_path / "a.png", upright=True)[..., 0], turned)
    assert np.array_equal(read_rgb(tmp_path / "a.png", (8, 16))[..., 0], turned)


def test_masks_are_lossless_and_of_one_channel(tmp_path: Path) -> None:
    values = RAMP.astype(np.uint16) * 3
    Image.fromarray(values).save(tmp_path / "a.png")
    assert np.array_equal(read_mask(tmp_path / "a.png"), values)
    Image.fromarray(RAMP).save(tmp_path / "a.jpg")
    with pytest.raises(InputError, match=r"^mask .*a\.jpg is a JPEG, which does not keep class numbers"):
        read_mask(tmp_path / "a.jpg")
    Image.fromarray(RAW).save(tmp_path / "b.png")
    with pytest.raises(InputError, match="is an image of mode RGB; a class mask has one channel"):
        read_mask(tmp_path / "b.png")


def test_large_images_have_a_limit_and_a_message_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(RAMP).save(path)
    limit_pixels(254)
    with pytest.raises(InputError, match=r"^image .*a\.png has 256 pixels, the limit is 254: raise it with --max"):
        read_rgb(path)
    limit_pixels(256)
    assert read_rgb(path).shape == (16, 16, 3)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "is empty"),
        (b"<svg xmlns='x'/>", "is a drawing"),
        (b"<?xml version='1.0'?><Error/>", "is XML, perhaps the error of a server"),
        (b"\0\0\0\x18ftypheic\0\0", "is of the format HEIC"),
        (b"PK\3\4\0", "is an archive"),
        (b"\x93NUMPY\1\0", "is an array of NumPy"),
        (b"Not Found", "is corrupt: it holds text"),
        (b"\xff\0\1\2", "is corrupt: its first bytes"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a git-lfs pointer"),
        (b"\n<!DOCTYPE html><html>", "is a web page"),
        (b"II*\0\0\0\0\0", "is a TIFF of a kind that Pillow does not read"),
    ],
)
def test_files_that_are_no_images_are_named(tmp_path: Path, raw: bytes, message: str) -> None:
    (tmp_path / "a.jpg").write_bytes(raw)
    with pytest.raises(InputError, match=rf"^image .*/a\.jpg {message}[^\n]*$"):
        read_rgb(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").mkdir()
    with pytest.raises(InputError, match=r"^cannot read image .*/b\.jpg: Is a directory$"):
        read_rgb(tmp_path / "b.jpg")


@pytest.mark.parametrize("orientation", [2, 3, 4])
def test_orientations_that_keep_the_size_are_applied_on_request(tmp_path: Path, orientation: int) -> None:
    path = jpeg(tmp_path / "a.jpg", orientation)
    turned = {2: RAW[:, ::-1], 3: RAW[::-1, ::-1], 4: RAW[::-1]}[orientation]
    found = read_rgb(path, (32, 16), upright=True)
    assert np.array_equal(found[..., 0] > 128, turned[..., 0] > 128)
    with pytest.raises(InputError, match="has 32x16 pixels"):
        read_rgb(path, (16, 32), upright=True)


def test_the_revision_tells_files_that_were_decoded_otherwise(tmp_path: Path) -> None:
    names = ("a.png", "b.png", "c.jpg", "d.tif", "missing.png")
    paths = [tmp_path / name for name in names]
    Image.fromarray(RAMP).save(paths[0])
    Image.fromarray(RAW).save(paths[1])
    Image.fromarray(RAMP).save(paths[2])
    Image.fromarray(RAMP).save(paths[3])
    assert revision_tag(paths, paths) == b""
    small = save_grey_png(tmp_path / "s.png", RAMP % 4, 2)
    assert revision_tag([*paths, small], paths) == b"" and revision_tag(paths, [*paths, small]) == b"grey masks"
    Image.fromarray(RAMP.astype(np.uint16)).save(paths[0])
    assert revision_tag(paths, paths) == b"deep grey"
    Image.fromarray(RAMP).save(paths[0])
    Image.fromarray(RAMP.astype(np.float32)).save(paths[3])
    assert revision_tag(paths) == b"deep grey"
