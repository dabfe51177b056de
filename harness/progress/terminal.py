"""Progress of a run: a live bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, track
from rich.text import Text

from ltrp_bench.harness.progress.pace import Pace

LINE_INTERVAL: Final = 15.0
"""Seconds between lines where there is no terminal."""

FILE_WIDTH: Final = 400
"""Width of tables in characters where there is no terminal."""


def console(stderr: bool = False) -> Console:
    """A console on stdout or stderr that does not cut tables short when its output goes to a file.

    Text is printed as it is: names that users gave may look like rich's markup, such as "ltrp [small]".
    """
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else FILE_WIDTH
    return Console(stderr=stderr, width=width, soft_wrap=False, markup=False, emoji=False)


class RunProgress:
    """Shows the progress of a sweep on stderr; a `sweep.Progress`, used as a context manager.

    In a terminal it is one bar over the images of all groups of cells, with the current task, images per second and the
    time left. Elsewhere it is a line every `LINE_INTERVAL` seconds and at the start of each task.

    The time left follows from what remains: each group's images take as long as those of the same group that are done,
    or as the mean of all groups where none is.

    Args:
        live: True for the bar, False for lines; by default the bar in a terminal.
        words: changes the text of notes.
    """

    def __init__(self, live: bool | None = None, words: Callable[[str], str] = str) -> None:
        self._words = words
        self.console = console(stderr=True)
        self.live = self.console.is_terminal if live is None else live
        self._bar = Progress(
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TextColumn("{task.fields[left]}"),
            console=self.console,
            disable=not self.live,
        )
        self._task = self._bar.add_task("starting", total=None, rate="", left="")
        self._label, self._total, self._done, self._worked = "", 0, 0, 0
        self._labels: set[str] = set()
        self._pace = Pace({})
        self._began = self._printed = time.monotonic()

    def __enter__(self) -> RunProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.update(self._task, visible=self._total > 0)  # a run that ended before its images has no bar
        self._bar.stop()

    def start(self, images: Mapping[str, int]) -> None:
        """Begin a sweep of groups with these numbers of images."""
        self._total, self._began, self._pace = sum(images.values()), time.monotonic(), Pace(images)
        self._bar.update(self._task, total=self._total)

    def current(self, label: str) -> None:
        """Show what is worked on; a line for each label, when it first comes up."""
        self._label = label
        self._bar.update(self._task, description=label)
        if not self.live and label not in self._labels:
            self._print_line()
        self._labels.add(label)

    def advance(self, key: str, images: int, seconds: float | None) -> None:
        """Count images as done; those that were done before (`seconds` is None) do not count towards the rate."""
        self._done += images
        self._worked += images if seconds is not None else 0
        self._pace.add(key, images, seconds)
        self._bar.update(self._task, advance=images, rate=self._rate(), left=self._left())
        if not self.live and self._label and time.monotonic() - self._printed >= LINE_INTERVAL:
            self._print_line()

    def notice(self, line: str) -> None:
        """Print a note above the bar."""
        self.console.print(Text(f"note: {self._words(line)}"), soft_wrap=True)

    @property
    def worked(self) -> int:
        """Number of images evaluated in this run, summed over groups."""
        return self._worked

    def _rate(self) -> str:
        seconds = time.monotonic() - self._began
        return f"{self._worked / seconds:.1f} images/s" if self._worked and seconds > 0 else ""

    def _left(self) -> str:
        left = self._pace.left(time.monotonic() - self._began)
        return "" if left is None else f"about {clock(left)} left"

    def _print_line(self) -> None:
        self._printed = time.monotonic()
        parts = [f"{self._done}/{self._total} images", self._label, self._rate(), self._left()]
        self.console.print(Text(" · ".join(part for part in parts if part)), soft_wrap=True)


def clock(seconds: float) -> str:
    """Text like "1:05", or "2:03:04" from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"


def tracked(description: str) -> Callable[[Sequence[Any]], Iterable[Any]]:
    """Returns a function that wraps a sequence so that iterating over it shows a progress bar in a terminal.

    Args:
        description: text before the bar.
    """

    def wrap(items: Sequence[Any]) -> Iterable[Any]:
        own = console(stderr=True)
        return track(items, description, console=own, transient=True, disable=not own.is_terminal)

    return wrap
