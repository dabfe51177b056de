"""Files of a folder that count as data: hidden ones and those that systems add do not; links are followed."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path, PurePath
from typing import Final

IMAGE_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""Suffixes of image files, in lower case: those of torchvision's ImageFolder."""

OTHER_IMAGE_SUFFIXES: Final = (".gif", ".heic", ".heif", ".avif", ".jfif", ".jpe", ".jp2", ".jxl", ".dng", ".svg")
"""Suffixes of image files that torchvision leaves out, too."""

_SYSTEM_NAMES: Final = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin"})


def is_hidden(path: str | PurePath) -> bool:
    """True if a part of the path is a hidden file or folder, or one that a system adds; give it relative to a root."""
    parts = PurePath(path).parts
    return any((part.startswith(".") and part not in (".", "..")) or part.lower() in _SYSTEM_NAMES for part in parts)


def is_image(path: str | PurePath) -> bool:
    """True if the file name is an image's: not hidden, with one of `IMAGE_SUFFIXES` in any case."""
    name = PurePath(path).name
    return PurePath(name).suffix.lower() in IMAGE_SUFFIXES and not is_hidden(name)


def list_files(folder: Path, suffixes: Collection[str] = IMAGE_SUFFIXES, *, recursive: bool = False) -> list[Path]:
    """Files of a folder, sorted by path; hidden ones are left out, links are followed, dangling ones kept.

    Args:
        folder: the folder; its own name may be hidden.
        suffixes: suffixes in lower case, compared without case; empty for all files.
        recursive: include files of all folders below it.
    """
    wanted = frozenset(suffixes)
    return sorted(path for path in _walk(folder, recursive, ()) if not wanted or path.suffix.lower() in wanted)


def list_folders(folder: Path) -> list[Path]:
    """Folders in a folder and links to such, sorted by name, without hidden ones."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_hidden(path.name))


def holds_files(folder: Path, suffixes: Collection[str] = IMAGE_SUFFIXES) -> bool:
    """True if a file that counts is in the folder, at any depth."""
    return any(path.suffix.lower() in suffixes for path in _walk(folder, True, ()))


def _walk(folder: Path, recursive: bool, above: tuple[str, ...]) -> Iterator[Path]:
    """Files that count; a link to a folder that contains it is not followed."""
    here = os.path.realpath(folder)
    if here in above:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_hidden(entry.name):
                continue
            path = folder / entry.name
            if not entry.is_dir():
                yield path
            elif recursive:
                yield from _walk(path, True, (*above, here))


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key by which "2" comes before "10", as timm orders class folders."""
    parts = re.split(r"(\d+)", name.lower())
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part)
