"""A real Ray cluster of three nodes on this machine: the bytes of one process, whatever is killed."""

from __future__ import annotations

import importlib.util
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import toy_bench as toy

from ltrp_bench.harness.engines.names import EngineOptions
from ltrp_bench.harness.engines.work_order import UnfitWorkerError, order_of
from ltrp_bench.harness.evaluation.execution.span_work import SpanBatch, SpanWork
from ltrp_bench.harness.evaluation.options import Request, SweepOptions
from ltrp_bench.harness.evaluation.plan import CellGroup, plan
from ltrp_bench.harness.evaluation.request import resolve_request
from ltrp_bench.harness.evaluation.sweep import run_sweep
from ltrp_bench.results.store.run_store import RunStore
from ltrp_bench.selectors.errors import InputError

pytest.importorskip("ray", reason="needs the extra ltrp-bench[cluster]")

OPTIONS = SweepOptions()

SLOW = """
import os, signal, time
from ltrp_bench.selectors.controls import CenterControl

class Slow(CenterControl):
    name = "slow"
    def _scores(self, images, context):
        time.sleep(0.01)
        return super()._scores(images, context)

class Poison(CenterControl):
    name = "poison"
    def _scores(self, images, context):
        if context.image_ids[0].endswith("70"):
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._scores(images, context)
"""


def _groups(*selectors: str, limit: int = 400) -> list[CellGroup]:
    request = Request(selectors=selectors, tasks=("shapes-coverage",), shared={"limit": limit})
    return plan(resolve_request(request, pytest.fail), (0.25, 0.5), (0,), pytest.fail)


@pytest.fixture(scope="module")
def cluster(shared_dir: Path) -> Iterator[Any]:
    spec = importlib.util.spec_from_file_location("ray_cluster", shared_dir / "cluster" / "ray_cluster.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["ray_cluster"] = module
    spec.loader.exec_module(module)
    with module.local_cluster(nodes=3, cpus=1, object_store_mb=80) as nodes:
        yield nodes


@pytest.fixture
def slow_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_selectors.py").write_text(SLOW)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


def _executor(cluster: Any, store: RunStore, notices: list[str]) -> Any:
    from ltrp_bench.harness.engines.ray_cluster import RayExecutor

    return RayExecutor(store, OPTIONS, EngineOptions(engine="ray", address=cluster.address), notices.append)


def _serial(groups: list[CellGroup], out: Path) -> Mapping[str, bytes]:
    run_sweep(groups, RunStore(out), OPTIONS, toy.Recorder())
    return toy.contents(out)


@pytest.mark.slow
@pytest.mark.usefixtures("slow_module")
def test_a_killed_node_and_a_killed_worker_change_nothing(cluster: Any, tmp_path: Path) -> None:
    groups, store, notices = _groups("slow_selectors:Slow", "random"), RunStore(tmp_path / "ray"), []
    killed: list[str] = []

    def kill() -> None:
        while not list((tmp_path / "ray" / "partial").glob("*/*.parquet")):
            time.sleep(0.05)
        cluster.kill_worker()
        killed.append("worker")
        cluster.kill_node(2)
        killed.append("node")

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        run_sweep(groups, store, OPTIONS, toy.Recorder(), executor=_executor(cluster, store, notices))
    finally:
        killer.join()
        cluster.add_node()
    assert killed == ["worker", "node"]
    assert toy.contents(tmp_path / "ray") == _serial(groups, tmp_path / "serial")
    assert notices == ["Ray cluster of 3 nodes: 3 workers"]


@pytest.mark.slow
@pytest.mark.usefixtures("slow_module")
def test_work_that_kills_its_workers_is_given_up(cluster: Any, tmp_path: Path) -> None:
    groups, store = _groups("random", "slow_selectors:Poison", limit=150), RunStore(tmp_path / "ray")
    with pytest.raises(InputError, match=r"Poison.* images 64 to 127: its worker was killed 3 times"):
        run_sweep(groups, store, OPTIONS, toy.Recorder(), executor=_executor(cluster, store, []))
    assert {record.selector.name for record in store.read_cells()} == {"random"}


@pytest.mark.slow
@pytest.mark.usefixtures("slow_module")
def test_a_killed_driver_goes_on_where_it_was(cluster: Any, tmp_path: Path) -> None:
    code = "import sys; from ltrp_bench.harness.cli.main import run_command; sys.exit(run_command(sys.argv[1:]))"
    arguments = ("run", "--selector", "slow_selectors:Slow", "--task", "shapes-coverage", "--limit", "400")
    arguments += ("--keep-ratio", "0.25", "--keep-ratio", "0.5", "--engine", "ray", "--address", cluster.address)
    command = [sys.executable, "-c", code, *arguments, "--out", "ray"]
    env = {**cluster.env, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    driver = subprocess.Popen(command, env=env)
    while driver.poll() is None and not list((tmp_path / "ray").glob("partial/*/*.parquet")):
        time.sleep(0.05)
    driver.send_signal(signal.SIGKILL)
    assert driver.wait() == -signal.SIGKILL and not list((tmp_path / "ray").glob("cells/*.json"))
    assert subprocess.run(command, env=env).returncode == 0
    assert toy.contents(tmp_path / "ray") == _serial(_groups("slow_selectors:Slow"), tmp_path / "serial")


def test_a_node_with_another_version_is_unfit(tmp_path: Path) -> None:
    from ltrp_bench.harness.engines.ray_cluster import _RayWorker, _versions

    (group,) = _groups("random", limit=3)
    work = SpanWork(group=group, span=(0, 3), cells=group.cells)
    order = order_of(SpanBatch(task=group.task, span=(0, 3), works=[work]))
    (result,) = _RayWorker(tmp_path, SweepOptions(workers=0), str(tmp_path), _versions()).evaluate(order)
    assert sorted(result.rows) == sorted(cell.fingerprint for cell in group.cells)
    with pytest.raises(UnfitWorkerError, match=r"torch is .* instead of 0\.1"):
        _RayWorker(tmp_path, OPTIONS, str(tmp_path), {**_versions(), "torch": "0.1"}).evaluate(order)


@pytest.mark.slow
@pytest.mark.usefixtures("slow_module")
def test_nodes_and_workers_killed_at_random(cluster: Any, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """Kills --kills / 50 nodes and workers, one in each run."""
    groups, moments = _groups("slow_selectors:Slow", "random"), random.Random(5)
    reference = _serial(groups, tmp_path / "serial")
    for number in range(max(2, pytestconfig.getoption("--kills") // 50)):
        out, added = tmp_path / f"ray{number}", cluster.add_node()
        store = RunStore(out)

        def kill(out: Path = out, node: int | None = added if number % 2 == 0 else None) -> None:
            while not list(out.glob("partial/*/*.parquet")):
                time.sleep(0.05)
            time.sleep(moments.uniform(0.0, 2.0))
            cluster.kill_worker() if node is None else cluster.kill_node(node)

        killer = threading.Thread(target=kill)
        killer.start()
        run_sweep(groups, store, OPTIONS, toy.Recorder(), executor=_executor(cluster, store, []))
        killer.join()
        if number % 2:
            cluster.kill_node(added)
        assert toy.contents(out) == reference
