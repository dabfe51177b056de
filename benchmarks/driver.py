"""How many workers one driver can keep busy: simulated workers sleep instead of computing, the driver really writes.

    python benchmarks/driver.py [--workers 8 64 512] [--seconds 2] [--spans 400] [--objects 1] [--keep-ratios 4]

Each worker is a thread that sleeps for `--seconds` (a little more or less) and returns rows of 64 images: one row for
each of `--objects` objects at each keep ratio, like a task would. The driver hands out work, stores rows, ranks and
scores, and finishes the cell, as in a run. Printed: spans a second, the share of the time that workers were busy, the
processor time of the driver for a span, and its memory. Where workers are idle for a large share, the driver is the
limit: its time for a span tells at how many spans a second.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np

from ltrp_bench.harness.engines.dispatcher import Dispatcher, Fate, Held
from ltrp_bench.harness.engines.work_order import Assignment
from ltrp_bench.harness.evaluation.cost import ScoreCost, SpanCosts
from ltrp_bench.harness.evaluation.execution.span_work import NewScores, SpanResult
from ltrp_bench.harness.evaluation.options import SweepOptions
from ltrp_bench.harness.evaluation.plan import plan, selector_entry, task_entry
from ltrp_bench.harness.evaluation.recipes import SelectorRecipe, TaskRecipe
from ltrp_bench.harness.evaluation.sweep import run_sweep
from ltrp_bench.results.store.run_store import RunStore
from ltrp_bench.selectors.controls import VarianceControl
from ltrp_bench.tasks.base import MetricRow, ReducedInput, Row, Sample, Task

GRID: Final = (14, 14)
SPAN: Final = 64


class SimulatedTask(Task):
    """Rows of `objects` objects an image; nothing is loaded."""

    name = "simulated"
    domain = "photos"
    reduction = "none"
    headline = "coverage"
    row_schema: Mapping[str, str] = {"category": "string", "coverage": "float64", "area": "float64"}

    def __init__(self, images: int, objects: int) -> None:
        self.images, self.objects = images, objects

    def identity(self) -> dict[str, Any]:
        return {"images": self.images, "objects": self.objects}

    def __len__(self) -> int:
        return self.images

    def image_id(self, index: int) -> str:
        return f"{index:012d}"

    def load(self, index: int) -> Sample:
        raise NotImplementedError

    def grid(self, sample: Sample) -> tuple[int, int]:
        return GRID

    def oracle_scores(self, sample: Sample) -> np.ndarray:
        raise NotImplementedError

    def predict(self, samples: Sequence[Sample], reductions: Sequence[ReducedInput]) -> list[list[Row]]:
        raise NotImplementedError

    def rows(self, index: int) -> list[Row]:
        return [{"category": "cat", "coverage": (index % 97) / 97, "area": 400.0} for _ in range(self.objects)]

    def compute_metrics(self, records: Mapping[str, list[Row]]) -> list[MetricRow]:
        values = [row["coverage"] for rows in records.values() for row in rows]
        return [MetricRow("coverage", "all", None, float(np.mean(values)), len(values))]


class SimulatedWorker:
    """A `Job` whose worker sleeps."""

    def __init__(self, task: SimulatedTask, seconds: float, seed: int) -> None:
        self._task, self._seconds = task, seconds
        self._random = np.random.default_rng(seed)
        self._pool = ThreadPoolExecutor(1)
        self.held: Held = deque()
        self.coming: Future[Any] | None = None
        self.usable = True
        self.busy = 0.0

    def submit(self, assignment: Assignment) -> None:
        self.held.append((assignment, self._pool.submit(self._work, assignment)))

    def _work(self, assignment: Assignment) -> list[SpanResult]:
        took = self._seconds * float(self._random.uniform(0.8, 1.2))
        time.sleep(took)
        self.busy += took
        results = []
        for work in assignment.batch.works:
            first, end = work.span
            ids = [self._task.image_id(index) for index in range(first, end)]
            rows = {self._task.image_id(index): self._task.rows(index) for index in range(first, end)}
            cost = ScoreCost(1.0, "simulated", 1.0)
            scores = NewScores(ids=ids, grids=[GRID] * SPAN, scores=[np.zeros(GRID, np.float32)] * SPAN, cost=cost)
            results.append(
                SpanResult(
                    rows={cell.fingerprint: rows for cell in work.cells},
                    unreadable={},
                    costs=SpanCosts(scores=cost),
                    seconds=took,
                    scores=scores,
                )
            )
        return results

    def fate(self, error: BaseException) -> Fate | None:
        return None

    def restart(self, fate: Fate) -> None: ...

    def check(self) -> None: ...

    def stop(self, kill: bool) -> None:
        self._pool.shutdown()


class SimulatedExecutor:
    """An `Executor` of simulated workers."""

    def __init__(self, workers: Sequence[SimulatedWorker]) -> None:
        self._workers = workers
        self.run = Dispatcher(workers, print).run

    def __enter__(self) -> SimulatedExecutor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.stop(kill=False)


class Quiet:
    """A `Progress` that shows nothing."""

    def start(self, images: Mapping[str, int]) -> None: ...

    def current(self, label: str) -> None: ...

    def advance(self, key: str, images: int, seconds: float | None) -> None: ...

    def notice(self, line: str) -> None: ...


def measure(workers: int, options: argparse.Namespace) -> str:
    """One line of the table."""
    spans = max(options.spans, 6 * workers)
    task = SimulatedTask(spans * SPAN, options.objects)
    selector = selector_entry(VarianceControl(), "variance", {"name": "variance"}, SelectorRecipe(name="variance"))
    ratios = [(index + 1) / (options.keep_ratios + 1) for index in range(options.keep_ratios)]
    groups = plan([(selector, task_entry(task, TaskRecipe(name="simulated")))], ratios, (0,), print)
    simulated = [SimulatedWorker(task, options.seconds, seed) for seed in range(workers)]
    folder = Path(tempfile.mkdtemp())
    began, work = time.perf_counter(), time.process_time()
    run_sweep(groups, RunStore(folder), SweepOptions(), Quiet(), executor=SimulatedExecutor(simulated))  # type: ignore[arg-type]
    took, used = time.perf_counter() - began, time.process_time() - work
    shutil.rmtree(folder)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    busy = sum(one.busy for one in simulated) / (took * workers)
    return (
        f"{workers:8d} {spans:8d} {spans / took:10.1f} {100 * busy:8.0f} % {1000 * used / spans:10.2f} {memory:10.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[8, 64, 512])
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--spans", type=int, default=400)
    parser.add_argument("--objects", type=int, default=1)
    parser.add_argument("--keep-ratios", type=int, default=4)
    options = parser.parse_args()
    print(f"spans of {options.seconds:g} s, {options.objects} rows an image, {options.keep_ratios} keep ratios")
    print(f"{'workers':>8} {'spans':>8} {'spans/s':>10} {'busy':>10} {'CPU ms/span':>10} {'MB':>10}")
    for workers in options.workers:
        print(measure(workers, options))


if __name__ == "__main__":
    main()
