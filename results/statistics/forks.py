"""Work that is shared by forks of this process."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, Final, TypeVar

T = TypeVar("T")
R = TypeVar("R")

FEW: Final = 16
"""Items for which no processes are started."""

_shared: tuple[Callable[[Any], Any], Sequence[Any]] | None = None
"""Function and items of `map_forked`; forks inherit them, so that neither needs to be pickled."""


def map_forked(function: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """Results of a function, in order; computed by one fork of this process for each core where that is safe.

    That is on Linux, in a process that has not imported torch, whose threads do not survive a fork; elsewhere this
    process does the work.

    Args:
        function: its results are pickled; what it changes in memory is lost.
        items: arguments.
    """
    global _shared
    jobs = min(usable_cores(), len(items))
    if jobs < 2 or len(items) < FEW or sys.platform != "linux" or "torch" in sys.modules:
        yield from map(function, items)
        return
    _shared = function, items
    try:
        with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("fork")) as pool:
            yield from pool.map(_call, range(len(items)))
    finally:
        _shared = None


def usable_cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _call(number: int) -> Any:
    if _shared is None:
        raise RuntimeError("this process is no fork of one in map_forked")
    function, items = _shared
    return function(items[number])
