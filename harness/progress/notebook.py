"""Progress of a run in a notebook: a bar in the output of the cell, which is replaced as the run goes on."""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final

from ltrp_bench.harness.progress.pace import Pace
from ltrp_bench.harness.progress.terminal import clock

INTERVAL: Final = 0.5
"""Least time in seconds between two states: each is a message to the browser."""


class NotebookProgress:
    """A `sweep.Progress` for notebooks, used as a context manager.

    Args:
        shown: False to show notes only.
        words: changes the text of notes.
    """

    def __init__(self, shown: bool = True, words: Callable[[str], str] = str) -> None:
        self._shown, self._words = shown, words
        self._handle: Any = None
        self._label, self._total, self._done, self._worked = "", 0, 0, 0
        self._pace = Pace({})
        self._began = time.monotonic()
        self._drawn = -INTERVAL

    def __enter__(self) -> NotebookProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._label = "done"
        self._draw(last=True)

    def start(self, images: Mapping[str, int]) -> None:
        """Begin a sweep of groups with these numbers of images."""
        self._total, self._began, self._pace = sum(images.values()), time.monotonic(), Pace(images)
        self._draw()

    def current(self, label: str) -> None:
        """Show what is worked on."""
        self._label = label
        self._draw()

    def advance(self, key: str, images: int, seconds: float | None) -> None:
        """Count images as done; those that were done before (`seconds` is None) do not count towards the rate."""
        self._done += images
        self._worked += images if seconds is not None else 0
        self._pace.add(key, images, seconds)
        self._draw()

    def notice(self, line: str) -> None:
        """Print a note below the bar."""
        print(f"note: {self._words(line)}")

    @property
    def worked(self) -> int:
        """Number of images evaluated in this run, summed over groups."""
        return self._worked

    def _draw(self, last: bool = False) -> None:
        now = time.monotonic()
        if not self._shown or not self._total or (now - self._drawn < INTERVAL and not last):
            return
        self._drawn = now
        content = {"text/html": self._html(last), "text/plain": self._text(last)}
        if self._handle is None:
            from IPython.display import display

            self._handle = display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)

    def _text(self, last: bool) -> str:
        parts = [f"{self._done}/{self._total} images", f"{self._worked} evaluated now" if last else "", self._label]
        left = None if last else self._pace.left(time.monotonic() - self._began)
        return " · ".join(part for part in [*parts, "" if left is None else f"about {clock(left)} left"] if part)

    def _html(self, last: bool) -> str:
        bar = f'<progress value="{self._done}" max="{self._total}" style="width: 16em"></progress>'
        return f"<div>{bar} {html.escape(self._text(last))}</div>"
