"""Engines by name, and how many jobs suit this machine."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final

from ltrp_bench.harness.engines.local import LocalExecutor
from ltrp_bench.harness.engines.names import EngineOptions
from ltrp_bench.harness.engines.work_order import can_be_ordered
from ltrp_bench.harness.evaluation.execution.serial_executor import SerialExecutor
from ltrp_bench.harness.evaluation.execution.span_work import Executor, SpanBatch, SpanResult, SpanWork
from ltrp_bench.harness.evaluation.options import SweepOptions
from ltrp_bench.results.statistics.forks import usable_cores
from ltrp_bench.results.store.run_store import RunStore
from ltrp_bench.selectors.errors import UsageError

TRIAL_SECONDS: Final = 3.0
"""Time that engine `auto` works in this process before it decides."""

WORTH_SECONDS: Final = 30.0
"""Work that is worth the start of other processes, which import torch and build models first."""


def create_executor(
    engine: EngineOptions, store: RunStore, options: SweepOptions, notice: Callable[[str], None]
) -> Executor:
    """The executor of an engine.

    Args:
        engine: which one, and its options.
        store: folder of the results.
        options: options of the sweep.
        notice: called with a line about each worker that was lost.

    Raises:
        UsageError: an option that the engine does not have.
    """
    if engine.engine != "ray":
        for name in ("address", "gpus_per_job", "cpus_per_job"):
            if getattr(engine, name) is not None:
                raise UsageError(f"--{name.replace('_', '-')} is an option of --engine ray")
    if engine.engine == "serial" or (engine.engine == "auto" and engine.jobs == 1):
        if engine.jobs not in (None, 1):
            raise UsageError(f"--jobs {engine.jobs}: engine 'serial' is one process; use --engine local")
        return SerialExecutor(store, options)
    if engine.engine == "local":
        return LocalExecutor(store, options, job_devices(options.device, engine.jobs, options.threads), notice)
    if engine.engine == "ray":
        # Imported here: it is an extra of the package.
        from ltrp_bench.harness.engines.ray_cluster import RayExecutor

        return RayExecutor(store, options, engine, notice)
    return AutoExecutor(store, options, engine.jobs, notice)


class AutoExecutor:
    """Works in this process for a moment, then in several if the work that is left is worth their start.

    Args:
        store: folder of the results.
        options: options of the sweep.
        jobs: most processes; None as in `EngineOptions`.
        notice: called with a line about each worker that was lost.
    """

    def __init__(self, store: RunStore, options: SweepOptions, jobs: int | None, notice: Callable[[str], None]) -> None:
        self._store, self._options, self._jobs, self._notice = store, options, jobs, notice
        self._serial = SerialExecutor(store, options)
        self._local: LocalExecutor | None = None

    def __enter__(self) -> AutoExecutor:
        self._serial.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._serial.__exit__(kind, error, trace)
        if self._local is not None:
            self._local.__exit__(kind, error, trace)

    def run(
        self, batches: Iterable[SpanBatch], started: Callable[[str], None], left: Callable[[], int]
    ) -> Iterator[tuple[SpanWork, SpanResult]]:
        """See `Executor.run`."""
        source = iter(batches)
        if self._local is None and (first := next(source, None)) is not None:
            before, began, done = left(), time.monotonic(), 0
            while done < len(first.works) and (not done or time.monotonic() - began < TRIAL_SECONDS):
                yield from self._serial.run([replace(first, works=[first.works[done]])], started, left)
                done += 1
            seconds = (time.monotonic() - began) / max(1, before - left()) * left()
            if seconds > WORTH_SECONDS and all(can_be_ordered(work.group) for work in first.works):
                devices = job_devices(self._options.device, self._jobs, self._options.threads)
                if len(devices) > 1:
                    self._local = LocalExecutor(self._store, self._options, devices, self._notice)
            if done < len(first.works):
                source = itertools.chain([replace(first, works=first.works[done:])], source)
        yield from (self._local or self._serial).run(source, started, left)


def job_devices(device: str, jobs: int | None, threads: int) -> list[str]:
    """The device of each job: one for each GPU, or as many times "cpu" as there are cores and memory for.

    Args:
        device: device of the run.
        jobs: number of jobs, if the user gave one.
        threads: CPU threads of a job.
    """
    if device.startswith("cuda"):
        import torch

        gpus = [device] if ":" in device else [f"cuda:{number}" for number in range(torch.cuda.device_count())]
        return [gpus[number % len(gpus)] for number in range(jobs or len(gpus))]
    if device != "cpu":
        return [device] * (jobs or 1)
    if jobs is None:
        jobs = max(1, min(usable_cores() // threads, _fitting_processes()))
    return ["cpu"] * jobs


def _fitting_processes() -> int:
    """Processes as large as this one that the free memory holds; a large number where that is unknown."""
    try:
        kilobytes = {}
        for name, file in (("MemAvailable", "/proc/meminfo"), ("VmRSS", "/proc/self/status")):
            lines = Path(file).read_text(encoding="utf-8").splitlines()
            kilobytes[name] = next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
    except (OSError, StopIteration, ValueError):  # not Linux
        return 1000
    return kilobytes["MemAvailable"] // max(1, kilobytes["VmRSS"])
