"""Folders of data sets: the one that a person gave, its images, its lists, and a VOC devkit below it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from ltrp_bench.selectors.errors import InputError, UsageError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
VOC_HOW_TO_GET = "get VOCtrainval_11-May-2012.tar from http://host.robots.ox.ac.uk/pascal/VOC/voc2012/ and unpack it"


def data_folder(data: str | Path | None, what: str) -> Path:
    """The folder `data`; UsageError for None, InputError where there is no such folder. `what` it must hold."""
    if data is None:
        raise UsageError(f"this task reads {what}: give the folder with --data DIR")
    root = Path(data).expanduser()
    if not root.is_dir():
        raise InputError(f"no folder {root}: --data must name a folder with {what}")
    return root


def images_by_stem(folder: Path) -> dict[str, Path]:
    """The images of a folder by their names without suffix; InputError where two share one."""
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
    """The folder of one year of a VOC devkit that has the folders `needed`.

    Args:
        data: it itself, or a folder with one of `years`, or with VOCdevkit/ above these.
        needed: names of folders.
        years: names of folders.
        how_to_get: what to say where nothing is found.

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


def read_list(lists: Path, subset: str) -> list[str]:
    """The names in SUBSET.txt of the folder `lists`; UsageError where there is no such list."""
    path = lists / f"{subset}.txt"
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in lists.glob("*.txt"))) or "none"
        raise UsageError(f"no subset {subset!r} in {lists}: there are {there}")
    return path.read_text(encoding="utf-8").split()


def absent(paths: Iterable[Path]) -> str:
    """Those that are not there, for an error."""
    return ", ".join(str(path) for path in paths if not path.exists())


def either(paths: Iterable[Path]) -> str:
    """All of them, for an error."""
    return " or ".join(str(path) for path in paths)
