"""Several processes: the same bytes as one, also if workers are killed; work that kills its workers is given up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest
import toy_bench as toy

from ltrp_bench.harness.engines.engine import job_devices
from ltrp_bench.harness.engines.local import LocalExecutor
from ltrp_bench.harness.evaluation.execution.span_work import SpanResult, SpanWork
from ltrp_bench.harness.evaluation.options import Request, SweepOptions
from ltrp_bench.harness.evaluation.plan import CellGroup, plan
from ltrp_bench.harness.evaluation.request import resolve_request
from ltrp_bench.harness.evaluation.sweep import run_sweep
from ltrp_bench.results.schema.record import Identity
from ltrp_bench.results.store.run_store import RunStore
from ltrp_bench.selectors.errors import InputError, UsageError

OPTIONS = SweepOptions()


def _groups(*selectors: str, limit: int = 150) -> list[CellGroup]:
    request = Request(selectors=selectors, tasks=("shapes-coverage",), shared={"limit": limit})
    return plan(resolve_request(request, pytest.fail), (0.25, 0.5), (0,), pytest.fail)


@pytest.fixture(scope="module")
def groups() -> list[CellGroup]:
    return _groups("random", "center", "variance", "oracle")


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, groups: list[CellGroup]) -> Mapping[str, bytes]:
    out = tmp_path_factory.mktemp("serial")
    run_sweep(groups, RunStore(out), OPTIONS, toy.Recorder())
    return toy.contents(out)


class KillingExecutor(LocalExecutor):
    """Kills a worker after the first result."""

    def run(self, *args: object, **kwargs: object) -> Iterator[tuple[SpanWork, SpanResult]]:
        for number, result in enumerate(super().run(*args, **kwargs)):  # type: ignore[arg-type]
            if number == 0:
                for job in self._jobs:
                    for pid in (job._pool._processes or {}) if job._pool else ():
                        os.kill(pid, signal.SIGKILL)
            yield result


@pytest.mark.parametrize("executor", [LocalExecutor, KillingExecutor])
def test_two_jobs_end_with_the_bytes_of_one_process(
    groups: list[CellGroup], reference: Mapping[str, bytes], tmp_path: Path, executor: type[LocalExecutor]
) -> None:
    store, recorder = RunStore(tmp_path), toy.Recorder()
    run_sweep(
        groups,
        store,
        OPTIONS,
        recorder,
        executor=executor(
            store, OPTIONS, ["cpu", "cpu"], pytest.fail if executor is LocalExecutor else recorder.notice
        ),
    )
    assert toy.contents(tmp_path) == reference
    assert recorder.done == recorder.worked == recorder.total == 600


class ForgettingExecutor(LocalExecutor):
    """Kills a worker after the first result, and forgets to fail what it held, as pools sometimes do."""

    def run(self, *args: object, **kwargs: object) -> Iterator[tuple[SpanWork, SpanResult]]:
        for number, result in enumerate(super().run(*args, **kwargs)):  # type: ignore[arg-type]
            if number == 0:
                job = self._jobs[0]
                job.held = deque((assignment, Future()) for assignment, _ in job.held)
                (worker,) = job._workers()
                worker.kill()
                worker.join()
            yield result


def test_what_a_dead_worker_holds_is_done_by_others_if_its_pool_says_nothing(
    groups: list[CellGroup], reference: Mapping[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ltrp_bench.harness.engines.dispatcher.CHECK", 0.1)
    store = RunStore(tmp_path)
    run_sweep(groups, store, OPTIONS, toy.Recorder(), executor=ForgettingExecutor(store, OPTIONS, ["cpu"], pytest.fail))
    assert toy.contents(tmp_path) == reference


POISON = """
import os, signal
from ltrp_bench.selectors.controls import CenterControl

class Poison(CenterControl):
    name = "poison"
    def _scores(self, images, context):
        if context.image_ids[0].endswith("70"):
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._scores(images, context)
"""


def test_work_that_kills_its_workers_is_given_up_and_the_rest_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "poisonous.py").write_text(POISON)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    groups, store = _groups("random", "poisonous:Poison"), RunStore(tmp_path / "runs")
    with pytest.raises(InputError, match=r"images 64 to 127: its worker was killed 3 times") as caught:
        run_sweep(groups, store, OPTIONS, toy.Recorder(), executor=LocalExecutor(store, OPTIONS, ["cpu"], pytest.fail))
    assert "\n" not in str(caught.value) and "Poison" in str(caught.value) and "random" not in str(caught.value)
    assert {record.selector.name for record in store.read_cells()} == {"random"}
    spans = sorted(path.name for path in (tmp_path / "runs" / "partial" / groups[1].key).glob("*.parquet"))
    assert spans == ["00000000-00000064.parquet", "00000128-00000150.parquet"]


def test_objects_of_the_caller_stay_in_its_process(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    with pytest.raises(UsageError, match="task 'toy-coverage' was built by the caller: only engine 'serial'"):
        run_sweep(
            toy.toy_groups(),
            store,
            OPTIONS,
            toy.Recorder(),
            executor=LocalExecutor(store, OPTIONS, ["cpu"], pytest.fail),
        )


def test_a_worker_with_other_files_says_so(tmp_path: Path) -> None:
    """The data set that a worker finds differs from the one that the run was planned with."""
    store, (group,) = RunStore(tmp_path), _groups("random", limit=3)
    info = replace(group.task.info, identity=Identity.of({**group.task.info.identity.value, "data": "older"}))
    other = replace(group, task=replace(group.task, info=info))
    with pytest.raises(
        InputError, match="shapes-coverage has other files .*: data: shapes v1, seed 2000 instead of older"
    ):
        run_sweep([other], store, OPTIONS, toy.Recorder(), executor=LocalExecutor(store, OPTIONS, ["cpu"], pytest.fail))


def test_jobs_of_a_machine_without_gpu() -> None:
    assert job_devices("cpu", 3, threads=1) == ["cpu"] * 3
    assert 1 <= len(job_devices("cpu", None, threads=1)) <= (os.cpu_count() or 1)
    assert job_devices("cpu", None, threads=10_000) == ["cpu"]
    assert job_devices("cuda:1", 2, threads=1) == ["cuda:1", "cuda:1"]


SCRIPT = """
import sys
import ltrp_bench as lb

print("the script begins")
selectors = ["random", "variance"]
results = lb.evaluate(selectors, "shapes-coverage", [0.5], limit=130, out=sys.argv[1], engine="local", jobs=2)
print(len(results.leaderboard()), "rows")
"""


def test_workers_do_not_run_a_script_without_a_guard_again(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "script.py", str(tmp_path / "runs")]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=500)
    assert ran.returncode == 0, ran.stderr
    printed = [line for line in ran.stdout.splitlines() if not line.startswith("note: ")]
    assert printed == ["the script begins", "2 rows"] and "died" not in ran.stderr
