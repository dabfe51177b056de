"""Lines of `run --dry-run`."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

from ltrp_bench.harness.cli.terminal.messages import counted
from ltrp_bench.harness.sweeps.forecast import TRIED, Forecast, GroupForecast

_HEAD = ("task", "selector", "seed", "done", "to do", "images left", "on disk", "scores cached", "time", "disk")
_OFTEN_EMPTY: Final = ("done", "on disk", "scores cached")


def forecast_lines(forecast: Forecast, folder: Path) -> list[str]:
    """A table with one line a selector, task and seed, and the sums.

    Args:
        forecast: what a sweep would do.
        folder: of the results; it need not exist.
    """
    rows = [_HEAD, *map(_row, forecast.groups)]
    # Narrow terminals have no room for columns that say nothing.
    empty = [title in _OFTEN_EMPTY and {row[i] for row in rows[1:]} == {"-"} for i, title in enumerate(_HEAD)]
    rows = [tuple(part for part, no in zip(row, empty, strict=True) if not no) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(part.ljust(width) for part, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    done = sum(len(one.done) for one in forecast.groups)
    left = sum(len(one.open) for one in forecast.groups)
    images = sum(one.left for one in forecast.groups)
    space = sum(one.bytes for one in forecast.groups)
    lines.append(f"{counted(done, 'cell')} done, {left} to do, {counted(images, 'image')} to evaluate")
    if left:
        lines.append(
            f"about {_clock(forecast.seconds)} in one process, {_clock(forecast.reading)} of it to read images; "
            f"{_size(space)} of {_size(_free(folder))} free disk space"
        )
    if any(one.tried for one in forecast.groups):
        lines.append(f"~ measured now on {TRIED} images; other times are those of finished cells")
    return [*lines, "nothing was evaluated or written (--dry-run)"]


def _row(one: GroupForecast) -> tuple[str, ...]:
    total = one.images * len(one.open)
    return (
        one.group.task.shown,
        one.group.selector.shown,
        str(one.group.seed),
        _ratios(one.done),
        _ratios(one.open),
        str(one.left),
        f"{one.held} of {total}" if one.held else "-",
        f"{one.scored} of {one.images}" if one.scored else "-",
        f"{'~' if one.tried else ''}{_clock(one.seconds)}" if one.left else "-",
        _size(one.bytes) if one.left else "-",
    )


def _ratios(ratios: Sequence[float]) -> str:
    return " ".join(f"{ratio:g}" for ratio in ratios) or "-"


def _clock(seconds: float) -> str:
    """ "0:00:07", "2 days, 3:04:05"."""
    return str(timedelta(seconds=round(seconds)))


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _free(folder: Path) -> int:
    there = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    return shutil.disk_usage(there).free
