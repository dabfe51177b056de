"""Cost of a group of cells, measured while it runs: the selector's per image, the model's per image and keep ratio.

Times are medians over spans, so that warm-up and a busy moment weigh little. They are provenance, not part of a result.
"""

from __future__ import annotations

import math
import platform
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ltrp_bench.harness.evaluation.flops import count_flops


@dataclass(frozen=True)
class ScoreCost:
    """Cost of the scores of one image.

    Attributes:
        ms: milliseconds.
        machine: host name and device.
        gflops: floating-point operations in units of 1e9; NaN if they cannot be counted.
    """

    ms: float
    machine: str
    gflops: float


class CostMeter:
    """Costs of one group of cells.

    Args:
        device: device of the selector; times of other devices are not mixed in.
        notice: called with a line when the operations cannot be counted.
        free: True for a selector that is not run at all.
    """

    def __init__(self, device: str, notice: Callable[[str], None], *, free: bool = False) -> None:
        self._machine = f"{platform.node()} {device}"
        self._notice = notice
        self._gflops: float | None = 0.0 if free else None
        self._selector: list[float] = [0.0] if free else []
        self._models: dict[str, list[float]] = defaultdict(list)

    def add_scores(self, ms: float, score_one: Callable[[], object]) -> ScoreCost:
        """Add the time of a span's scores, and count the operations of one image the first time.

        Args:
            ms: milliseconds per image.
            score_one: scores one image.
        """
        self._selector.append(ms)
        if self._gflops is None:
            try:
                self._gflops = count_flops(score_one) / 1e9
            except Exception as error:  # a third-party selector may do what the counter cannot follow
                self._gflops = math.nan
                self._notice(f"the selector's operations cannot be counted ({type(error).__name__}: {error})")
        return ScoreCost(ms, self._machine, self._gflops)

    def add_cached(self, cost: ScoreCost | None) -> None:
        """Add the cost of scores found in the cache, if it was measured on this machine and device."""
        if cost is not None and cost.machine == self._machine:
            self._selector.append(cost.ms)
            self._gflops = cost.gflops

    @contextmanager
    def measure_model(self, fingerprint: str, images: int) -> Iterator[None]:
        """Time what the model of a cell does with the `images` images of a span."""
        began = time.perf_counter()
        yield
        if images:
            self._models[fingerprint].append(1000 * (time.perf_counter() - began) / images)

    def summary(self, fingerprint: str) -> dict[str, float | None]:
        """Cost per image of a cell: selector_ms, selector_gflops, model_ms; None where nothing was measured."""
        return {
            "selector_ms": _median(self._selector),
            "selector_gflops": None if self._gflops is None or math.isnan(self._gflops) else self._gflops,
            "model_ms": _median(self._models[fingerprint]),
        }


def _median(values: list[float]) -> float | None:
    return round(statistics.median(values), 4) if values else None
