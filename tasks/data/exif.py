"""Whether a picture is turned as its EXIF says: annotations are made on stored pixels or on turned ones."""

from __future__ import annotations

from PIL import Image, ImageOps

_ORIENTATION = 0x0112
_SIDEWAYS = (5, 6, 7, 8)  # orientations that swap width and height


def oriented(image: Image.Image, wanted: tuple[int, int]) -> Image.Image:
    """The decoded picture, turned as EXIF says only where its annotations' size (width, height) asks for it.

    A picture that fits neither way comes back in a size that is not `wanted`: the caller says what is wrong.
    """
    image.load()
    if image.size != wanted and image.getexif().get(_ORIENTATION) in _SIDEWAYS:
        return ImageOps.exif_transpose(image)
    return image
