"""Engine `local`: several processes of this machine share the work of a sweep.

Each job is a process pool of the standard library with one worker, so that a worker that dies is known together with
the work that it was doing. Workers are forked from a server process that has imported torch, but has not started
threads of it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Final

from ltrp_bench.harness.engines.dispatcher import Dispatcher, Fate, Held
from ltrp_bench.harness.engines.work_order import Assignment, WorkOrder
from ltrp_bench.harness.evaluation.execution.span_work import SpanBatch, SpanResult, SpanWork
from ltrp_bench.harness.evaluation.options import SweepOptions
from ltrp_bench.results.store.run_store import RunStore

if TYPE_CHECKING:
    from ltrp_bench.harness.engines.span_worker import SpanWorker

THREAD_VARIABLES: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class LocalExecutor:
    """Evaluates batches in processes of this machine.

    Args:
        store: folder of the results.
        options: options of the sweep. Without a GPU, each job reads its images itself.
        devices: one for each job, e.g. ("cuda:0", "cuda:1") or ("cpu", "cpu").
        notice: called with a line about each worker that was lost.
    """

    def __init__(
        self, store: RunStore, options: SweepOptions, devices: Iterable[str], notice: Callable[[str], None]
    ) -> None:
        self._jobs = [_Job(store.root, _job_options(options, device)) for device in devices]
        self._dispatcher = Dispatcher(self._jobs, notice)

    def __enter__(self) -> LocalExecutor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for job in self._jobs:
            job.stop(kill=error is not None)

    def run(
        self, batches: Iterable[SpanBatch], started: Callable[[str], None], left: Callable[[], int]
    ) -> Iterator[tuple[SpanWork, SpanResult]]:
        """See `Executor.run` and `Dispatcher.run`."""
        return self._dispatcher.run(batches, started, left)


def _job_options(options: SweepOptions, device: str) -> SweepOptions:
    return replace(options, device=device, workers=0 if device == "cpu" else options.workers)


class _Job:
    """A worker process; see `dispatcher.Job`."""

    usable = True

    def __init__(self, root: Path, options: SweepOptions) -> None:
        self._root, self._options = root, options
        self._pool: ProcessPoolExecutor | None = None
        self.held: Held = deque()
        self.coming: Future[Any] | None = None

    def submit(self, assignment: Assignment) -> None:
        if self._pool is None:
            self._pool = _pool(self._root, self._options)
        try:
            if self._options.workers > 0:
                self._pool.submit(_prefetch, assignment.order)
            future = self._pool.submit(_evaluate, assignment.order)
        except BrokenProcessPool as error:
            if not self.held:  # it died while it had nothing to do
                self.restart(Fate.KILLED)
                return self.submit(assignment)
            future = Future()
            future.set_exception(error)
        self.held.append((assignment, future))

    def fate(self, error: BaseException) -> Fate | None:
        return Fate.KILLED if isinstance(error, BrokenProcessPool) else None

    def restart(self, fate: Fate) -> None:
        self.held.clear()
        self.stop(kill=True)  # the next assignment starts another worker

    def check(self) -> None:
        """See `dispatcher.Job`.

        The pool fails what its dead worker holds, but for two cases: work that is submitted at the moment when it
        notices the death, and a worker killed while it writes a result, whose rest the pool waits for.
        """
        workers = self._workers()
        if not workers or any(worker.is_alive() for worker in workers):
            return
        for index, (assignment, future) in enumerate(self.held):
            if not future.done():
                # Another future: the pool may still get to its own.
                failed: Future[list[SpanResult]] = Future()
                failed.set_exception(BrokenProcessPool("the worker died"))
                self.held[index] = assignment, failed

    def stop(self, kill: bool) -> None:
        if self._pool is None:
            return
        if kill:
            for process in self._workers():
                process.kill()
        self._pool.shutdown(wait=not kill, cancel_futures=True)
        self._pool = None

    def _workers(self) -> list[Any]:
        """The worker's process; no public way to it before Python 3.14."""
        return [] if self._pool is None else list((self._pool._processes or {}).values())


def _pool(root: Path, options: SweepOptions) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ltrp_bench.harness.engines.span_worker"])
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    try:
        # Read once, when numerical libraries are loaded in the server process.
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(options.threads)))
        pool = ProcessPoolExecutor(1, mp_context=context, initializer=_begin, initargs=(root, options))
        with _hidden_script():
            pool.submit(_ready)  # starts the worker now, while the variables are set
        return pool
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _hidden_script() -> Iterator[None]:
    """Keep workers that start meanwhile from importing the driver's script.

    `multiprocessing` imports it in each worker, which would run a script without `if __name__ == "__main__"` again:
    the workers would wait for the driver, whose work it repeats. Workers need nothing of the script.
    """
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


# -- in the worker's process

_worker: SpanWorker


def _begin(root: Path, options: SweepOptions) -> None:
    from ltrp_bench.harness.engines import span_worker

    # Ctrl-C reaches all processes of a terminal; the driver ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_driver, daemon=True).start()
    global _worker
    _worker = span_worker.SpanWorker(root, options)


def _end_with_the_driver() -> None:
    driver = multiprocessing.parent_process()
    if driver is not None:
        driver.join()
        os._exit(1)


def _ready() -> None:
    pass


def _prefetch(order: WorkOrder) -> None:
    _worker.prefetch(order)


def _evaluate(order: WorkOrder) -> list[SpanResult]:
    results: list[SpanResult] = _worker.evaluate(order)
    return results
