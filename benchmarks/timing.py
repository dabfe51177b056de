"""Clocks and turns, common to the benchmarks."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from typing import TypeVar

import torch

from ltrp_bench.harness.evaluation.latency.timing import Clock, time_in_turns

__all__ = ["Clock", "lowest_times", "processor", "time_in_turns"]

R = TypeVar("R")


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
