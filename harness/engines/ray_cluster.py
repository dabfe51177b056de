"""Engine `ray`: actors of a Ray cluster share the work of a sweep. Needs the extra `ltrp-bench[cluster]`.

The driver alone writes results, so nodes need no shared disk for them. Data and weights are looked up at the same paths
on every node. A node that lacks them, or has others, gets no more work.
"""

from __future__ import annotations

import logging
import os
import platform
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from ltrp_bench.harness.engines.dispatcher import Dispatcher, Fate, Held
from ltrp_bench.harness.engines.local import THREAD_VARIABLES
from ltrp_bench.harness.engines.names import EngineOptions
from ltrp_bench.harness.engines.ray_nodes import OBJECT_STORE
from ltrp_bench.harness.engines.work_order import Assignment, UnfitWorkerError, WorkOrder
from ltrp_bench.harness.evaluation.execution.span_work import SpanBatch, SpanResult, SpanWork
from ltrp_bench.harness.evaluation.options import SweepOptions
from ltrp_bench.results.store.run_store import RunStore
from ltrp_bench.selectors.errors import BenchError, InputError, UsageError

try:
    import ray
    from ray.exceptions import ActorUnschedulableError, RayActorError, RayTaskError
except ImportError as missing:
    raise UsageError(f"--engine ray: {missing}; install it with: pip install 'ltrp-bench[cluster]'") from missing

VERSIONS: Final = ("ltrp-bench", "torch", "timm", "numpy")
"""Packages that every node must have in the driver's version: others may give other numbers."""


class RayExecutor:
    """Evaluates batches in actors of a Ray cluster.

    Args:
        store: folder of the results.
        options: options of the sweep.
        engine: the cluster, and number and size of its workers.
        notice: called with a line about each worker that was lost.
    """

    def __init__(
        self, store: RunStore, options: SweepOptions, engine: EngineOptions, notice: Callable[[str], None]
    ) -> None:
        self._engine, self._notice = engine, notice
        on_gpu = options.device.startswith("cuda")
        self._gpus = engine.gpus_per_job if engine.gpus_per_job is not None else float(on_gpu)
        self._cpus = engine.cpus_per_job if engine.cpus_per_job is not None else float(options.threads)
        # Ray shows an actor its own GPUs only.
        self._options = replace(
            options, device="cuda" if self._gpus else "cpu", workers=options.workers if on_gpu else 0
        )
        self._root = store.root.resolve()
        self._own = False
        self._jobs: list[_Job] = []

    def __enter__(self) -> RayExecutor:
        if not ray.is_initialized():
            self._own = True
            handler = signal.getsignal(signal.SIGTERM)
            try:
                # Options of a new cluster are refused where one is joined.
                address = self._engine.address
                new = {} if address else {"include_dashboard": False, "object_store_memory": OBJECT_STORE}
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **new)  # type: ignore[arg-type]
            except (ConnectionError, RuntimeError, ValueError) as error:
                reason = " ".join(str(error).split())
                raise InputError(f"--engine ray: no cluster at {self._engine.address}: {reason}") from error
            finally:
                # Ray replaces it; what is finished is to be kept when the process is told to end.
                if threading.current_thread() is threading.main_thread():
                    signal.signal(signal.SIGTERM, handler)
        count = self._engine.jobs or self._room()
        if count < 1:
            raise InputError(f"--engine ray: no node has {self._cpus:g} CPUs and {self._gpus:g} GPUs for a worker")
        variables = dict.fromkeys(THREAD_VARIABLES, str(self._options.threads))
        actor = ray.remote(_RayWorker).options(
            num_cpus=self._cpus, num_gpus=self._gpus, runtime_env={"env_vars": variables}
        )
        start = _Start(actor, self._root, self._options)
        self._jobs = [_Job(start) for _ in range(count)]
        nodes = sum(node["Alive"] for node in ray.nodes())
        self._notice(f"Ray cluster of {nodes} {'nodes' if nodes != 1 else 'node'}: {count} workers")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for job in self._jobs:
            job.stop(kill=True)
        if self._own:
            ray.shutdown()

    def run(
        self, batches: Iterable[SpanBatch], started: Callable[[str], None], left: Callable[[], int]
    ) -> Iterator[tuple[SpanWork, SpanResult]]:
        """See `Executor.run` and `Dispatcher.run`."""
        return Dispatcher(self._jobs, self._notice).run(batches, started, left)

    def _room(self) -> int:
        """Number of workers that the nodes have room for."""
        count = 0
        for node in ray.nodes():
            if node["Alive"]:
                cpus, gpus = node["Resources"].get("CPU", 0.0), node["Resources"].get("GPU", 0.0)
                fits = [cpus / self._cpus] if self._cpus else []
                fits += [gpus / self._gpus] if self._gpus else []
                count += int(min(fits)) if fits else 1
        return count


