"""Images and their class masks, paired by their names.

An image and its mask share the file name without suffix. Where they do not, names are compared in other spellings, see
`FileFinder`, and without the additions of exporters: `a_mask.png` or `a_gtFine_labelIds.png` for `a.jpg`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.data.base import DataNotes
from ltrp_bench.tasks.data.files.finder import FileFinder
from ltrp_bench.tasks.data.files.listing import IMAGE_SUFFIXES, list_files
from ltrp_bench.tasks.data.files.text import printable

MASK_SUFFIXES: Final = (".png", ".tif", ".tiff", ".bmp", ".pgm", ".jpg", ".jpeg")
"""Suffixes of mask files, the preferred ones first; JPEGs are refused when they are read."""

_MASK_WORDS: Final = "labelids|masks?|gt|seg|segm|segmentations?|labels?|annotations?|semantic|groundtruth"
_MASK_NAME: Final = re.compile(
    rf"(?:(?:{_MASK_WORDS})[._-])?(.+?)(?:[._-](?:gtfine[._-])?(?:{_MASK_WORDS}))?", re.IGNORECASE
)
_IMAGE_NAME: Final = re.compile(r"(?:(?:images?|img)[._-])?(.+?)(?:[._-](?:leftimg8bit|images?|img))?", re.IGNORECASE)


def bare_mask(stem: str) -> str:
    """Path of a mask without suffix, and without what exporters add to the name of its image."""
    return _bare(stem, _MASK_NAME)


def _bare(stem: str, pattern: re.Pattern[str]) -> str:
    path = PurePosixPath(stem)
    found = pattern.fullmatch(path.name)
    return stem if found is None else path.with_name(found[1]).as_posix()


def find_images(images: Path, masks: Path) -> FileFinder:
    """Finder of the images; if they lie in the folder of the masks, PNGs are masks and other files images."""
    suffixes: tuple[str, ...] = IMAGE_SUFFIXES
    if same_folder(images, masks):
        suffixes = tuple(suffix for suffix in IMAGE_SUFFIXES if suffix != ".png")
    return FileFinder(images, suffixes=suffixes, by_stem=True)


def same_folder(one: Path, other: Path) -> bool:
    """True if both paths lead to one folder."""
    return one.resolve() == other.resolve()


def list_masks(folder: Path, finder: FileFinder) -> dict[str, Path]:
    """Masks by path without suffix, sorted; of folders below a folder with masks, those that have an image."""
    masks: dict[str, Path] = {}
    files = list_files(folder, MASK_SUFFIXES[:1], recursive=True)
    if not files and not same_folder(folder, finder.folder):
        files = list_files(folder, MASK_SUFFIXES, recursive=True)
    flat = any(path.parent == folder for path in files)
    for path in files:
        stem = path.relative_to(folder).with_suffix("").as_posix()
        # OpenMMLab's converter writes its own maps beside COCO-Stuff's.
        if not stem.endswith("_labelTrainIds") and (not flat or path.parent == folder or stem in finder.stems):
            other = masks.get(stem)
            if other is None or MASK_SUFFIXES.index(path.suffix.lower()) < MASK_SUFFIXES.index(other.suffix.lower()):
                masks[stem] = path
    return masks


def paired(masks: Mapping[str, Path], finder: FileFinder, notes: DataNotes) -> dict[str, Path]:
    """The masks, by the names of their images where those differ by what exporters add; the others by their own.

    Args:
        masks: path below the folder without suffix -> mask.
        finder: finds the images.
        notes: gets a line about such names, and the number of masks beside them that have no image.
    """
    alone = [stem for stem in masks if stem not in finder.stems and finder.find(stem) is None]
    images: dict[str, list[str]] = defaultdict(list)
    for stem in finder.stems if alone else ():
        images[_bare(stem, _IMAGE_NAME)].append(stem)
    owners: dict[str, list[str]] = defaultdict(list)
    for stem in alone:
        if len(found := images.get(bare_mask(stem), [])) == 1:
            owners[found[0]].append(stem)
    renamed = {own[0]: image for image, own in owners.items() if len(own) == 1 and image not in masks}
    if not renamed:
        return dict(masks)
    first, image = next(iter(renamed.items()))
    notes.assume(
        f"{len(renamed)} mask{'s belong' if len(renamed) > 1 else ' belongs'} to images of other names in "
        f"{masks[first].parent}: "
        f"{printable(masks[first].name)!r} was taken to be the mask of {printable(finder.stems[image][0].name)!r}"
    )
    for stem in alone:
        if stem not in renamed:
            notes.count("masks", "left out: no image has their name", f"first {printable(masks[stem].name)}")
    notes.listed["masks"] = len(masks)
    kept = {renamed.get(stem, stem): path for stem, path in masks.items() if stem in renamed or stem not in alone}
    return dict(sorted(kept.items()))


def without_mask(masks: Mapping[str, Path], finder: FileFinder) -> list[str]:
    """Images that have no mask, by their paths without suffix, sorted."""
    bare = sorted(finder.stems.keys() - masks.keys())
    if not bare:
        return []
    # Names that differ in case or Unicode form only.
    used = set(finder.match(masks).values())
    return [stem for stem in bare if finder.stems[stem][0] not in used]


def check_masks(
    masks: Mapping[str, Path], bare: Sequence[str], finder: FileFinder, folder: Path, notes: DataNotes, strict: bool
) -> None:
    """Count the images without mask; InputError if no image has one, and in strict mode if one has none."""
    if not bare:
        return
    line = (
        f"{len(bare)} images in {finder.folder} have no mask, first {printable(bare[0])}: looked for "
        f"{folder / printable(bare[0])}.png"
    )
    if len(bare) == len(finder.stems):
        lone = next((printable(path.name) for path in masks.values()), "")
        lone = f"; the masks are named otherwise, such as {lone!r}" if lone else ""
        raise InputError(
            f"{line}{lone}; give image and mask the same name, or name the folder of the masks with "
            "--task-option masks=DIR"
        )
    if strict:
        raise InputError(f"{line}; add the masks or remove the images (--strict)")
    for stem in bare:
        notes.count("images", "left out: they have no mask", f"first {printable(stem)}")
    notes.listed["images"] = len(finder.stems)
