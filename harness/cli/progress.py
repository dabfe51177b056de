"""How far a run is: a live bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn, track
from rich.text import Text

PLAIN_EVERY: Final = 15.0
"""Seconds between lines where there is no terminal."""

PLAIN_WIDTH: Final = 400


def console(stderr: bool = False) -> Console:
    """A console that does not cut tables short when its output goes to a file."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, width=None if stream.isatty() else PLAIN_WIDTH, soft_wrap=False)


class RunProgress:
    """Tells a person how far a sweep is, on stderr; a `sweep.Progress`.

    Use as a context manager. In a terminal: one bar over all images of all cells, with the current cell,
    images a second and the time left. Elsewhere: a line every `PLAIN_EVERY` seconds and at each new cell.
    """

    def __init__(self, live: bool | None = None) -> None:
        self.console = console(stderr=True)
        self.live = self.console.is_terminal if live is None else live
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.live,
        )
        self._task = self._bar.add_task("starting", total=None, rate="")
        self._label, self._total, self._done, self._worked = "", 0, 0, 0
        self._began = self._told = time.monotonic()

    def __enter__(self) -> RunProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def start(self, total: int) -> None:
        """`total` images, over all groups, are ahead."""
        self._total, self._began = total, time.monotonic()
        self._bar.update(self._task, total=total)

    def current(self, label: str) -> None:
        """This group is being worked on."""
        self._label = label
        self._bar.update(self._task, description=label)
        if not self.live:
            self._line()

    def advance(self, images: int, worked: bool) -> None:
        """So many images are done; those found done do not count towards the rate."""
        self._done += images
        self._worked += images if worked else 0
        self._bar.update(self._task, advance=images, rate=self._rate())
        if not self.live and time.monotonic() - self._told >= PLAIN_EVERY:
            self._line()

    def notice(self, line: str) -> None:
        """Print a line without breaking the bar."""
        self.console.print(Text(f"note: {line}"), soft_wrap=True)

    @property
    def worked(self) -> int:
        """Images measured in this run, summed over groups."""
        return self._worked

    def _rate(self) -> str:
        seconds = time.monotonic() - self._began
        return f"{self._worked / seconds:.1f} images/s" if self._worked and seconds > 0 else ""

    def _line(self) -> None:
        self._told = time.monotonic()
        parts = [f"{self._done}/{self._total} images", self._label]
        if rate := self._rate():
            left = (self._total - self._done) * (time.monotonic() - self._began) / self._worked
            parts += [rate, f"about {_clock(left)} left"]
        self.console.print(Text(" · ".join(parts)), soft_wrap=True)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"


def tracked(what: str) -> Callable[[Sequence[Any]], Iterable[Any]]:
    """Wraps a list so that going through it shows a bar on a terminal's stderr; elsewhere nothing is shown."""

    def wrap(items: Sequence[Any]) -> Iterable[Any]:
        own = console(stderr=True)
        return track(items, what, console=own, transient=True, disable=not own.is_terminal)

    return wrap
