"""Decoding of image files, for all data sets, `show` and `train`: 8-bit RGB, orientation, size limit, one-line errors.

Samples with more than 8 bits are scaled by the range of their type, as OpenCV's IMREAD_COLOR does, never by what an
image happens to hold: so all images of a data set are scaled alike. Where that range is not known, the image is
refused. Alpha is dropped and CMYK is converted without a profile, as torchvision, timm and OpenCV do. Masks hold class
numbers and are never scaled.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.data.class_masks.colors import Colors, values_of_colors

T = TypeVar("T")

MAX_PIXELS: Final = 178_956_970
"""Default limit of an image's pixels: Pillow's own."""

_ORIENTATION = 0x0112
_SIDEWAYS = (5, 6, 7, 8)  # orientations that swap width and height
_TIFF_BITS, _TIFF_PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0
_LIMIT_VARIABLE = "LTRP_BENCH_MAX_PIXELS"
_DEEP_SUFFIXES = (".png", ".tif", ".tiff", ".pgm", ".ppm")
_MASK_MODES = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L")
_LOSSY_FORMATS = ("JPEG", "MPO")

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", message="Palette images with Transparency")


def limit_pixels(count: int) -> None:
    """Sets the number of pixels beyond which images are refused, in this process and those that it starts."""
    os.environ[_LIMIT_VARIABLE] = str(count)
    _apply_limit()


def _apply_limit() -> None:
    count = os.environ.get(_LIMIT_VARIABLE, "")
    if count.isdecimal():
        Image.MAX_IMAGE_PIXELS = -(-int(count) // 2)  # Pillow refuses images of more than twice this number


_apply_limit()


def read_rgb(
    path: Path,
    size: tuple[int, int] | None = None,
    *,
    size_from: str = "",
    listed_by: str = "",
    upright: bool = False,
    draft: tuple[int, int] | None = None,
) -> np.ndarray:
    """[H, W, 3] uint8 RGB of an image file.

    Args:
        path: the image file.
        size: (width, height) that the annotations were made for: the image must have it, and EXIF is applied only if
            it fits no other way. None accepts any size.
        size_from: subject and verb for the error about a wrong size, "its annotation says".
        listed_by: appended to the error about a missing file, " (instances.json lists it)".
        upright: apply the EXIF orientation, as image viewers do; with `size`, only if that gives it.
        draft: (width, height) that is enough: a larger JPEG may be decoded at a fraction of its size.

    Raises:
        InputError: the file is missing, corrupt, too large, of another size, or its samples have no known range.
    """

    def read(image: Image.Image) -> np.ndarray:
        if draft is not None:
            image.draft("RGB", draft)
        if size is not None:
            image = oriented(image, size, upright=upright)
            if image.size != size:
                raise InputError(
                    f"image {path} has {image.size[0]}x{image.size[1]} pixels, {size_from} {size[0]}x{size[1]}"
                )
        decoded = to_rgb(image, path)
        if upright and size is None:
            decoded.getexif().update(image.getexif())
            decoded = ImageOps.exif_transpose(decoded)
        return np.asarray(decoded)

    return open_image(path, "image", read, listed_by)


def to_rgb(image: Image.Image, path: Path) -> Image.Image:
    """The image as 8-bit RGB; InputError, naming `path`, where the range of its samples is not known."""
    deep = any(";16" in str(tile[3]) for tile in getattr(image, "tile", []))
    image.load()
    if image.mode in ("RGBa", "La"):  # premultiplied alpha
        return image.convert("RGBA" if image.mode == "RGBa" else "LA").convert("RGB")
    if not image.mode.startswith(("I", "F")):
        if deep and not np.asarray(image.convert("RGB")).any():
            raise InputError(
                f"image {path} has 16 bits a sample, of which the highest 8 are 0 in the whole image: it would be all "
                "black; if its range is 0 to 255, convert it to 8 bits"
            )
        return image.convert("RGB")
    values = np.asarray(image)
    grey = _grey_of_floats(values, path) if image.mode == "F" else _grey_of_integers(values, image, path)
    if _tag(image, _TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO:
        grey = 255 - grey
    return Image.fromarray(grey).convert("RGB")


def _grey_of_integers(values: np.ndarray, image: Image.Image, path: Path) -> np.ndarray:
    """8-bit grey of samples of 9 to 16 bits: their highest 8 bits, as libpng and OpenCV have it."""
    bits = _tag(image, _TIFF_BITS) or 16
    if image.mode == "I" and (image.format not in ("PNG", "PPM") or values.min() < 0 or values.max() > 65535):
        raise InputError(
            f"image {path} holds integers of {bits if bits > 16 else 'more than 16'} bits or with a sign, for which "
            "black and white are not known: convert it to 8 or 16 bits"
        )
    if bits == 16 and 0 < values.max() < 256:
        raise InputError(
            f"image {path} has 16 bits a sample, but none above {values.max()}: it would be all black; if its range "
            "is 0 to 255, convert it to 8 bits"
        )
    return (values.astype(np.uint16) >> (bits - 8)).astype(np.uint8)


def _grey_of_floats(values: np.ndarray, path: Path) -> np.ndarray:
    """8-bit grey of floating-point samples in [0, 1]."""
    if not (values.min() >= 0 and values.max() <= 1):
        raise InputError(
            f"image {path} holds floating-point numbers from {values.min():g} to {values.max():g}: only 0 (black) to "
            "1 (white) are known; scale them, or convert the image to 8 or 16 bits"
        )
    return np.round(values * 255).astype(np.uint8)


def _tag(image: Image.Image, number: int) -> int | None:
    """First value of a TIFF tag; None in other formats."""
    from PIL.TiffImagePlugin import TiffImageFile

    value = image.tag_v2.get(number) if isinstance(image, TiffImageFile) else None
    return value[0] if isinstance(value, tuple) else value


def revision_tag(images: Iterable[Path], masks: Iterable[Path] = ()) -> bytes:
    """Part of a data set's revision: not empty if version 0.1 decoded one of its files to other values.

    These are grey images of more than 8 bits, and grey masks of 2 or 4. Only headers are read, and none of JPEGs.
    """
    deep = any(_has_deep_grey(path) for path in images if path.suffix.lower() in _DEEP_SUFFIXES)
    small = any(_png_grey_bits(path) in (2, 4) for path in masks)
    return b"deep grey" * deep + b"grey masks" * small


def _has_deep_grey(path: Path) -> bool:
    if path.suffix.lower() == ".png":
        return _png_grey_bits(path) == 16
    try:
        with Image.open(path) as image:
            return image.mode.startswith(("I", "F"))
    except Exception:  # reported when the image is read
        return False


def _png_grey_bits(path: Path) -> int | None:
    """Bits per sample of a grey PNG; None for other files."""
    try:
        with path.open("rb") as file:
            head = file.read(26)
    except OSError:
        return None
    return head[24] if head.startswith(b"\x89PNG\r\n\x1a\n") and len(head) == 26 and head[25] == 0 else None


def oriented(image: Image.Image, wanted: tuple[int, int], *, upright: bool = False) -> Image.Image:
    """The decoded image, rotated by its EXIF orientation only if that alone gives the `wanted` (width, height).

    With `upright`, it is also rotated if both orientations have that size. If neither has it, the image comes back in
    another size, which the caller reports.
    """
    image.load()
    sideways = image.getexif().get(_ORIENTATION) in _SIDEWAYS
    fits = image.size == (wanted[::-1] if sideways else wanted)
    if (sideways and image.size != wanted) or (upright and fits):
        return ImageOps.exif_transpose(image)
    return image


def read_mask(path: Path, colors: Colors | None = None) -> np.ndarray:
    """[H, W] integer pixel values of a class-index image as stored; palette indices for a palette image.

    Several equal channels count as one, as do floating-point numbers that are whole.

    Args:
        path: the mask.
        colors: values of the colors of a colored mask.

    Raises:
        InputError: the file is missing, corrupt or lossy, or its channels or numbers are no class numbers.
    """

    def values(image: Image.Image) -> np.ndarray:
        if image.format in _LOSSY_FORMATS:
            raise InputError(f"mask {path} is a JPEG, which does not keep class numbers: store masks as PNG")
        if image.mode not in _MASK_MODES:
            return _unusual_mask(image, path, colors)
        step = _grey_step(image)
        found = np.asarray(image)
        return found.astype(np.uint8) if image.mode == "1" else found // np.uint8(step) if step > 1 else found

    return open_image(path, "mask", values)


def is_colored(path: Path) -> bool:
    """True if an image file has several channels; only its header is read. False if it cannot be read."""
    try:
        with Image.open(path) as image:
            return image.mode in ("RGB", "RGBA")
    except Exception:  # reported when the mask is used
        return False


def _unusual_mask(image: Image.Image, path: Path, colors: Colors | None) -> np.ndarray:
    """Values of a mask of several channels or of floating-point numbers."""
    found = np.asarray(image)
    if image.mode == "F" and (found == np.floor(found)).all() and np.abs(found).max() < 2**31:
        return found.astype(np.int32)
    if image.mode in ("LA", "RGB", "RGBA") and (image.mode[-1] != "A" or (found[..., -1] == 255).all()):
        channels = found[..., :3] if image.mode != "LA" else found[..., :1]
        first = channels[..., 0]
        equal = bool((channels == first[..., None]).all())
        if equal and not (colors and all((v, v, v) in colors for v in np.unique(first).tolist())):
            return first
        if colors:
            return values_of_colors(channels, colors, path)
    raise InputError(
        f"mask {path} is an image of mode {image.mode}; a class mask has one channel that holds class numbers "
        "(colored masks and panoptic PNGs must be converted first)"
    )


def _grey_step(image: Image.Image) -> int:
    """Factor by which Pillow scales grey of 2 or 4 bits to 8 while it decodes: 85 or 17; else 1."""
    raw_modes = " ".join(str(tile[3]) for tile in getattr(image, "tile", []))
    found = re.search(r"\bL;([24])", raw_modes) if image.mode == "L" else None
    return 255 // (2 ** int(found[1]) - 1) if found else 1


def open_image(path: Path, kind: str, read: Callable[[Image.Image], T], listed_by: str = "") -> T:
    """Opens an image file and returns `read` of it.

    Args:
        path: the image file.
        kind: "image" or "mask", for error messages.
        read: decodes the open image.
        listed_by: appended to the error about a missing file.

    Raises:
        InputError: the file is missing, too large or cannot be decoded; one line. InputErrors of `read` pass through.
    """
    try:
        with Image.open(path) as image:
            return read(image)
    except FileNotFoundError:
        raise InputError(f"{kind} {path} is missing{listed_by}") from None
    except InputError:
        raise
    except (IsADirectoryError, PermissionError) as error:
        raise InputError(f"cannot read {kind} {path}: {error.strerror}") from None
    except Image.DecompressionBombError as error:
        pixels, limit = (re.findall(r"\d+", str(error)) + ["more"] * 2)[:2]
        raise InputError(
            f"{kind} {path} has {pixels} pixels, the limit is {limit}: raise it with --max-pixels, or reduce the {kind}"
        ) from None
    except UnidentifiedImageError:
        raise InputError(f"{kind} {path} {_nature(path)}") from None
    except Exception as error:  # decoders raise exceptions of any type
        raise InputError(f"{kind} {path} is corrupt: {str(error) or type(error).__name__}") from None


_NATURES: Final[tuple[tuple[bytes, str], ...]] = (
    (rb"version https://git-lfs", "is a git-lfs pointer: fetch the image itself with git lfs pull"),
    (rb"<!doctype html|<html", "is a web page: download the image again"),
    (rb"<svg|<\?xml[^>]*>\s*(<![^>]*>\s*)*<svg", "is a drawing (SVG): convert it to PNG"),
    (rb"<", "is XML, perhaps the error of a server: download the image again"),
    (rb"ii\*\0|mm\0\*", "is a TIFF of a kind that Pillow does not read: convert it to 8 bits a sample"),
    (rb".{4}ftyp(heic|heix|hevc|mif1|msf1)", "is of the format HEIC, which is not read: convert it to JPEG or PNG"),
    (rb"\x1f\x8b|pk\x03\x04|rar!|7z\xbc", "is an archive: unpack it"),
    (rb"\x93numpy", "is an array of NumPy: convert it to PNG"),
    (rb"#\?radiance|\x76\x2f\x31\x01", "is of a high dynamic range, which is not read: convert it to 8 or 16 bits"),
    (rb"[\t\n\r -~]+\Z", "is corrupt: it holds text, perhaps the error of a server; download the image again"),
)
"""What the first bytes of a file are, in lower case, and what to do about it."""


def _nature(path: Path) -> str:
    """What a file is that is no image which Pillow knows, for error messages."""
    with path.open("rb") as file:
        begin = file.read(256).lower()
    if not begin.strip():
        return "is empty"
    found = next((text for start, text in _NATURES if re.match(start, begin.lstrip(), re.DOTALL)), None)
    return found or "is corrupt: its first bytes are of no image format that Pillow reads"
