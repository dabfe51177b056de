"""EXIF orientations that annotated sizes do not decide: half turns, mirrored images, and square ones.

Whether an orientation was applied before an image was annotated shows where width and height differ and are swapped. An
image that is turned upside down or mirrored, or is square, has the same size either way. The other images of the data
set then tell: programs apply the orientation to all images or to none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from PIL import Image

from ltrp_bench.tasks.data.files.text import printable

Exif = Literal["auto", "apply", "ignore"]
"""What to do about an EXIF orientation that the annotated size does not decide."""
Size = tuple[int, int]

_ORIENTATION: Final = 0x0112
_SIDEWAYS: Final = (5, 6, 7, 8)
_MARKERS: Final = (b"Exif\0\0", b"eXIf")
_TIFF: Final = (b"II*\0", b"MM\0*")
_WEBP_EXIF: Final = 8  # bit of the flags in a WebP's extended header


@dataclass(frozen=True, kw_only=True)
class Orientations:
    """The decision for a data set.

    Attributes:
        applied: images to be turned though their size would fit without.
        assumptions: a line if something was assumed.
    """

    applied: frozenset[Path] = frozenset()
    assumptions: tuple[str, ...] = ()

    def revision(self, revision: str) -> str:
        """The revision of the data set: as given, unless such images are turned."""
        return hashlib.sha256(f"{revision}, EXIF applied".encode()).hexdigest() if self.applied else revision


def decide(images: Iterable[tuple[Path, Callable[[], Size]]], exif: Exif = "auto") -> Orientations:
    """Decides for the images whose annotated size fits with and without their EXIF orientation.

    Args:
        images: files, and functions that return the (width, height) that each was annotated with.
        exif: "apply" or "ignore" for these images, or "auto": as the other images show, else "ignore".
    """
    undecided: list[Path] = []
    turned = stored = 0
    for path, annotated in images:
        orientation, size = _header(path)
        if orientation not in range(2, 9):
            continue
        wanted = annotated()
        if wanted != (size[::-1] if orientation in _SIDEWAYS else size) or size != wanted:
            turned += wanted != size and wanted == size[::-1] and orientation in _SIDEWAYS
            stored += wanted == size
        else:
            undecided.append(path)
    if not undecided:
        return Orientations()
    apply = exif == "apply" or (exif == "auto" and turned > 0 and stored == 0)
    what = "1 image has" if len(undecided) == 1 else f"{len(undecided)} images have"
    line = f"{what} an EXIF orientation that the annotated size does not decide, first {printable(str(undecided[0]))}: "
    line += f"it is {'applied' if apply else 'ignored'}"
    if exif == "auto" and bool(turned) != bool(stored):
        count = turned or stored
        line += f", as the size{'s' * (count > 1)} of {count} other image{'s' * (count > 1)} show{'s' * (count == 1)}"
    line += "" if exif != "auto" else f"; --task-option exif={'ignore' if apply else 'apply'} changes this"
    return Orientations(applied=frozenset(undecided) if apply else frozenset(), assumptions=(line,))


def _header(path: Path) -> tuple[int, Size]:
    """EXIF orientation and stored size; (1, (0, 0)) without EXIF data, as the first bytes of most files tell."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
        webp = head[8:16] == b"WEBPVP8X" and head[20] & _WEBP_EXIF
        if not (any(marker in head for marker in _MARKERS) or webp or head.startswith(_TIFF)):
            return 1, (0, 0)
        with Image.open(path) as image:
            return int(image.getexif().get(_ORIENTATION, 1)), image.size
    except Exception:  # reported when the image is read
        return 1, (0, 0)
