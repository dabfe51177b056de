"""Folders of data sets: checks of --data, images by name, VOC devkits and their lists of images."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.data.base import DataNotes
from ltrp_bench.tasks.data.files.finder import FileFinder
from ltrp_bench.tasks.data.files.listing import IMAGE_SUFFIXES, is_hidden, list_files, list_folders
from ltrp_bench.tasks.data.files.text import printable, read_lines
from ltrp_bench.tasks.data.files.tree import FileTree

_SYNONYMS = (("val", "valid", "validation"), ("train", "training"), ("test", "testing"))
_SUBSETS = frozenset(name for names in _SYNONYMS for name in (*names, "trainval", "dev", "extra"))
_ANY_YEAR = re.compile(r"VOC20\d\d", re.IGNORECASE)
VOC_HOW_TO_GET = "get VOCtrainval_11-May-2012.tar from http://host.robots.ox.ac.uk/pascal/VOC/voc2012/ and unpack it"


def data_folder(data: str | Path | None, what: str) -> Path:
    """The folder given by --data.

    Args:
        data: value of the option.
        what: what the folder must hold, for error messages.

    Raises:
        UsageError: None was given. InputError: there is no such folder.
    """
    if data is None:
        raise UsageError(f"this task reads {what}: give the folder with --data DIR")
    root = Path(data).expanduser()
    if not root.is_dir():
        problem = f"{root} is a file" if root.is_file() else f"no folder {root}"
        raise InputError(f"{problem}: --data must name a folder with {what}")
    return root


def named_path(root: Path, given: str | Path, option: str) -> Path:
    """The file or folder that an option names, relative to --data or to the current folder; InputError if none is."""
    path = Path(given).expanduser()
    tried = [path] if path.is_absolute() else [root / path, path]
    found = next((one for one in tried if one.exists()), None)
    if found is None:
        raise InputError(f"--task-option {option}={given}: no such file or folder; looked for {either(tried)}")
    return found


def named_folder(root: Path, given: str | Path, option: str) -> Path:
    """The folder that an option names, see `named_path`."""
    path = named_path(root, given, option)
    if not path.is_dir():
        raise InputError(f"--task-option {option}={given}: {path} is no folder")
    return path


def find_devkit(
    data: str | Path | None,
    needed: Sequence[Sequence[str]],
    years: Sequence[str] = ("VOC2012", "VOC2007"),
    how_to_get: str = VOC_HOW_TO_GET,
) -> Path:
    """Finds the folder of one year of a VOC devkit.

    Args:
        data: that folder, or one with a folder of `years`, or one with VOCdevkit/ and a year below it. Other years are
            taken if there is only one.
        needed: names of the subfolders that it must have, in any case; sets of them, the usual one first.
        years: names of the folders to look for.
        how_to_get: end of the error message if nothing is found.

    Raises:
        UsageError: no folder given, or two years found. InputError: nothing found there.
    """
    root = data_folder(data, "a VOC devkit")
    tops = [root, *(root / year for year in years), *(root / "VOCdevkit" / year for year in years)]
    found: list[Path] = []
    for names in needed:
        found = found or [top for top in tops if _holds_all(top, names)]
    if not found:
        below = (path for top in (root, root / "VOCdevkit") if top.is_dir() for path in list_folders(top))
        found = [path for path in below if _ANY_YEAR.fullmatch(path.name) and _holds_all(path, needed[0])]
    if not found:
        below_years = ", ".join(f"{year}/" for year in years)
        raise InputError(
            f"no VOC devkit in {root}: looked for {absent(root / name for name in needed[0])}, there and in "
            f"{below_years} and below VOCdevkit/; {how_to_get}"
        )
    if found[0] != root and len(found) > 1:
        raise UsageError(f"{root} holds {' and '.join(str(top) for top in found)}: name one of them with --data")
    return found[0]


def _holds_all(folder: Path, names: Iterable[str]) -> bool:
    tree = FileTree(folder)
    return all(tree.folder(name) is not None for name in names)


@dataclass(frozen=True, kw_only=True)
class AnnotatedImages:
    """Annotation files of a devkit, and the lists that name its subsets.

    Attributes:
        annotations: folder with one annotation file per image, also in folders below it.
        suffixes: suffixes of these files, in lower case; others than the first are looked for if it does not occur.
        kind: singular with article and plural for error messages, ("an annotation", "annotations").
        lists: folder with SUBSET.txt; None for all annotated images.
        how_to_get: end of the error message if there are no annotations.
        strict: True to refuse a list with an image that must be left out.
        notes: gets the number of those left out.
        bare: stem of an annotation file -> that of its image.
    """

    annotations: Path
    suffixes: tuple[str, ...]
    kind: tuple[str, str]
    lists: Path | None
    how_to_get: str
    strict: bool = False
    notes: DataNotes = field(default_factory=DataNotes)
    bare: Callable[[str], str] = str

    def stems(self, subset: str) -> list[str]:
        """Paths of annotations without suffix in the order of SUBSET.txt, or all (unsorted) if there are no lists.

        A line may name the image with its suffix or folder, and in other spellings, see `FileFinder`. If there is one
        list alone, it is used whatever its name.

        Raises:
            UsageError: no such list, or one of a single class ("cat_val"), which marks every image with 1, 0 or -1.
            InputError: an empty list, no annotation at all, none of the listed images; in strict mode, an image listed
                twice or without annotation.
        """
        if self.lists is None or not self.lists.is_dir():
            found = list(self._by_stem)
            if not found:
                suffix = self.suffixes[0]
                raise InputError(f"no {self.kind[1]} (*{suffix}) in {self.annotations}; {self.how_to_get}")
            return found
        path = self._list(self.lists, subset)
        lines = _names(path)
        if self._has_marks(lines):
            raise UsageError(
                f"{path} marks its images with 1, 0 or -1, as lists of a single class do: give a subset whose list has "
                "names alone"
            )
        if not lines:
            raise InputError(f"{path} lists no images")
        named = [self._stem(line) for line in lines]
        names = list(dict.fromkeys(name for name in named if name is not None))
        self._count(path, lines, named)
        if not names:
            raise InputError(
                f"{path} lists {len(lines)} images without {self.kind[0]} in {self.annotations}, e.g. "
                f"{printable(lines[0])}; {self.how_to_get}"
            )
        return names

    def _list(self, folder: Path, subset: str) -> Path:
        path = FileTree(folder).path(f"{subset}.txt")
        if path.is_file():
            return path
        usable = [path for path in list_files(folder, (".txt",)) if not self._has_marks(_names(path))]
        if len(usable) == 1 and usable[0].stem.lower() not in _SUBSETS:
            self.notes.assume(f"the images are those of {usable[0]}, the only list")
            return usable[0]
        there = ", ".join(path.stem for path in usable)
        raise UsageError(f"no subset {subset!r} in {folder}: there are {there or 'none'}")

    def _count(self, path: Path, lines: Sequence[str], named: Sequence[str | None]) -> None:
        """Count the lines that repeat an image, and those without annotation; InputError in strict mode."""
        seen: set[str] = set()
        for line, name in zip(lines, named, strict=True):
            if name is not None and name not in seen:
                seen.add(name)
                continue
            what = f"{path} lists {printable(line)}" + (" twice" if name is not None else "")
            if name is None:
                what += f", which has no file in {self.annotations}"
            if self.strict:
                raise InputError(f"{what} (--strict)")
            reason = "listed twice" if name is not None else f"left out: they have no {self.kind[0].split()[1]}"
            self.notes.count("images", reason, what)
        self.notes.listed["images"] = len(lines)

    def path(self, stem: str) -> Path:
        """Path of an image's annotation."""
        return self._by_stem.get(stem, self.annotations / f"{stem}{self.suffixes[0]}")

    @cached_property
    def _by_stem(self) -> dict[str, Path]:
        found: list[Path] = []
        for suffixes in (self.suffixes[:1], self.suffixes):
            if flat := list_files(self.annotations, suffixes):
                return {path.stem: path for path in flat}
            found = found or list_files(self.annotations, suffixes, recursive=True)
        return {path.relative_to(self.annotations).with_suffix("").as_posix(): path for path in found}

    @cached_property
    def _by_bare_stem(self) -> dict[str, str | None]:
        """Stem of an image -> that of its annotation; None if several files could be it."""
        found: dict[str, str | None] = {}
        for stem in self._by_stem:
            bare = self.bare(stem)
            found[bare] = None if bare in found else stem
        return found

    @cached_property
    def _finder(self) -> FileFinder:
        return FileFinder(self.annotations, suffixes=(*IMAGE_SUFFIXES, *self.suffixes))

    def _stem(self, line: str) -> str | None:
        """Stem of the annotation that a line names."""
        if line in self._by_stem:
            return line
        found = self._finder.find(line)
        if found is not None:
            return found.relative_to(self.annotations).with_suffix("").as_posix()
        # Lists of segmentation codes name image and mask: "/JPEGImages/a.jpg /SegmentationClass/a.png".
        stems = {PurePosixPath(name).stem for name in line.replace("\\", "/").split()}
        if len(stems) == 1 and stems <= self._by_stem.keys():
            return stems.pop()
        return self._by_bare_stem.get(line)

    def _has_marks(self, lines: Sequence[str]) -> bool:
        """True if every line ends in 1, 0 or -1 and none names an annotation as a whole."""
        marked = [line.split()[-1] in ("1", "0", "-1") and len(line.split()) > 1 for line in lines]
        return bool(lines) and all(marked) and not any(self._stem(line) for line in lines)


