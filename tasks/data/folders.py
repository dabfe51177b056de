"""Folders of data sets: checks of --data, images by name, VOC devkits and their lists of images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ltrp_bench.selectors.errors import InputError, UsageError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
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


def images_by_stem(folder: Path) -> dict[str, Path]:
    """Images of a folder by file name without suffix, sorted; InputError if two share a name."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            if path.stem in found:
                raise InputError(f"{folder} has two images of one name: {found[path.stem].name} and {path.name}")
            found[path.stem] = path
    return found


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

        Raises:
            UsageError: no such list, or one of a single class ("cat_val"), which marks every image with 1, 0 or -1.
            InputError: an empty list, an image listed twice or without annotation, no annotation at all.
        """
        if not self.lists.is_dir():
            found = [path.stem for path in self.annotations.glob(f"*{self.suffix}")]
            if not found:
                raise InputError(f"no {self.kind[1]} (*{self.suffix}) in {self.annotations}; {self.how_to_get}")
            return found
        path = self.lists / f"{subset}.txt"
        if not path.is_file() or (names := _read_list(path)) is None:
            there = ", ".join(p.stem for p in sorted(self.lists.glob("*.txt")) if _read_list(p) is not None)
            raise UsageError(f"no subset {subset!r} in {self.lists}: there are {there or 'none'}")
        if not names or len(set(names)) != len(names):
            raise InputError(f"{path} lists {'an image twice' if names else 'no images'}")
        bare = [name for name in names if not (self.annotations / f"{name}{self.suffix}").is_file()]
        if bare:
            raise InputError(
                f"{path} lists {len(bare)} images without {self.kind[0]} in {self.annotations}, e.g. {bare[0]}; "
                f"{self.how_to_get}"
            )
        return names


def _read_list(path: Path) -> list[str] | None:
    """One name per line; None for the list of a single class, which has a mark beside each name."""
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    if any(len(fields) > 1 for fields in lines):
        return None
    return [fields[0] for fields in lines if fields]


def absent(paths: Iterable[Path]) -> str:
    """Comma-separated paths of those that do not exist, for error messages."""
    return ", ".join(str(path) for path in paths if not path.exists())


def either(paths: Iterable[Path]) -> str:
    """All paths joined by "or", for error messages."""
    return " or ".join(str(path) for path in paths)