@dataclass(frozen=True)
class _Start:
    """How workers are started."""

    actor: Any
    root: Path
    options: SweepOptions

    def __call__(self) -> Any:
        return self.actor.remote(self.root, self.options, str(Path.cwd()), _versions())


class _Job:
    """An actor; see `dispatcher.Job`."""

    def __init__(self, start: _Start) -> None:
        self._start = start
        self.held: Held = deque()
        self._unfit = False
        self._begin()

    def _begin(self) -> None:
        self._worker = self._start()
        self._node: str | None = None
        self.coming: Future[Any] | None = self._worker.node.remote().future()

    @property
    def usable(self) -> bool:
        if self.coming is not None and self.coming.done():
            error = self.coming.exception()
            if error is None:
                self._node, self.coming = self.coming.result(), None
            elif isinstance(error, RayActorError | ActorUnschedulableError):
                self._begin()  # its node died while it started
            else:
                raise _plain(error)
        return self.coming is None and not self._unfit

    def submit(self, assignment: Assignment) -> None:
        if self._start.options.workers > 0:
            self._worker.prefetch.remote(assignment.order)
        self.held.append((assignment, self._worker.evaluate.remote(assignment.order).future()))

    def fate(self, error: BaseException) -> Fate | None:
        if isinstance(error, RayActorError):
            alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
            return Fate.KILLED if self._node in alive else Fate.LOST
        if isinstance(_plain(error), UnfitWorkerError):
            return Fate.UNFIT
        return None

    def restart(self, fate: Fate) -> None:
        self.held.clear()
        self.stop(kill=True)
        self._unfit = fate is Fate.UNFIT
        if not self._unfit:
            self._begin()

    def check(self) -> None:
        """See `dispatcher.Job`: Ray itself notices every death."""

    def stop(self, kill: bool) -> None:
        ray.kill(self._worker)


def _plain(error: BaseException) -> BaseException:
    """The error that was raised in a worker."""
    return error.cause if isinstance(error, RayTaskError) and isinstance(error.cause, BenchError) else error


def _versions() -> dict[str, str]:
    return {name: version(name) for name in VERSIONS}


class _RayWorker:
    """The actor: a `SpanWorker` in a process of its own."""

    def __init__(self, root: Path, options: SweepOptions, folder: str, versions: dict[str, str]) -> None:
        from ltrp_bench.harness.engines.span_worker import SpanWorker

        self._versions = versions
        if Path(folder).is_dir():
            os.chdir(folder)  # paths on the command line are relative to it
        self._worker = SpanWorker(root, options)

    def node(self) -> str:
        """Id of the node that the actor runs on."""
        return str(ray.get_runtime_context().get_node_id())

    def prefetch(self, order: WorkOrder) -> None:
        """See `SpanWorker.prefetch`; what fails here fails again in `evaluate`."""
        try:
            self._worker.prefetch(order)
        except BenchError:
            return

    def evaluate(self, order: WorkOrder) -> list[SpanResult]:
        """See `SpanWorker.evaluate`."""
        for name, found in _versions().items():
            if found != self._versions[name]:
                raise UnfitWorkerError(f"{platform.node()}: {name} is {found} instead of {self._versions[name]}")
        return self._worker.evaluate(order)
