"""Folders of data sets: checks of --data, images by name, VOC devkits and their lists of images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.data.files.finder import FileFinder
from ltrp_bench.tasks.data.files.listing import IMAGE_SUFFIXES, list_files
from ltrp_bench.tasks.data.files.text import printable, read_lines

_SYNONYMS = (("val", "valid", "validation"), ("train", "training"), ("test", "testing"))
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
        raise InputError(f"no folder {root}: --data must name a folder with {what}")
    return root


def find_devkit(
    data: str | Path | None,
    needed: Iterable[str],
    years: Sequence[str] = ("VOC2012", "VOC2007"),
    how_to_get: str = VOC_HOW_TO_GET,
) -> Path:
    """Finds the folder of one year of a VOC devkit.

    Args:
        data: that folder, or one with a folder of `years`, or one with VOCdevkit/ and a year below it.
        needed: names of the subfolders that it must have.
        years: names of the folders to look for.
        how_to_get: end of the error message if nothing is found.

    Raises:
        UsageError: no folder given, or two years found. InputError: nothing found there.
    """
    root = data_folder(data, "a VOC devkit")
    names = tuple(needed)
    tops = [root, *(root / year for year in years), *(root / "VOCdevkit" / year for year in years)]
    found = [top for top in tops if all((top / name).is_dir() for name in names)]
    if not found:
        below = ", ".join(f"{year}/" for year in years)
        raise InputError(
            f"no VOC devkit in {root}: looked for {absent(root / name for name in names)}, there and in {below} and "
            f"below VOCdevkit/; {how_to_get}"
        )
    if found[0] != root and len(found) > 1:
        raise UsageError(f"{root} holds {' and '.join(str(top) for top in found)}: name one of them with --data")
    return found[0]


@dataclass(frozen=True, kw_only=True)
class AnnotatedImages:
    """Annotation files of a devkit, and the lists that name its subsets.

    Attributes:
        annotations: folder with one annotation file per image.
        suffix: suffix of these files, ".xml" or ".png".
        kind: singular with article and plural for error messages, ("an annotation", "annotations").
        lists: folder with SUBSET.txt; it may be absent.
        how_to_get: end of the error message if there are no annotations.
    """

    annotations: Path
    suffix: str
    kind: tuple[str, str]
    lists: Path
    how_to_get: str

    def stems(self, subset: str) -> list[str]:
        """Image names in the order of SUBSET.txt, or of all annotation files (unsorted) if there are no lists.

        A line may name the image with its suffix or folder, and in other spellings, see `FileFinder`.

        Raises:
            UsageError: no such list, or one of a single class ("cat_val"), which marks every image with 1, 0 or -1.
            InputError: an empty list, an image listed twice or without annotation, no annotation at all.
        """
        if not self.lists.is_dir():
            found = list(self._by_stem)
            if not found:
                raise InputError(f"no {self.kind[1]} (*{self.suffix}) in {self.annotations}; {self.how_to_get}")
            return found
        path = self.lists / f"{subset}.txt"
        if not path.is_file():
            there = ", ".join(p.stem for p in list_files(self.lists, (".txt",)) if not self._has_marks(_names(p)))
            raise UsageError(f"no subset {subset!r} in {self.lists}: there are {there or 'none'}")
        lines = _names(path)
        if self._has_marks(lines):
            raise UsageError(
                f"{path} marks its images with 1, 0 or -1, as lists of a single class do: give a subset whose list has "
                "names alone"
            )
        names = [self._stem(line) or line for line in lines]
        if not names or len(set(names)) != len(names):
            raise InputError(f"{path} lists {'an image twice' if names else 'no images'}")
        bare = [name for name in names if name not in self._by_stem]
        if bare:
            raise InputError(
                f"{path} lists {len(bare)} images without {self.kind[0]} in {self.annotations}, e.g. "
                f"{printable(bare[0])}; {self.how_to_get}"
            )
        return names

    def path(self, stem: str) -> Path:
        """Path of an image's annotation."""
        return self._by_stem.get(stem, self.annotations / f"{stem}{self.suffix}")

    @cached_property
    def _by_stem(self) -> dict[str, Path]:
        return {path.stem: path for path in list_files(self.annotations, (self.suffix,))}

    @cached_property
    def _finder(self) -> FileFinder:
        return FileFinder(self.annotations, suffixes=(*IMAGE_SUFFIXES, self.suffix))

    def _stem(self, line: str) -> str | None:
        """Stem of the annotation that a line names."""
        if line in self._by_stem:
            return line
        found = self._finder.find(line)
        if found is not None:
            return found.stem
        # Lists of segmentation codes name image and mask: "/JPEGImages/a.jpg /SegmentationClass/a.png".
        stems = {PurePosixPath(field).stem for field in line.replace("\\", "/").split()}
        return stems.pop() if len(stems) == 1 and stems <= self._by_stem.keys() else None

    def _has_marks(self, lines: Sequence[str]) -> bool:
        """True if every line ends in 1, 0 or -1 and none names an annotation as a whole."""
        marked = [line.split()[-1] in ("1", "0", "-1") and len(line.split()) > 1 for line in lines]
        return bool(lines) and all(marked) and not any(self._stem(line) for line in lines)


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
