"""How far a run is: a live bar in a terminal, plain lines elsewhere; and the tables at the end."""

from __future__ import annotations

import math
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    import pandas as pd

PLAIN_EVERY: Final = 15.0
"""Seconds between lines where there is no terminal."""

PLAIN_WIDTH: Final = 200


def console(stderr: bool = False) -> Console:
    """A console that does not cut tables short when its output goes to a file."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, width=None if stream.isatty() else PLAIN_WIDTH, soft_wrap=False)


class RunProgress:
    """Tells a person how far a sweep is, on stderr; a `sweep.Progress`.

    Use as a context manager. In a terminal: one bar over all pictures of all cells, with the current cell,
    pictures a second and the time left. Elsewhere: a line every `PLAIN_EVERY` seconds and at each new cell.
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
        """`total` pictures, over all groups, are ahead."""
        self._total, self._began = total, time.monotonic()
        self._bar.update(self._task, total=total)

    def current(self, label: str) -> None:
        """This group is being worked on."""
        self._label = label
        self._bar.update(self._task, description=label)
        if not self.live:
            self._line()

    def advance(self, images: int, worked: bool) -> None:
        """So many pictures are done; those found done do not count towards the rate."""
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
        """Pictures measured in this run, summed over groups."""
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


def results_table(frame: pd.DataFrame) -> Table:
    """The leaderboard for a terminal; incomplete rows say what is missing instead of values.

    A column `gap_adjusted` is shown where the frame has one that says anything (`results/crossover.py`).
    """
    adjusted = "gap_adjusted" in frame and bool(frame["gap_adjusted"].notna().any())
    table = Table(box=None, header_style="bold", pad_edge=False)
    mixed = {name: frame.groupby(name)[f"{name}_id"].nunique().max() > 1 for name in ("task", "selector") if len(frame)}
    for name in ("task", "reduction", "keep", "selector", "supervision", "metric"):
        table.add_column(name, justify="right" if name == "keep" else "left", no_wrap=True)
    for name in ("all", "seen", "unseen", "gap", *(["adjusted"] if adjusted else []), "seeds", "images"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    previous: Any = None
    for row in frame.to_dict("records"):
        kind = (row["task"], row["task_id"], row["reduction"], row["keep_ratio"])
        if previous is not None and kind != previous:
            table.add_section()
        previous = kind
        names = [
            f"{row[name]} {row[f'{name}_id']}" if mixed.get(name) else str(row[name]) for name in ("task", "selector")
        ]
        values = [_value(row, "all"), _value(row, "seen"), _value(row, "unseen"), _value(row, "gap", "+.4f")]
        if adjusted:
            values.append("-" if math.isnan(row["gap_adjusted"]) else f"{row['gap_adjusted']:+.4f}")
        notes = [] if row["complete"] else [f"incomplete: lacks {row['missing']}"]
        if row["skipped"]:
            notes.append(f"{row['skipped']} images left out")
        cells = [
            names[0],
            row["reduction"],
            f"{row['keep_ratio']:g}",
            names[1],
            row["supervision"],
            row["metric"],
        ]
        table.add_row(
            *(str(cell) for cell in cells),
            *values,
            str(row["seeds"]),
            str(row["images"]),
            "; ".join(notes),
            style=None if row["complete"] else "dim",
        )
    return table


def _value(row: dict[Any, Any], name: str, form: str = ".4f") -> str:
    value, spread = float(row[name]), float(row[f"{name}_std"])
    if math.isnan(value):
        return "-"
    return f"{value:{form}}" if math.isnan(spread) else f"{value:{form}} ±{spread:.4f}"
