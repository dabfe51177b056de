"""Clocks, turns, and the median and 90th percentile of what was timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch

from ltrp_bench.results.store.latency import Times

FEWEST_TURNS: Final = 3


class Clock:
    """Measures the seconds of a call.

    Args:
        kind: "wall", or "cpu" for the processor time of all threads.
        device: a GPU is waited for before and after the call.
    """

    def __init__(self, kind: str, device: torch.device) -> None:
        self.now = time.perf_counter if kind == "wall" else time.process_time
        self.device = device

    def __call__(self, run: Callable[[], Any]) -> float:
        """Seconds of a call."""
        self.wait()
        start = self.now()
        run()
        self.wait()
        return self.now() - start

    def wait(self) -> None:
        """Wait for all work on a GPU, which a call only starts."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()


def time_in_turns(variants: Mapping[str, Callable[[], Any]], turns: int, clock: Clock) -> dict[str, list[float]]:
    """Time variants in turns, so that whatever slows the machine down for a while slows all of them.

    Every turn begins with another variant; each variant is run once before the first turn.

    Returns:
        Seconds of each variant in each turn.
    """
    for run in variants.values():
        run()
    names = list(variants)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(turns):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            seconds[name].append(clock(variants[name]))
    return seconds


def affordable_turns(variants: Mapping[str, Callable[[], Any]], most: int, limit: float, clock: Clock) -> int:
    """As many turns as are wanted, fewer where they would take longer, but at least `FEWEST_TURNS`.

    Args:
        variants: each is run twice, the second time to see how long a turn takes.
        most: number of turns that are wanted.
        limit: seconds that all turns may take.
        clock: measures the seconds.
    """
    once = 0.0
    for run in variants.values():
        run()
        once += clock(run)
    return max(FEWEST_TURNS, min(most, int(limit / once) if once > 0 else most))


def times_of(seconds: Sequence[float]) -> Times:
    """Median and 90th percentile of some seconds, in milliseconds; between two of them on a straight line."""
    ms = 1000 * np.asarray(seconds, dtype=np.float64)
    return Times(float(np.median(ms)), float(np.quantile(ms, 0.9)))
