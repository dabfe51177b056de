"""Hands the work of a sweep to jobs, and gives what a dead job has left to others."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from enum import Enum, auto
from typing import Any, Final, Protocol

from ltrp_bench.harness.engines.work_order import ATTEMPTS, Assignment
from ltrp_bench.harness.evaluation.execution.span_work import SpanBatch, SpanResult, SpanWork
from ltrp_bench.selectors.errors import InputError

AHEAD: Final = 2
"""Batches that a job holds: one being worked on, and one whose images are being read."""

FEW: Final = 4
"""Batches a job; if fewer are left, each is cut into parts, so that all jobs end at about the same time."""

PATIENCE: Final = 60.0
"""Seconds without any worker after which a line says so."""

CHECK: Final = 5.0
"""Seconds without any result after which jobs look whether their workers are alive."""

Held = deque[tuple[Assignment, "Future[list[SpanResult]]"]]


class Fate(Enum):
    """What became of a job whose work failed."""

    KILLED = auto()
    """The worker died of its work, as far as can be told."""
    LOST = auto()
    """The worker's machine is gone."""
    UNFIT = auto()
    """The worker's machine lacks files, or has others."""


class Job(Protocol):
    """One worker at a time.

    Attributes:
        held: what it was given and has not returned, in the order in which it works.
        coming: done once a worker that is being started is ready for work; None if one is ready, or none will come.
    """

    held: Held
    coming: Future[Any] | None

    @property
    def usable(self) -> bool:
        """True if it can be given work."""

    def submit(self, assignment: Assignment) -> None:
        """Give it work."""

    def fate(self, error: BaseException) -> Fate | None:
        """What an error says of the worker; None if it is an error of the work itself."""

    def restart(self, fate: Fate) -> None:
        """Forget the worker and what it holds, and start another one, or none if its machine is unfit."""

    def check(self) -> None:
        """Fail what the worker holds if it died without a word."""

    def stop(self, kill: bool) -> None:
        """End the worker, without waiting for its work if `kill`."""


class Dispatcher:
    """Shares batches between jobs.

    Args:
        jobs: one or more.
        notice: called with a line about each worker that was lost.
    """

    def __init__(self, jobs: Sequence[Job], notice: Callable[[str], None]) -> None:
        self._jobs, self._notice = jobs, notice
        self._again: deque[Assignment] = deque()
        self._given_up: list[Assignment] = []
        self._deaths = 0
        self._handed_out = False

    def run(
        self, batches: Iterable[SpanBatch], started: Callable[[str], None], left: Callable[[], int]
    ) -> Iterator[tuple[SpanWork, SpanResult]]:
        """See `Executor.run`. Raises InputError at the end if work has killed its worker again and again."""
        source = iter(batches)
        self._handed_out, waited = False, 0.0
        while True:
            self._fill(source, started, left)
            running: list[Future[Any]] = [job.held[0][1] for job in self._jobs if job.held]
            coming = [job.coming for job in self._jobs if job.coming is not None]
            if not running and not self._again and self._handed_out:
                break
            if not running and not coming:
                raise InputError("no worker is left to go on with; everything finished is kept: see the lines above")
            waited = 0.0 if wait([*running, *coming], CHECK, FIRST_COMPLETED).done else waited + CHECK
            if waited and waited % PATIENCE == 0 and not running:
                self._notice("there is no worker at the moment: waiting for one to start")
            for job in self._jobs:
                if waited:
                    job.check()
                yield from self._collect(job)
        if self._given_up:
            raise InputError(self._failures())

    def _fill(self, source: Iterator[SpanBatch], started: Callable[[str], None], left: Callable[[], int]) -> None:
        usable = [job for job in self._jobs if job.usable]
        for depth in range(AHEAD):
            for job in usable:
                if len(job.held) <= depth and (one := self._next(source, left, len(usable))) is not None:
                    job.submit(one)
                    died = f", {self._deaths} died" if self._deaths else ""
                    started(f"{one.batch.label} ({len(usable)} workers{died})")

    def _next(self, source: Iterator[SpanBatch], left: Callable[[], int], jobs: int) -> Assignment | None:
        """What a dead worker has left, else a new batch: cut into parts when there are too few batches for all jobs."""
        if self._again:
            return self._again.popleft()
        batch = next(source, None)
        if batch is None:
            self._handed_out = True
            return None
        few = left() < FEW * jobs * len(batch.works) * (batch.span[1] - batch.span[0])
        first, *others = [Assignment(part) for part in batch.parts(jobs if few else 1)]
        self._again.extend(others)
        return first

    def _collect(self, job: Job) -> Iterator[tuple[SpanWork, SpanResult]]:
        """Results of what a job has done; what it has left goes to others if its worker is gone."""
        while job.held and job.held[0][1].done():
            assignment, future = job.held[0]
            error = future.exception()
            if error is None:
                job.held.popleft()
                yield from zip(assignment.batch.works, future.result(), strict=True)
                continue
            fate = job.fate(error)
            if fate is None:
                raise error
            others = [one for one, _ in job.held][1:]
            self._deaths += 1
            if fate is Fate.UNFIT:
                self._notice(f"{error}; it gets no more work")
            job.restart(fate)
            if fate is Fate.KILLED:
                for part in assignment.after_a_kill():
                    (self._given_up if part.kills >= ATTEMPTS else self._again).append(part)
            else:
                self._again.append(assignment)
            self._again.extend(others)

    def _failures(self) -> str:
        first, *more = self._given_up
        return (
            f"{first.label}: its worker was killed {ATTEMPTS} times (out of memory?)"
            + (f", and {len(more)} more" if more else "")
            + "; everything else is finished; the same command tries again"
        )
