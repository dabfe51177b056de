"""Images from disk, in order, a chunk ahead of the work, by several threads."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.base import Sample, Task

Span = tuple[int, int]
"""Indices first to end - 1 of a task's images."""


@dataclass(frozen=True)
class Chunk:
    """The images of one span that could be read, and image id -> why for those that could not."""

    span: Span
    samples: list[Sample]
    bad: dict[str, str]


def spans(images: int, size: int) -> list[Span]:
    """[0, images) cut into spans of `size`; always the same, so that finished chunks are found again."""
    return [(first, min(first + size, images)) for first in range(0, images, size)]


def load_chunks(task: Task, wanted: Sequence[Span], workers: int, skip_bad: bool) -> Iterator[Chunk]:
    """The chunks of `wanted`, in order; what they hold does not depend on `workers`.

    Args:
        task: whose images.
        wanted: spans to load.
        workers: threads; 0 loads in the caller's.
        skip_bad: collect unreadable images in `Chunk.bad` instead of raising.

    Raises:
        InputError: for the first unreadable image, unless `skip_bad`.
    """
    if workers <= 0:
        for span in wanted:
            yield _collect(task, span, [_load(task, index, skip_bad) for index in range(*span)])
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="load") as pool:
        ahead: deque[tuple[Span, list[Future[Sample | InputError]]]] = deque()
        try:
            coming = iter(wanted)
            while True:
                for span in itertools.islice(coming, 2 - len(ahead)):
                    ahead.append((span, [pool.submit(_load, task, i, skip_bad) for i in range(*span)]))
                if not ahead:
                    break
                done, futures = ahead[0]
                loaded = [future.result() for future in futures]
                ahead.popleft()
                yield _collect(task, done, loaded)
        finally:
            # Left early (an error, Ctrl-C): what has not started need not be read.
            for _, futures in ahead:
                for future in futures:
                    future.cancel()


def _load(task: Task, index: int, skip_bad: bool) -> Sample | InputError:
    try:
        return task.load(index)
    except InputError as error:
        if not skip_bad:
            raise InputError(f"{error} (--skip-bad-images leaves such images out)") from error
        return error


def _collect(task: Task, span: Span, loaded: Sequence[Sample | InputError]) -> Chunk:
    samples, bad = [], {}
    for index, one in zip(range(*span), loaded, strict=True):
        if isinstance(one, InputError):
            bad[task.image_id(index)] = str(one)
        else:
            samples.append(one)
    return Chunk(span, samples, bad)
