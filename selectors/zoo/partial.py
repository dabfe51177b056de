"""What has arrived of a file whose transfer broke, kept beside the file that is to be.

`NAME.part` holds its first bytes, and `NAME.part.json` what the server said of the whole: address, length, and the mark
(entity tag, or else date) that tells whether the file there is still the same. Without a mark, nothing is kept.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ltrp_bench.selectors.errors import InputError


@dataclass
class PartialFile:
    """Use it as a context: only one process at a time writes a file.

    Attributes:
        file: its first bytes.
        url: its address.
        mark: value of `If-Range`; empty if the server gave none.
        total: length of the whole file; None if the server did not say.
    """

    file: Path
    url: str
    mark: str = ""
    total: int | None = None

    @classmethod
    def of(cls, path: Path, url: str) -> PartialFile:
        """What is left of an earlier transfer of a file from an address, or nothing yet."""
        return cls(file=path.with_name(f"{path.name}.part"), url=url)

    def __enter__(self) -> PartialFile:
        from filelock import FileLock, Timeout

        self.file.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(f"{self.file}.lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise InputError(f"another process is fetching {self.url} into {self.file.parent}: wait for it") from None
        self._read()
        return self

    def __exit__(self, *_: object) -> None:
        if not (self.mark and self.length()):
            self.drop()
        with suppress(OSError):  # removed while it is held, so that nobody locks a file that is gone
            Path(f"{self.file}.lock").unlink()
        self._lock.release()

    @property
    def _notes(self) -> Path:
        return Path(f"{self.file}.json")

    def _read(self) -> None:
        try:
            notes: dict[str, Any] = json.loads(self._notes.read_text(encoding="utf-8"))
            known = notes["url"] == self.url and bool(notes["mark"]) and self.file.is_file()
        except (OSError, ValueError, KeyError, TypeError):
            known = False
        if not known:
            self.drop()
            return
        self.mark, self.total = notes["mark"], notes["total"]

    def length(self) -> int:
        """Bytes that are there."""
        return self.file.stat().st_size if self.file.is_file() else 0

    def is_complete(self) -> bool:
        """True if all bytes of a file of known length are there."""
        return self.total is not None and self.length() == self.total > 0

    def conditions(self) -> dict[str, str]:
        """Headers that ask for the missing bytes, or for the whole file if it has changed; none if nothing is there."""
        return {"Range": f"bytes={self.length()}-", "If-Range": self.mark} if self.mark and self.length() else {}

    def continues(self, headers: Mapping[str, str]) -> bool:
        """True if an answer with a part of the file goes on where this one ends."""
        first, _, total = headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        if first.partition("-")[0] != str(self.length()):
            return False
        return total == "*" or self.total is None or total == str(self.total)

    def begin(self, headers: Mapping[str, str]) -> None:
        """Begin anew with an answer that holds the whole file."""
        self.drop()
        tag = headers.get("ETag", "")
        # A weak tag does not promise equal bytes.
        self.mark = tag if tag.startswith('"') else headers.get("Last-Modified", "")
        length = headers.get("Content-Length", "")
        self.total = int(length) if length.isdecimal() else None
        self.file.touch()
        notes = {"url": self.url, "mark": self.mark, "total": self.total}
        self._notes.write_text(json.dumps(notes), encoding="utf-8")

    def drop(self) -> None:
        """Forget what is there."""
        self.file.unlink(missing_ok=True)
        self._notes.unlink(missing_ok=True)
        self.mark, self.total = "", None

    def move(self, path: Path) -> None:
        """Make it the complete file."""
        os.replace(self.file, path)  # noqa: PTH105
        self.drop()
