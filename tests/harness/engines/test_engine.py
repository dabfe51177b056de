"""Engines by name, and when `auto` starts other processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import toy_bench as toy

from ltrp_bench.harness.engines import engine
from ltrp_bench.harness.engines.engine import AutoExecutor, create_executor
from ltrp_bench.harness.engines.local import LocalExecutor
from ltrp_bench.harness.engines.names import EngineOptions
from ltrp_bench.harness.evaluation.execution.serial_executor import SerialExecutor
from ltrp_bench.harness.evaluation.options import Request, SweepOptions
from ltrp_bench.harness.evaluation.plan import plan
from ltrp_bench.harness.evaluation.request import resolve_request
from ltrp_bench.harness.evaluation.sweep import run_sweep
from ltrp_bench.results.store.run_store import RunStore
from ltrp_bench.selectors.errors import UsageError


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (EngineOptions(), AutoExecutor),
        (EngineOptions(jobs=1), SerialExecutor),
        (EngineOptions(engine="serial"), SerialExecutor),
        (EngineOptions(engine="local", jobs=2), LocalExecutor),
    ],
)
def test_engines_by_name(tmp_path: Path, options: EngineOptions, expected: type) -> None:
    assert isinstance(create_executor(options, RunStore(tmp_path), SweepOptions(), pytest.fail), expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (EngineOptions(engine="serial", jobs=2), "--jobs 2: engine 'serial' is one process"),
        (EngineOptions(engine="local", address="auto"), "--address is an option of --engine ray"),
        (EngineOptions(cpus_per_job=2.0), "--cpus-per-job is an option of --engine ray"),
    ],
)
def test_options_of_another_engine(tmp_path: Path, options: EngineOptions, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        create_executor(options, RunStore(tmp_path), SweepOptions(), pytest.fail)


def test_ray_is_imported_for_its_engine_only(tmp_path: Path) -> None:
    code = """
import sys
sys.modules["ray"] = None  # as if it were not installed
from ltrp_bench.harness.cli.main import run_command
arguments = ["run", "--selector", "random", "--task", "shapes-coverage", "--limit", "1"]
assert run_command(arguments) == 0
sys.exit(run_command([*arguments, "--engine", "ray", "--keep-ratio", "0.9"]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and "pip install 'ltrp-bench[cluster]'" in done.stderr, done.stderr


@pytest.mark.parametrize(("worth", "local"), [(0.0, True), (1e9, False)])
def test_auto_starts_processes_if_the_rest_is_worth_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, worth: float, local: bool
) -> None:
    started = []

    class Watched(SerialExecutor):
        """In the place of `LocalExecutor`, so that no process is started here."""

        def __init__(self, store: RunStore, options: SweepOptions, devices: list[str], notice: object) -> None:
            super().__init__(store, options)
            started.append(devices)

    monkeypatch.setattr(engine, "LocalExecutor", Watched)
    monkeypatch.setattr(engine, "WORTH_SECONDS", worth)
    monkeypatch.setattr(engine, "TRIAL_SECONDS", 0.0)
    request = Request(selectors=("random", "center"), tasks=("shapes-coverage",), shared={"limit": 70})
    groups = plan(resolve_request(request, pytest.fail), (0.25,), (0,), pytest.fail)
    store, recorder = RunStore(tmp_path), toy.Recorder()
    run_sweep(groups, store, SweepOptions(), recorder, executor=AutoExecutor(store, SweepOptions(), 2, pytest.fail))
    assert started == ([["cpu", "cpu"]] if local else [])
    assert recorder.worked == 140


def test_auto_keeps_objects_of_the_caller_in_its_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "WORTH_SECONDS", 0.0)
    monkeypatch.setattr(engine, "LocalExecutor", pytest.fail)
    store = RunStore(tmp_path)
    executor = AutoExecutor(store, SweepOptions(), 2, pytest.fail)
    assert len(run_sweep(toy.toy_groups(), store, SweepOptions(), toy.Recorder(), executor=executor)) == 11
