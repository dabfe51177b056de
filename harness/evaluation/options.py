"""Options of a run: what is evaluated (`Request`) and with which resources (`SweepOptions`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ltrp_bench.harness.evaluation.recipes import SelectorRecipe, TaskRecipe


@dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """Resources of a sweep. Those that change results do so by rounding only.

    Attributes:
        batch_size: most images per batch of a selector or a model on a GPU.
        workers: number of threads that read images; 0 reads in the caller's thread.
        device: torch device of selectors and models.
        threads: number of threads that one operation on the CPU may use. More than one change the last bits of sums.
        skip_bad_images: True to leave out and report unreadable images instead of stopping.
    """

    batch_size: int = 16
    workers: int = 2
    device: str = "cpu"
    threads: int = 1
    skip_bad_images: bool = False

    @property
    def effective_batch_size(self) -> int:
        """Images per batch: 1 on a CPU, where batches gain little and change the last bits of sums."""
        return 1 if self.device.startswith("cpu") else max(1, self.batch_size)


@dataclass(frozen=True, kw_only=True)
class Request:
    """The selectors and tasks of a run, as the user named them.

    Attributes:
        selectors: names known to `selectors.registry`, or recipes.
        tasks: names known to `tasks.registry`, or recipes.
        weights: "FILE" (if there is one selector) or "NAME=FILE"; a label may stand for the name, here and below.
        selector_options: "NAME.key=value".
        data: "DIR" (for every task that reads files) or "TASK=DIR".
        task_options: "TASK.key=value", or "key=value" for every task with such an option.
        shared: options for every task that has them, None where not given: limit, model, split, ... They override
            those of recipes.
        defaults: the same for tasks whose recipes do not have them.
        device: torch device for tasks with a model.
        batch_size: images per batch for tasks with a model.
    """

    selectors: tuple[str | SelectorRecipe, ...]
    tasks: tuple[str | TaskRecipe, ...]
    weights: tuple[str, ...] = ()
    selector_options: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    task_options: tuple[str, ...] = ()
    shared: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    device: str = "cpu"
    batch_size: int = 16
