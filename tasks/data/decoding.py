"""Decoding of image files: errors in one line, and the EXIF orientation that annotations were made in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from PIL import Image, ImageOps

from ltrp_bench.selectors.errors import InputError

T = TypeVar("T")

_ORIENTATION = 0x0112
_SIDEWAYS = (5, 6, 7, 8)  # orientations that swap width and height


def oriented(image: Image.Image, wanted: tuple[int, int]) -> Image.Image:
    """The decoded image, turned as EXIF says only where its annotations' size (width, height) asks for it.

    An image that fits neither way comes back in a size that is not `wanted`: the caller says what is wrong.
    """
    image.load()
    if image.size != wanted and image.getexif().get(_ORIENTATION) in _SIDEWAYS:
        return ImageOps.exif_transpose(image)
    return image


def open_image(path: Path, kind: str, use: Callable[[Image.Image], T]) -> T:
    """What `use` makes of an image file; InputError in one line for any trouble, `kind` ("mask", "image") in it."""
    try:
        with Image.open(path) as image:
            return use(image)
    except FileNotFoundError:
        raise InputError(f"{kind} {path} is missing") from None
    except InputError:
        raise
    except Exception as error:  # decoders raise whatever they like
        raise InputError(f"{kind} {path} is corrupt: {str(error) or type(error).__name__}") from None
