"""What is timed: a selector, a model on what is kept, both one after another, and the model on the whole image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Generic, TypeVar

import numpy as np
import torch

from ltrp_bench.harness.evaluation.latency.timing import Clock, affordable_turns, time_in_turns, times_of
from ltrp_bench.harness.evaluation.scorer import Scorer
from ltrp_bench.results.store.latency import Times
from ltrp_bench.selectors.base import BatchContext, Selector
from ltrp_bench.selectors.topk import resample_scores, top_k
from ltrp_bench.tasks.base import Downsample, Keep, ReducedInput, Sample, Task

R = TypeVar("R")

WHOLE: Final = "whole"
SELECTOR: Final = "selector"

Measured = Mapping[str, Times]
"""Part, as in `results.store.latency.PARTS` -> its times."""


@dataclass(frozen=True, kw_only=True)
class Workload(Generic[R]):
    """A batch of prepared images, with a selector, a model, or both.

    Attributes:
        select: keep ratio -> what is kept; None if no selector is run.
        run: runs the model on what is kept; None if there is no model.
        whole: what is kept of whole images; for `run`.
        kept: keep ratio -> what the model alone is given.
    """

    select: Callable[[float], R] | None = None
    run: Callable[[R], object] | None = None
    whole: R | None = None
    kept: Mapping[float, R] = field(default_factory=dict)

    def variants(self, ratios: Sequence[float]) -> dict[str, Callable[[], Any]]:
        """Calls to be timed: "whole", "selector", and "model r" and "both r" for each keep ratio."""
        out: dict[str, Callable[[], Any]] = {}
        if self.run is not None and self.whole is not None:
            out[WHOLE] = partial(self.run, self.whole)
        if self.select is not None and ratios:
            out[SELECTOR] = partial(self.select, ratios[0])
        for ratio in ratios:
            if self.run is None:
                break
            out[f"model {ratio}"] = partial(self.run, self.kept[ratio])
            if self.select is not None:
                out[f"both {ratio}"] = partial(self._both, ratio)
        return out

    def _both(self, ratio: float) -> object:
        assert self.select is not None and self.run is not None
        return self.run(self.select(ratio))


def measure(
    workload: Workload[Any], ratios: Sequence[float], *, turns: int, seconds: float, clock: Clock
) -> tuple[int, dict[float, Measured]]:
    """Time all parts of a workload in turns, after a warm-up.

    Args:
        workload: what is timed.
        ratios: keep ratios.
        turns: number of turns; fewer where they would take longer than `seconds`, but at least three.
        seconds: seconds that all turns may take.
        clock: measures the seconds.

    Returns:
        Number of turns; and keep ratio -> times. Where no selector is run, "both" is the model alone.
    """
    variants = workload.variants(ratios)
    with torch.inference_mode():
        number = affordable_turns(variants, turns, seconds, clock)
        taken = {name: times_of(one) for name, one in time_in_turns(variants, number, clock).items()}
    out: dict[float, Measured] = {}
    for ratio in ratios:
        model = taken.get(f"model {ratio}")
        found = {
            "whole": taken.get(WHOLE),
            "selector": taken.get(SELECTOR),
            "model": model,
            "both": taken.get(f"both {ratio}", model),
        }
        out[ratio] = {part: times for part, times in found.items() if times is not None}
    return number, out


def workload_of(
    selector: Selector, task: Task, samples: Sequence[Sample], ratios: Sequence[float], device: torch.device
) -> Workload[list[ReducedInput]]:
    """The workload of a selector and a task's model on one batch.

    Images are decoded, resized and normalized beforehand, for the selector and, as far as `Task.model_runner` says, for
    the model.

    Args:
        selector: the selector.
        task: the task.
        samples: images of one size; they may repeat.
        ratios: keep ratios.
        device: device of the selector.
    """
    run = None if task.reduction == "none" else task.model_runner(samples)
    grid = task.grid(samples[0])
    whole: list[ReducedInput] = [Keep(np.ones(grid, dtype=bool))] * len(samples)
    if selector.keeps_every_patch:
        return Workload(run=run, whole=whole, kept=dict.fromkeys(ratios, whole))
    if selector.reduces_by_downsampling:
        return Workload(run=run, whole=whole, kept={ratio: [Downsample(ratio)] * len(samples) for ratio in ratios})
    choose = _chooser(selector, samples, grid, device)
    return Workload(select=choose, run=run, whole=whole, kept={ratio: choose(ratio) for ratio in ratios})


def _chooser(
    selector: Selector, samples: Sequence[Sample], grid: tuple[int, int], device: torch.device
) -> Callable[[float], list[ReducedInput]]:
    """Function that scores prepared images and keeps the patches of greatest score, as a run does."""
    scorer = Scorer(selector, device, len(samples))
    selector.to(device)
    images = selector.prepare([sample.image for sample in samples], grid, device)
    ids = tuple(sample.image_id for sample in samples)
    context = BatchContext(ids, 0, None, grid)

    def choose(ratio: float) -> list[ReducedInput]:
        scores = resample_scores(scorer.query(images, context), grid)
        return [Keep(mask) for mask in top_k(scores, ratio, ids).mask().cpu().numpy()]

    return choose
