"""Files by their names in lists and annotations, which may spell them otherwise than the disk does.

A name that is not on disk as written is looked for in other spellings, from the closest to the farthest: back
slashes, a leading folder more or less, composed or decomposed Unicode, percent codes and addresses, another case or
variant of the suffix, another case of the whole name. It is taken where exactly one file fits.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, partial
from pathlib import Path, PurePath
from urllib.parse import unquote

from ltrp_bench.tasks.data.files.listing import IMAGE_SUFFIXES, list_files
from ltrp_bench.tasks.data.files.text import printable


class FileFinder:
    """Finds the files of a folder by their names in lists and annotations.

    Args:
        folder: the folder of the files, searched with all folders below it.
        root: folder that names may be relative to as well, DIR for `images/a.jpg`.
        suffixes: suffixes in lower case that a file may have instead of the one in its name.
        by_stem: True for names without suffix; of several files that differ in their suffixes only, the one whose
            suffix is listed first is taken.

    Attributes:
        respelled: name -> path of the files that were found in another spelling.
        unclear: name -> reason why none of the files that fit it was taken.
        doubled: name -> which of several files with that stem is used.
    """

    def __init__(
        self,
        folder: Path,
        root: Path | None = None,
        suffixes: Sequence[str] = IMAGE_SUFFIXES,
        *,
        by_stem: bool = False,
    ) -> None:
        self.folder, self.root, self._suffixes, self._by_stem = folder, root, tuple(suffixes), by_stem
        self.respelled: dict[str, Path] = {}
        self.unclear: dict[str, str] = {}
        self.doubled: dict[str, str] = {}
        bare = partial(_without_suffix, suffixes=self._suffixes)
        # From the closest to the farthest; each includes those before it.
        self._spellings: tuple[Callable[[str], str], ...] = (
            _slashes,
            _composed,
            _unquoted,
            _with_lower_suffix,
            _with_usual_suffix,
            bare,
            lambda name: _with_usual_suffix(name).casefold(),
            lambda name: bare(name).casefold(),
        )
        self._indexes: dict[int, tuple[dict[str, list[str]], dict[str, list[str]]]] = {}

    def match(self, names: Iterable[str]) -> dict[str, Path]:
        """File of each name; where none fits, the path as written, which the reader of the file reports as missing.

        A file that fits two names belongs to the one that names it as it is on disk, else to neither.
        """
        found = {name: self.find(name) for name in dict.fromkeys(names)}
        owners: dict[str, list[str]] = defaultdict(list)
        if self.respelled:
            for name, path in found.items():
                if path is not None:
                    owners[os.path.normpath(path)].append(name)
        for path_text, sharing in owners.items():
            for name in sharing if len(sharing) > 1 else ():
                if name in self.respelled:
                    other = next(one for one in sharing if one != name)
                    del self.respelled[name]
                    self.unclear[name] = f"{path_text} fits {printable(other)!r}, too"
                    found[name] = None
        suffix = self._suffixes[0] if self._by_stem else ""
        return {name: path or self.folder / f"{name}{suffix}" for name, path in found.items()}

    def find(self, name: str) -> Path | None:
        """File of a name; None if there is none, or if none is as written and several fit equally well."""
        exact = self._exact(name)
        if exact is not None:
            return exact
        for place in range(len(self._spellings)):
            found = self._find_as(name, place)
            if len(found) > 1:
                self.unclear[name] = f"{printable(str(found[0]))} and {printable(str(found[1]))} fit equally well"
                return None
            if found:
                if found[0] != self.folder / name:  # else a link to nothing
                    self.respelled[name] = found[0]
                return found[0]
        return None

    @property
    def assumptions(self) -> tuple[str, ...]:
        """Lines about names that are spelled otherwise on disk and about those that were not taken."""
        lines = []
        if self.respelled:
            name, path = next(iter(self.respelled.items()))
            there = printable(os.path.relpath(path, self.folder))
            # Composed and decomposed characters look alike.
            one, other = (_slashes(text).removesuffix(path.suffix) for text in (name, there))
            form = " of another Unicode form" if one != other and _composed(one) == _composed(other) else ""
            lines.append(
                f"{_counted(len(self.respelled), 'file name')} spelled otherwise in {self.folder}: "
                f"{printable(name)!r} was taken to be {there!r}{form}"
            )
        if self.unclear:
            name, why = next(iter(self.unclear.items()))
            lines.append(
                f"{_counted(len(self.unclear), 'file name')} not matched to a file of another spelling in "
                f"{self.folder}: {printable(name)!r}, since {why}"
            )
        if self.doubled:
            name, why = next(iter(self.doubled.items()))
            lines.append(f"{len(self.doubled)} names with several files in {self.folder}: {printable(name)!r}: {why}")
        return tuple(lines)

    def _exact(self, name: str) -> Path | None:
        found = self.stems.get(name, []) if self._by_stem else []
        if not found:
            return self.folder / name if _is_file(self.folder / name) else None
        if len(found) > 1:
            others = ", ".join(path.name for path in found[1:])
            self.doubled[name] = f"{found[0].name} is used, not {others}"
        return found[0] if found else None

    def _find_as(self, name: str, place: int) -> list[Path]:
        """Files whose paths are `name` when both are spelled one way.

        The whole path counts first, then the path below `root`, then the path without its leading folders, one by
        one, and at last the path with other folders before it.
        """
        spell = self._spellings[place]
        whole, tails = self._index(place)
        parts = [part for part in spell(name).split("/") if part not in ("", ".")]
        if not parts:
            return []
        below_root = [] if self.root is None else _existing(self.root, (_slashes(name), _unquoted(name)))
        found = whole.get("/".join(parts))
        if found is None and below_root:
            return below_root[:1]
        for start in range(1, len(parts)):
            found = found or whole.get("/".join(parts[start:]))
        found = found or tails.get("/".join(parts)) or []
        return [self.folder / path for path in found]

    def _index(self, place: int) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        """Paths by their spelling, and by the spelling of their ends."""
        if place not in self._indexes:
            whole: dict[str, list[str]] = defaultdict(list)
            tails: dict[str, list[str]] = defaultdict(list)
            for path in self._paths:
                spelled = self._spellings[place](path)
                whole[spelled].append(path)
                while "/" in spelled:
                    spelled = spelled.partition("/")[2]
                    tails[spelled].append(path)
            self._indexes[place] = dict(whole), dict(tails)
        return self._indexes[place]

    @cached_property
    def stems(self) -> dict[str, list[Path]]:
        """Files by their paths without suffix, those that differ in their suffixes in the order of `suffixes`."""
        stems: dict[str, list[str]] = defaultdict(list)
        for path in self._paths:
            if (suffix := PurePath(path).suffix).lower() in self._suffixes:
                stems[path.removesuffix(suffix)].append(path)
        order = {suffix: i for i, suffix in enumerate(self._suffixes)}
        return {
            stem: [self.folder / path for path in sorted(found, key=lambda path: order[PurePath(path).suffix.lower()])]
            for stem, found in stems.items()
        }

    @cached_property
    def _paths(self) -> list[str]:
        if not self.folder.is_dir():
            return []
        return [path.relative_to(self.folder).as_posix() for path in list_files(self.folder, (), recursive=True)]


def _existing(root: Path, names: Iterable[str]) -> list[Path]:
    return [root / name for name in names if not name.startswith("/") and _is_file(root / name)]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _counted(count: int, noun: str) -> str:
    return f"1 {noun} is" if count == 1 else f"{count} {noun}s are"


def _slashes(name: str) -> str:
    return name.replace("\\", "/").strip()


def _composed(name: str) -> str:
    """With composed characters; bytes that are not UTF-8 are read as Latin-1."""
    text = _slashes(name)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        text = text.encode("utf-8", "surrogateescape").decode("latin-1") if _is_escaped(text) else text
    return unicodedata.normalize("NFC", text)


def _is_escaped(text: str) -> bool:
    """True if all lone surrogates stand for single bytes, as in names that the system gives."""
    return not re.search("[\ud800-\udc7f\udd00-\udfff]", text)


def _unquoted(name: str) -> str:
    """Without percent codes, and an address without its query."""
    text = _composed(name)
    if "://" in text:
        text = re.split("[?#]", text, maxsplit=1)[0]
    return unicodedata.normalize("NFC", _slashes(unquote(text))) if "%" in text or "://" in text else text


def _with_lower_suffix(name: str) -> str:
    text = _unquoted(name)
    return text.removesuffix(suffix := PurePath(text).suffix) + suffix.lower()


def _with_usual_suffix(name: str) -> str:
    text = _with_lower_suffix(name)
    for suffix, usual in ((".jpeg", ".jpg"), (".jpe", ".jpg"), (".jfif", ".jpg"), (".tiff", ".tif")):
        text = f"{text.removesuffix(suffix)}{usual}" if text.endswith(suffix) else text
    return text


def _without_suffix(name: str, suffixes: tuple[str, ...]) -> str:
    text = _with_lower_suffix(name)
    return next((text.removesuffix(suffix) for suffix in suffixes if text.endswith(suffix)), text)
