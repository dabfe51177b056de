"""Engines by name, and how many jobs suit this machine."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Literal

from ltrp_bench.harness.engines.local import LocalExecutor
from ltrp_bench.harness.engines.work_order import can_be_ordered
from ltrp_bench.harness.evaluation.execution.serial_executor import SerialExecutor
from ltrp_bench.harness.evaluation.execution.span_work import Executor, SpanBatch, SpanResult, SpanWork
from ltrp_bench.harness.evaluation.options import SweepOptions
from ltrp_bench.results.store.run_store import RunStore
from ltrp_bench.selectors.errors import UsageError

Engine = Literal["auto", "serial", "local"]

TRIAL_SECONDS: Final = 3.0
"""Time that engine `auto` works in this process before it decides."""

WORTH_SECONDS: Final = 30.0
"""Work that is worth the start of other processes, which import torch and build models first."""


def create_executor(engine: Engine, store: RunStore, options: SweepOptions, jobs: int | None) -> Executor:
    """The executor of an engine.

    Args:
        engine: "serial", "local", or "auto": serial, then local if much is left to do.
        store: folder of the results.
        options: options of the sweep.
        jobs: number of processes of "local" and "auto"; None for one a GPU, else for as many as there are cores and
            memory for.

    Raises:
        UsageError: jobs for engine "serial".
    """
    if engine == "serial" or (engine == "auto" and jobs == 1):
        if jobs not in (None, 1):
            raise UsageError(f"--jobs {jobs}: engine 'serial' is one process; use --engine local")
        return SerialExecutor(store, options)
    if engine == "local":
        return LocalExecutor(store, options, job_devices(options.device, jobs, options.threads))
    return AutoExecutor(store, options, jobs)


class AutoExecutor:
    """Works in this process for a moment, then in several if the work that is left is worth their start.

    Args:
        store: folder of the results.
        options: options of the sweep.
        jobs: most processes; None as `create_executor`.
    """

    def __init__(self, store: RunStore, options: SweepOptions, jobs: int | None) -> None:
        self._store, self._options, self._jobs = store, options, jobs
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
        self, batches: Iterable[SpanBatch], started: Callable[[str], None], left: Callable[[], int] | None = None
    ) -> Iterator[tuple[SpanWork, SpanResult]]:
        """See `Executor.run`."""
        source = iter(batches)
        rest: SpanBatch | None = None
        if self._local is None and (first := next(source, None)) is not None:
            before, began = left() if left else 0, time.monotonic()
            for number, work in enumerate(first.works):
                yield from self._serial.run([replace(first, works=[work])], started)
                seconds = time.monotonic() - began
                if seconds > TRIAL_SECONDS and number + 1 < len(first.works):
                    rest = replace(first, works=first.works[number + 1 :])
                    break
            remaining = left() if left else 0
            pace = seconds / max(1, before - remaining)
            if pace * remaining > WORTH_SECONDS and all(can_be_ordered(work.group) for work in first.works):
                devices = job_devices(self._options.device, self._jobs, self._options.threads)
                if len(devices) > 1:
                    self._local = LocalExecutor(self._store, self._options, devices)
        every = itertools.chain([rest] if rest is not None else [], source)
        yield from (self._local or self._serial).run(every, started, left)


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
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        jobs = max(1, min(cores // threads, _fitting_processes()))
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
