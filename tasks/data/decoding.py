"""Decoding of image files: one-line errors, and the EXIF orientation that matches the annotations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps

from ltrp_bench.selectors.errors import InputError

T = TypeVar("T")

_ORIENTATION = 0x0112
_SIDEWAYS = (5, 6, 7, 8)  # orientations that swap width and height


def read_rgb(
    path: Path, size: tuple[int, int] | None = None, *, size_from: str = "", listed_by: str = ""
) -> np.ndarray:
    """[H, W, 3] uint8 RGB of an image file.

    Args:
        path: the image file.
        size: (width, height) that the annotations were made for: the image must have it, and EXIF is applied only if
            it fits no other way. None ignores EXIF and accepts any size.
        size_from: subject and verb for the error about a wrong size, "its annotation says".
        listed_by: appended to the error about a missing file, " (instances.json lists it)".

    Raises:
        InputError: the file is missing, corrupt or of another size.
    """
    if size is None:
        return open_image(path, "image", lambda image: np.asarray(image.convert("RGB")), listed_by)
    wanted = size

    def read(image: Image.Image) -> np.ndarray:
        decoded = oriented(image, wanted)
        if decoded.size != wanted:
            raise InputError(
                f"image {path} has {decoded.size[0]}x{decoded.size[1]} pixels, {size_from} {wanted[0]}x{wanted[1]}"
            )
        return np.asarray(decoded.convert("RGB"))

    return open_image(path, "image", read, listed_by)


def oriented(image: Image.Image, wanted: tuple[int, int]) -> Image.Image:
    """The decoded image, rotated by its EXIF orientation only if that gives the `wanted` (width, height).

    If neither orientation has the wanted size, the image comes back in another size, which the caller reports.
    """
    image.load()
    if image.size != wanted and image.getexif().get(_ORIENTATION) in _SIDEWAYS:
        return ImageOps.exif_transpose(image)
    return image


def open_image(path: Path, kind: str, read: Callable[[Image.Image], T], listed_by: str = "") -> T:
    """Opens an image file and returns `read` of it.

    Args:
        path: the image file.
        kind: "image" or "mask", for error messages.
        read: decodes the open image.
        listed_by: appended to the error about a missing file.

    Raises:
        InputError: the file is missing or cannot be decoded; one line. InputErrors of `read` pass through.
    """
    try:
        with Image.open(path) as image:
            return read(image)
    except FileNotFoundError:
        raise InputError(f"{kind} {path} is missing{listed_by}") from None
    except InputError:
        raise
    except Exception as error:  # decoders raise exceptions of any type
        raise InputError(f"{kind} {path} is corrupt: {str(error) or type(error).__name__}") from None
