"""What a sweep tells about its progress."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Progress(Protocol):
    """Receives the progress of a sweep (`harness/progress/terminal.py` shows it)."""

    def start(self, images: Mapping[str, int]) -> None:
        """Called first, with the number of images of each group by its key."""

    def current(self, label: str) -> None:
        """Called when a span begins, with its task, and its selector where it is alone."""

    def advance(self, key: str, images: int, seconds: float | None) -> None:
        """Called when `images` images of a group are finished.

        `seconds` is the time they took; None if another run or process had finished them.
        """

    def notice(self, line: str) -> None:
        """Called with a line for the user."""
