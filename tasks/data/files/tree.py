"""Paths below a folder whose case or Unicode form may differ from those on disk: `images/` for `Images/`."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from pathlib import Path


class FileTree:
    """Files and folders below a folder, by their usual relative paths.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._listings: dict[Path, dict[str, list[str]]] = {}

    def find(self, *names: str) -> Path | None:
        """The first of these paths that exists as written, else the first that does in another case or Unicode form.

        Such a form is taken only where exactly one file or folder has it.
        """
        for name in names:
            if (path := self.root / name).exists():
                return path
        for name in names:
            found = self._caseless(name)
            if found is not None:
                return found
        return None

    def path(self, name: str) -> Path:
        """The path on disk, or as written if there is none, for messages."""
        return self.find(name) or self.root / name

    def folder(self, *names: str) -> Path | None:
        """As `find`, folders only."""
        found = (self.find(name) for name in names)
        return next((path for path in found if path is not None and path.is_dir()), None)

    def _caseless(self, name: str) -> Path | None:
        here = self.root
        for part in Path(name).parts:
            if (here / part).exists():
                here /= part
                continue
            same = self._listing(here).get(_folded(part), [])
            if len(same) != 1:
                return None
            here /= same[0]
        return here

    def _listing(self, folder: Path) -> dict[str, list[str]]:
        """Names in a folder by their folded form; empty if it is none."""
        if folder not in self._listings:
            names: dict[str, list[str]] = defaultdict(list)
            if folder.is_dir():
                with os.scandir(folder) as entries:
                    for entry in entries:
                        names[_folded(entry.name)].append(entry.name)
            self._listings[folder] = dict(names)
        return self._listings[folder]


def _folded(name: str) -> str:
    return (name if name.isascii() else unicodedata.normalize("NFC", name)).casefold()
