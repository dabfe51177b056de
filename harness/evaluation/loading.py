"""Images of a task, read in order and span by span by several threads in advance."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.base import Sample, Task

Span = tuple[int, int]
"""(first, end): the images at indices first to end - 1 of a task."""

_PREFETCHED: Final = 2
"""Spans held at a time: one being worked on and one being read."""


@dataclass(frozen=True)
class LoadedSpan:
    """The images of one span.

    Attributes:
        span: (first, end).
        samples: the images that could be read, in order.
        grids: (gh, gw) of each sample.
        unreadable: image id -> why the image could not be read.
    """

    span: Span
    samples: Sequence[Sample]
    grids: Sequence[tuple[int, int]]
    unreadable: dict[str, str]

    @property
    def image_ids(self) -> list[str]:
        """Ids of the samples."""
        return [sample.image_id for sample in self.samples]


def spans(images: int, size: int) -> list[Span]:
    """[0, images) cut into spans of `size` images; always the same ones, so that finished spans are found again."""
    return [(first, min(first + size, images)) for first in range(0, images, size)]


def load_spans(wanted: Iterable[tuple[Task, Span]], workers: int, skip_unreadable: bool) -> Iterator[LoadedSpan]:
    """Load spans of images of tasks, in order; the result does not depend on `workers`.

    Args:
        wanted: task and span of each; taken one by one, at most two ahead of what is returned.
        workers: number of threads; 0 loads in the caller's thread.
        skip_unreadable: True to collect unreadable images in `LoadedSpan.unreadable` instead of raising.

    Raises:
        InputError: for the first unreadable image, unless `skip_unreadable`.
    """
    with ThreadPoolExecutor(max(1, workers), thread_name_prefix="load") as pool:
        readers = pool if workers > 0 else None
        ahead: deque[SpanLoading] = deque()
        remaining = iter(wanted)
        try:
            while True:
                for task, span in itertools.islice(remaining, (_PREFETCHED if readers else 1) - len(ahead)):
                    ahead.append(SpanLoading(task, span, readers, skip_unreadable))
                if not ahead:
                    break
                loaded = ahead[0].result()
                ahead.popleft()
                yield loaded
        finally:
            # After an error or Ctrl-C, images whose reading has not started need not be read.
            for loading in ahead:
                loading.cancel()


class SpanLoading:
    """A span of images that is being read.

    Args:
        task: the task to load images of.
        span: the images.
        readers: threads that begin at once; None reads when `result` is called.
        skip_unreadable: True to collect unreadable images instead of raising.
    """

    def __init__(self, task: Task, span: Span, readers: ThreadPoolExecutor | None, skip_unreadable: bool) -> None:
        self._task, self._span, self._skip_unreadable = task, span, skip_unreadable
        self._futures: list[Future[Sample | InputError]] | None = None
        if readers is not None:
            self._futures = [readers.submit(_load, task, index, skip_unreadable) for index in range(*span)]

    def result(self) -> LoadedSpan:
        """The images. Raises InputError for the first unreadable one, unless such images are collected."""
        if self._futures is None:
            loaded = [_load(self._task, index, self._skip_unreadable) for index in range(*self._span)]
        else:
            loaded = [future.result() for future in self._futures]
        return _collect(self._task, self._span, loaded)

    def cancel(self) -> None:
        """Do not read images whose reading has not begun."""
        for future in self._futures or ():
            future.cancel()


def _load(task: Task, index: int, skip_unreadable: bool) -> Sample | InputError:
    try:
        return task.load(index)
    except InputError as error:
        if not skip_unreadable:
            raise InputError(f"{error} (--skip-bad-images leaves such images out)") from error
        return error


def _collect(task: Task, span: Span, loaded: Sequence[Sample | InputError]) -> LoadedSpan:
    samples, unreadable = [], {}
    for index, one in zip(range(*span), loaded, strict=True):
        if isinstance(one, InputError):
            unreadable[task.image_id(index)] = str(one)
        else:
            samples.append(one)
    return LoadedSpan(span, samples, [task.grid(sample) for sample in samples], unreadable)
