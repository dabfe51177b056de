"""What shells propose for the names of selectors and tasks; nothing is loaded for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Final

Complete = Callable[[str], list[str]]


def names_of(kind: str) -> Complete:
    """Function from what is typed so far to the names that it may become; the last one of a list "a,b" is completed.

    Args:
        kind: "selectors" or "tasks", of the entry points.
    """

    def complete(incomplete: str) -> list[str]:
        done, comma, last = incomplete.rpartition(",")
        names = sorted({point.name for point in entry_points(group=f"ltrp_bench.{kind}")})
        return [f"{done}{comma}{name}" for name in names if name.startswith(last)]

    return complete


COMPLETIONS: Final[Mapping[str, Complete]] = {
    "selector": names_of("selectors"),
    "against": names_of("selectors"),
    "task": names_of("tasks"),
}
"""Name of an option's field -> what is proposed for it."""
