"""Clocks and turns, common to the benchmarks."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch

R = TypeVar("R")


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
        self.wait()
        start = self.now()
        run()
        self.wait()
        return self.now() - start

    def wait(self) -> None:
        """Wait for all work on a GPU."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


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


def processor(device: torch.device) -> str:
    """Model of a GPU, else of this machine's processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine()


def lowest_times(run: Callable[[], R], repeats: int, device: torch.device) -> tuple[float, float, R]:
    """Lowest wall time and lowest processor time of several calls, in seconds, and the result of the last call."""
    wall, busy = [], []
    for _ in range(repeats):
        start, work = time.perf_counter(), time.process_time()
        result = run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        wall.append(time.perf_counter() - start)
        busy.append(time.process_time() - work)
    return min(wall), min(busy), result
