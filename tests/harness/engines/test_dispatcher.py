"""Work goes on elsewhere when a job's worker dies, is lost or unfit; jobs here fail when and how the test says."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
import toy_bench as toy

from ltrp_bench.harness.engines.dispatcher import Dispatcher, Fate, Held
from ltrp_bench.harness.engines.span_worker import SpanWorker
from ltrp_bench.harness.engines.work_order import Assignment, UnfitWorkerError
from ltrp_bench.harness.evaluation.execution.span_work import SpanBatch, SpanResult, SpanWork
from ltrp_bench.harness.evaluation.options import Request, SweepOptions
from ltrp_bench.harness.evaluation.plan import CellGroup, plan
from ltrp_bench.harness.evaluation.request import resolve_request
from ltrp_bench.harness.evaluation.sweep import run_sweep
from ltrp_bench.results.store.run_store import RunStore
from ltrp_bench.selectors.errors import InputError

OPTIONS = SweepOptions(workers=0)


class FakeJob:
    """Evaluates in this process; `fail` is asked before each order and may return an error and a fate."""

    def __init__(self, root: Path, fail: Callable[[Assignment], tuple[BaseException, Fate] | None]) -> None:
        self._worker, self._fail = SpanWorker(root, OPTIONS), fail
        self._fates: dict[int, Fate] = {}
        self.held: Held = deque()
        self.coming: Future[Any] | None = None
        self.usable = True
        self.orders: list[Assignment] = []

    def submit(self, assignment: Assignment) -> None:
        self.orders.append(assignment)
        future: Future[list[SpanResult]] = Future()
        failure = self._fail(assignment)
        if failure is None:
            future.set_result(self._worker.evaluate(assignment.order))
        else:
            error, fate = failure
            self._fates[id(error)] = fate
            future.set_exception(error)
        self.held.append((assignment, future))

    def fate(self, error: BaseException) -> Fate | None:
        return self._fates.get(id(error))

    def restart(self, fate: Fate) -> None:
        self.held.clear()
        self.usable = fate is not Fate.UNFIT

    def check(self) -> None: ...

    def stop(self, kill: bool) -> None: ...


class FakeExecutor:
    """An `Executor` of fake jobs."""

    def __init__(self, jobs: list[FakeJob], notices: list[str]) -> None:
        self.run = Dispatcher(jobs, notices.append).run

    def __enter__(self) -> FakeExecutor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@pytest.fixture(scope="module")
def groups() -> list[CellGroup]:
    request = Request(selectors=("random", "center", "variance"), tasks=("shapes-coverage",), shared={"limit": 150})
    return plan(resolve_request(request, pytest.fail), (0.25, 0.5), (0,), pytest.fail)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, groups: list[CellGroup]) -> Mapping[str, bytes]:
    out = tmp_path_factory.mktemp("serial")
    run_sweep(groups, RunStore(out), OPTIONS, toy.Recorder())
    return toy.contents(out)


def _sweep(groups: list[CellGroup], root: Path, jobs: list[FakeJob]) -> list[str]:
    notices: list[str] = []
    run_sweep(groups, RunStore(root), OPTIONS, toy.Recorder(), executor=FakeExecutor(jobs, notices))  # type: ignore[arg-type]
    return notices


def _never(assignment: Assignment) -> None:
    return None


def _once(fate: Fate, error: BaseException) -> Callable[[Assignment], tuple[BaseException, Fate] | None]:
    failures = [(error, fate)]
    return lambda assignment: failures.pop() if failures else None


@pytest.mark.parametrize("fate", [Fate.KILLED, Fate.LOST, Fate.UNFIT])
def test_the_rest_of_a_dead_worker_is_done_by_others(
    groups: list[CellGroup], reference: Mapping[str, bytes], tmp_path: Path, fate: Fate
) -> None:
    error = UnfitWorkerError("node 2: no file x.pth") if fate is Fate.UNFIT else RuntimeError("gone")
    jobs = [FakeJob(tmp_path, _never), FakeJob(tmp_path, _once(fate, error))]
    notices = _sweep(groups, tmp_path, jobs)
    assert toy.contents(tmp_path) == reference
    assert notices == (["node 2: no file x.pth; it gets no more work"] if fate is Fate.UNFIT else [])
    assert (len(jobs[1].orders) <= 2) == (fate is Fate.UNFIT)


def test_work_is_shared(groups: list[CellGroup], tmp_path: Path) -> None:
    jobs = [FakeJob(tmp_path, _never) for _ in range(3)]
    _sweep(groups, tmp_path, jobs)
    # 3 spans for 3 jobs are few, so each is cut by selectors.
    images = [sum(len(one.batch.works) * (one.batch.span[1] - one.batch.span[0]) for one in job.orders) for job in jobs]
    assert sum(images) == 3 * 150 and min(images) > 0 and max(images) - min(images) <= 2 * 64


def test_work_that_kills_its_worker_three_times_is_given_up(groups: list[CellGroup], tmp_path: Path) -> None:
    def deadly(assignment: Assignment) -> tuple[BaseException, Fate] | None:
        works = [work for work in assignment.batch.works if work.group.selector.name == "center"]
        return (MemoryError(), Fate.KILLED) if works and works[0].span[0] == 64 else None

    with pytest.raises(InputError, match="center on shapes-coverage, seed 0, images 64 to 127: its worker was killed"):
        _sweep(groups, tmp_path, [FakeJob(tmp_path, deadly)])
    assert {record.selector.name for record in RunStore(tmp_path).read_cells()} == {"random", "variance"}


def test_a_lost_machine_is_no_fault_of_the_work(
    groups: list[CellGroup], reference: Mapping[str, bytes], tmp_path: Path
) -> None:
    failures = [(RuntimeError("gone"), Fate.LOST) for _ in range(7)]
    _sweep(groups, tmp_path, [FakeJob(tmp_path, lambda assignment: failures.pop() if failures else None)])
    assert toy.contents(tmp_path) == reference


def test_without_a_fit_worker_the_run_ends(groups: list[CellGroup], tmp_path: Path) -> None:
    def unfit(assignment: Assignment) -> tuple[BaseException, Fate]:
        return UnfitWorkerError("node 1: no folder /data"), Fate.UNFIT

    with pytest.raises(InputError, match="no worker is left"):
        _sweep(groups, tmp_path, [FakeJob(tmp_path, unfit), FakeJob(tmp_path, unfit)])


def test_work_waits_for_workers_that_are_being_started(groups: list[CellGroup], tmp_path: Path) -> None:
    class LateJob(FakeJob):
        """Starts its worker in a thread."""

        @property
        def usable(self) -> bool:  # type: ignore[override]
            if self.coming is not None and self.coming.done():
                self.coming = None
            return self.coming is None

        @usable.setter
        def usable(self, value: bool) -> None:
            self.coming = ThreadPoolExecutor().submit(time.sleep, 0.3)

    batches = Dispatcher([LateJob(tmp_path, _never)], pytest.fail).run(
        [
            SpanBatch(
                task=groups[0].task, span=(0, 3), works=[SpanWork(group=g, span=(0, 3), cells=g.cells) for g in groups]
            )
        ],
        lambda label: None,
        lambda: 9,
    )
    assert [work.group.key for work, _ in batches] == [group.key for group in groups]


def test_an_error_of_the_work_ends_the_run(groups: list[CellGroup], tmp_path: Path) -> None:
    def fail(assignment: Assignment) -> tuple[BaseException, Fate]:
        return InputError("image 7 is corrupt"), None  # type: ignore[return-value]

    with pytest.raises(InputError, match="image 7 is corrupt"):
        _sweep(groups, tmp_path, [FakeJob(tmp_path, fail)])
