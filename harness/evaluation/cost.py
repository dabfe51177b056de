"""What a group of cells costs, measured while it runs: the selector an image, the model an image and keep ratio.

Times are medians over chunks, so that warming up and a busy moment weigh little; they are provenance, no result.
"""

from __future__ import annotations

import math
import platform
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ltrp_bench.harness.evaluation.flops import count_flops
from ltrp_bench.harness.evaluation.score_cache import ScoreCost


class CostMeter:
    """Costs of one group.

    Args:
        device: where the selector runs; part of what a stored time is of.
        free: a selector that computes nothing (`downsample`).
        notice: told when the operations cannot be counted.
    """

    def __init__(self, device: str, free: bool, notice: Callable[[str], None]) -> None:
        self._machine = f"{platform.node()} {device}"
        self._notice = notice
        self._gflops: float | None = 0.0 if free else None
        self._selector: list[float] = [0.0] if free else []
        self._models: dict[str, list[float]] = defaultdict(list)

    def scored(self, ms: float, score_one: Callable[[], object]) -> ScoreCost:
        """A chunk's scores took so many milliseconds an image; `score_one` scores one, to count operations once."""
        self._selector.append(ms)
        if self._gflops is None:
            try:
                self._gflops = count_flops(score_one) / 1e9
            except Exception as error:  # a foreign selector may do what the counter cannot follow
                self._gflops = math.nan
                self._notice(f"the selector's operations cannot be counted ({type(error).__name__}: {error})")
        return ScoreCost(ms, self._machine, self._gflops)

    def remember(self, cost: ScoreCost | None) -> None:
        """A chunk's scores were found; what they cost counts if it was measured here."""
        if cost is not None and cost.machine == self._machine:
            self._selector.append(cost.ms)
            self._gflops = cost.gflops

    @contextmanager
    def model(self, cell: str, images: int) -> Iterator[None]:
        """Around what a cell's model does with a chunk of images."""
        began = time.perf_counter()
        yield
        if images:
            self._models[cell].append(1000 * (time.perf_counter() - began) / images)

    def of(self, cell: str) -> dict[str, Any]:
        """Of one image: selector_ms, selector_gflops, model_ms; null where nothing was measured."""
        return {
            "selector_ms": _median(self._selector),
            "selector_gflops": None if self._gflops is None or math.isnan(self._gflops) else self._gflops,
            "model_ms": _median(self._models[cell]),
        }


def _median(values: list[float]) -> float | None:
    return round(statistics.median(values), 4) if values else None
