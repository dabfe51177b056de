"""Latencies of selectors and tasks' models at several batch sizes, for `ltrp-bench latency`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Final, Literal

import torch

from ltrp_bench.harness.evaluation.environment import cpu_name, device_name, package_versions
from ltrp_bench.harness.evaluation.latency.timing import Clock
from ltrp_bench.harness.evaluation.latency.workload import measure, workload_of
from ltrp_bench.harness.evaluation.plan import NO_SMALLER, SelectorEntry, TaskEntry
from ltrp_bench.harness.evaluation.whole_image import whole_image
from ltrp_bench.results.store.latency import BATCHES, Latencies, LatencyEntry, LatencySetting
from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.base import Sample, Task

IMAGES: Final = 32
"""Number of images that are read; larger batches repeat them."""

Pair = tuple[SelectorEntry, TaskEntry]
Notice = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class LatencyOptions:
    """How latencies are measured.

    Attributes:
        batches: batch sizes.
        turns: number of turns behind each median.
        seconds: seconds that the turns of one selector, task and batch size may take; at least three turns are made.
        device: torch device of selectors and models.
        clock: "wall", or "cpu" for processor time.
    """

    batches: Sequence[int] = BATCHES
    turns: int = 30
    seconds: float = 20.0
    device: str = "cpu"
    clock: Literal["wall", "cpu"] = "wall"


def measurable(pairs: Sequence[Pair], notice: Notice) -> list[Pair]:
    """The pairs whose time says something, and the whole image on each task with a model.

    Args:
        pairs: each selector with each task.
        notice: called with a line about each selector that is left out.
    """
    out: list[Pair] = []
    left_out: dict[str, None] = {}
    for selector, task in pairs:
        own = selector.selector
        if own.role == "reference" and not own.keeps_every_patch:
            left_out[f"{selector.shown} is left out: it is given the ground truth, so its time says nothing"] = None
        elif own.keeps_every_patch and task.task.reduction == "none":
            left_out[f"{selector.shown} is left out on {task.shown}: there is no model"] = None
        elif own.reduces_by_downsampling and (not task.task.supports_downsample or task.task.reduction == "none"):
            why = "there is no model" if task.task.reduction == "none" else NO_SMALLER
            left_out[f"{selector.shown} is left out on {task.shown}: {why}"] = None
        else:
            out.append((selector, task))
    for line in left_out:
        notice(line)
    tasks = {task.info.identity.text: task for _, task in out if task.task.reduction != "none"}
    covered = {task.info.identity.text for selector, task in out if selector.selector.keeps_every_patch}
    return [*out, *((whole_image(task), task) for key, task in tasks.items() if key not in covered)]


def measure_pairs(
    pairs: Iterable[Pair], ratios: Sequence[float], options: LatencyOptions, notice: Notice
) -> Iterator[tuple[Pair, Latencies]]:
    """Measure pairs one after another.

    Args:
        pairs: as returned by `measurable`.
        ratios: keep ratios.
        options: batch sizes, number of turns, device.
        notice: called with a line about each batch size at which a pair fails, such as for lack of memory.

    Yields:
        Each pair with its latencies, which may be none.
    """
    setting = latency_setting(options)
    for selector, task in pairs:
        images = _images_of_one_size(task.task)
        entries: list[LatencyEntry] = []
        for batch in sorted(options.batches):
            samples = [images[i % len(images)] for i in range(batch)]
            try:
                entries += _measure_batch(selector, task, samples, ratios, options)
            except (RuntimeError, MemoryError, InputError) as error:
                # Memory that is lacking, or a selector that takes no batches.
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                notice(f"{selector.shown} on {task.shown} is left out at batch size {batch}: {reason}")
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        yield (selector, task), Latencies(setting, now, tuple(entries))


def latency_setting(options: LatencyOptions) -> LatencySetting:
    """Device and way of measuring of this process."""
    return LatencySetting(
        device=device_name(options.device),
        cpu=cpu_name(),
        threads=torch.get_num_threads(),
        clock=options.clock,
        versions=package_versions("torch", "timm"),
    )


def _measure_batch(
    selector: SelectorEntry,
    task: TaskEntry,
    samples: Sequence[Sample],
    ratios: Sequence[float],
    options: LatencyOptions,
) -> list[LatencyEntry]:
    device = torch.device(options.device)
    own = (1.0,) if selector.selector.keeps_every_patch else tuple(ratios)
    clock = Clock(options.clock, device)
    with torch.inference_mode():
        workload = workload_of(selector.selector, task.task, samples, own, device)
    turns, found = measure(workload, own, turns=options.turns, seconds=options.seconds, clock=clock)
    return [
        LatencyEntry(
            task_id=task.info.identity.short,
            selector_id=selector.info.identity.short,
            keep_ratio=ratio,
            batch=len(samples),
            turns=turns,
            **times,
        )
        for ratio, times in found.items()
    ]


def _images_of_one_size(task: Task) -> list[Sample]:
    """Images of the commonest size among the first ones, which make one batch."""
    sizes: dict[Any, list[Sample]] = {}
    for index in range(min(len(task), IMAGES)):
        sample = task.load(index)
        sizes.setdefault((sample.image.shape, task.grid(sample)), []).append(sample)
    return max(sizes.values(), key=len)
