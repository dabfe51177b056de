"""Cost of a group of cells, measured while it runs: the selector's per image, the model's per image and keep ratio.

`CostRecorder` measures one span after another, wherever it is evaluated; `CostMeter` sums up the spans of a group.
Times are medians over spans, so that warm-up and a busy moment weigh little. They are provenance, not part of a result.
"""

from __future__ import annotations

import math
import platform
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field


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


@dataclass(frozen=True, kw_only=True)
class SpanCosts:
    """Costs of one span of images.

    Attributes:
        scores: of the selector; None if it was not run and no cost of this machine is known.
        model_ms: fingerprint of a cell -> milliseconds of the task's model per image.
    """

    scores: ScoreCost | None = None
    model_ms: Mapping[str, float] = field(default_factory=dict)


class CostRecorder:
    """Measures the costs of a group's spans where they are evaluated.

    Args:
        device: device of the selector; times of other devices are not mixed in.
        notice: called with a line when the operations cannot be counted.
        gflops: operations of an image's scores in units of 1e9; None to count them.
    """

    def __init__(self, device: str, notice: Callable[[str], None], gflops: float | None = None) -> None:
        self._machine = f"{platform.node()} {device}"
        self._notice = notice
        self._gflops = gflops
        self._scores: ScoreCost | None = None
        self._model_ms: dict[str, float] = {}

    def add_scores(self, ms: float, score_one: Callable[[], object]) -> ScoreCost:
        """Add the time of a span's scores, and count the operations of one image the first time.

        Args:
            ms: milliseconds per image.
            score_one: scores one image.
        """
        if self._gflops is None:
            # Imported here: torch's counter takes seconds to import, and cached scores need none.
            from ltrp_bench.harness.evaluation.flops import count_flops

            try:
                self._gflops = count_flops(score_one) / 1e9
            except Exception as error:  # a third-party selector may do what the counter cannot follow
                self._gflops = math.nan
                self._notice(f"the selector's operations cannot be counted ({type(error).__name__}: {error})")
        self._scores = ScoreCost(ms, self._machine, self._gflops)
        return self._scores

    def add_cached(self, cost: ScoreCost | None) -> None:
        """Add the cost of scores found in the cache, if it was measured on this machine and device."""
        if cost is not None and cost.machine == self._machine:
            self._scores, self._gflops = cost, cost.gflops

    @contextmanager
    def measure_model(self, fingerprint: str, images: int) -> Iterator[None]:
        """Time what the model of a cell does with the `images` images of a span."""
        began = time.perf_counter()
        yield
        if images:
            self._model_ms[fingerprint] = 1000 * (time.perf_counter() - began) / images

    def take(self) -> SpanCosts:
        """Costs since the last call."""
        costs = SpanCosts(scores=self._scores, model_ms=self._model_ms)
        self._scores, self._model_ms = None, {}
        return costs


class CostMeter:
    """Sums up the costs of a group's spans.

    Args:
        free: True for a selector that is not run at all.
    """

    def __init__(self, *, free: bool = False) -> None:
        self._gflops: float | None = 0.0 if free else None
        self._selector: list[float] = [0.0] if free else []
        self._models: dict[str, list[float]] = defaultdict(list)

    def add(self, costs: SpanCosts) -> None:
        """Add the costs of a span."""
        if costs.scores is not None:
            self._selector.append(costs.scores.ms)
            self._gflops = costs.scores.gflops
        for fingerprint, ms in costs.model_ms.items():
            self._models[fingerprint].append(ms)

    def summary(self, fingerprint: str) -> dict[str, float | None]:
        """Cost per image of a cell: selector_ms, selector_gflops, model_ms; None where nothing was measured."""
        return {
            "selector_ms": _median(self._selector),
            "selector_gflops": None if self._gflops is None or math.isnan(self._gflops) else self._gflops,
            "model_ms": _median(self._models[fingerprint]),
        }


def _median(values: list[float]) -> float | None:
    return round(statistics.median(values), 4) if values else None
