"""A folder of images and class masks: its files, and the meaning of its mask values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.data.base import DataNotes
from ltrp_bench.tasks.data.class_masks.colors import Colors
from ltrp_bench.tasks.data.class_masks.numbering import VOID, look_at_masks
from ltrp_bench.tasks.data.class_masks.pairs import (
    MASK_SUFFIXES,
    bare_mask,
    check_masks,
    find_images,
    list_masks,
    paired,
    without_mask,
)
from ltrp_bench.tasks.data.files.finder import FileFinder
from ltrp_bench.tasks.data.files.tree import FileTree
from ltrp_bench.tasks.data.folders import AnnotatedImages, named_folder


@dataclass(frozen=True, kw_only=True)
class MaskFolder:
    """Locations of the files of a data set, and the meaning of its mask values.

    Attributes:
        images, masks: folders; an image and its mask share the file name without suffix.
        names: mask value -> class, in the order of the values.
        ignored_values: mask values that are no class.
        listed_in: name of the list of classes, for error messages.
        split: name of the bundled split of these classes.
        stems: sorted file names without suffix, which are the ids of the images.
        mask_paths: stem -> mask.
        colors: mask values of the colors of colored masks; empty if they cannot be read.
        finder: finds the images.
        notes: what was assumed and left out.
        unclear: True if the masks may just as well be numbered the other way than was assumed.
    """

    images: Path
    masks: Path
    names: Mapping[int, str]
    ignored_values: frozenset[int]
    listed_in: str
    split: str
    stems: tuple[str, ...] = ()
    mask_paths: Mapping[str, Path] = field(default_factory=dict)
    colors: Colors = field(default_factory=dict)
    finder: FileFinder | None = None
    notes: DataNotes = field(default_factory=DataNotes)
    unclear: bool = False


@dataclass(frozen=True, kw_only=True)
class MaskOptions:
    """What a user may say about a folder with masks.

    Attributes:
        images, masks: folders, where they are not to be searched for; relative to --data or to the current folder.
        strict: True to refuse images without a mask.
    """

    images: str | Path | None = None
    masks: str | Path | None = None
    strict: bool = False

    def folders(self, root: Path, pairs: Iterable[tuple[str, str]]) -> tuple[Path, Path] | None:
        """The first of these pairs of folders that exists below `root`, with those that the user named in place."""
        tree = FileTree(root)
        named = [
            None if given is None else named_folder(root, given, option)
            for given, option in ((self.images, "images"), (self.masks, "masks"))
        ]
        for names in [("", "")] if None not in named else pairs:
            images, masks = (one or tree.folder(name) for one, name in zip(named, names, strict=True))
            if images is not None and masks is not None:
                return images, masks
        return None


USUAL: Final = MaskOptions()
"""Nothing is said."""


def numbered(folder: MaskFolder, zero_based: bool | None, most_zeros: float | None = None) -> MaskFolder:
    """A folder whose classes are numbered from 1, or the same with classes from 0, see `look_at_masks`."""
    last = max(folder.names)
    if zero_based is None:
        masks = [folder.mask_paths[stem] for stem in folder.stems]
        found = look_at_masks(masks, last, most_zeros=most_zeros)
        zero_based = found.from_zero
        if found.why:
            folder.notes.assume(found.why)
        folder = replace(folder, unclear=found.unclear)
    if not zero_based:
        return folder
    return replace(
        folder,
        names={value - 1: name for value, name in folder.names.items()},
        ignored_values=frozenset({VOID}),
        listed_in=f"{folder.listed_in.partition(' (')[0]} (0 to {last - 1}, as zero_based=true)",
    )


def with_subset(
    folder: MaskFolder, options: MaskOptions, lists: Path | None, subset: str, how_to_get: str
) -> MaskFolder:
    """The folder with the images of a devkit's subset, see `AnnotatedImages.stems`."""
    images = AnnotatedImages(
        annotations=folder.masks,
        suffixes=MASK_SUFFIXES,
        kind=("a mask", "masks"),
        lists=lists,
        how_to_get=how_to_get,
        strict=options.strict,
        notes=folder.notes,
        bare=bare_mask,
    )
    masks = {stem: images.path(stem) for stem in sorted(images.stems(subset))}
    finder = find_images(folder.images, folder.masks)
    masks = paired(masks, finder, folder.notes)
    return replace(folder, stems=tuple(masks), mask_paths=masks, finder=finder)


def with_all_masks(folder: MaskFolder, options: MaskOptions, how_to_get: str) -> MaskFolder:
    """The folder with the images of all its masks; InputError if there are no masks, or none of an image."""
    finder = find_images(folder.images, folder.masks)
    masks = paired(list_masks(folder.masks, finder), finder, folder.notes)
    check_masks(masks, without_mask(masks, finder), finder, folder.masks, folder.notes, options.strict)
    if not masks:
        raise InputError(f"no masks (*.png) in {folder.masks}; {how_to_get}")
    return replace(folder, stems=tuple(masks), mask_paths=masks, finder=finder)