def image_folder(root: Path, subset: str) -> Path:
    """Folder of the images of a subset: DIR/SUBSET or Kaggle's DIR/ILSVRC/Data/CLS-LOC/SUBSET, else DIR itself.

    Other cases and usual names of the subset are found, "validation" for "val".

    Raises:
        UsageError: the folder holds other subsets only.
    """
    names = (subset, *synonyms(subset))
    found = FileTree(root).folder(*(f"{top}{name}" for name in names for top in ("", "ILSVRC/Data/CLS-LOC/")))
    if found is not None:
        return found
    others = []
    for path in root.iterdir():
        if path.name.lower() in _SUBSETS:
            others.append(path.name)
        elif not is_hidden(path.name) and path.is_dir():
            return root
    if others:
        raise UsageError(
            f"no subset {subset!r} in {root}: there are {', '.join(sorted(others))}; choose by --task-option "
            "subset=NAME"
        )
    return root


def find_lists(devkit: Path, kind: str) -> Path | None:
    """Folder of the lists of a devkit, ImageSets/KIND/ or ImageSets/ itself; None if it has none."""
    tree = FileTree(devkit)
    folder = tree.folder(f"ImageSets/{kind}")
    if folder is not None:
        return folder
    above = tree.folder("ImageSets")
    return above if above is not None and list_files(above, (".txt",)) else None


def _names(path: Path) -> list[str]:
    """Lines of a list that are not empty."""
    return [line for line in read_lines(path, names=True) if line]


def absent(paths: Iterable[Path]) -> str:
    """Comma-separated paths of those that do not exist, for error messages."""
    return ", ".join(str(path) for path in paths if not path.exists())


def either(paths: Iterable[Path]) -> str:
    """All paths joined by "or", for error messages."""
    return " or ".join(str(path) for path in paths)


def synonyms(subset: str) -> list[str]:
    """Other names of a subset: "val", "valid" and "validation" for "val2017"."""
    word = subset.lower().rstrip("0123456789")
    return [name for names in _SYNONYMS if word in names for name in names if name != subset]
