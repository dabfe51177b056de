"""A sweep by two worker processes, in a module that a started process can import."""

from __future__ import annotations

import os
from pathlib import Path

import toy_bench as toy

from ltrp_bench.harness.engines.local import LocalExecutor
from ltrp_bench.harness.evaluation.options import Request, SweepOptions
from ltrp_bench.harness.evaluation.plan import CellGroup, plan
from ltrp_bench.harness.evaluation.request import resolve_request
from ltrp_bench.harness.evaluation.sweep import run_sweep
from ltrp_bench.results.store.run_store import RunStore

OPTIONS = SweepOptions()


def groups() -> list[CellGroup]:
    """Four cheap selectors on 320 images, which are five spans."""
    selectors = ("random", "variance", "entropy", "oracle")
    request = Request(selectors=selectors, tasks=("shapes-coverage",), shared={"limit": 320})
    return plan(resolve_request(request, print), (0.25, 0.5), (0,), print)


def drive(out: Path) -> None:
    """Run the sweep with two workers, as the leader of a process group of its own."""
    os.setpgid(0, 0)
    store = RunStore(out)
    run_sweep(groups(), store, OPTIONS, toy.Recorder(), executor=LocalExecutor(store, OPTIONS, ["cpu", "cpu"], print))


def drive_alone(out: Path) -> None:
    """Run the same sweep in this process."""
    run_sweep(groups(), RunStore(out), OPTIONS, toy.Recorder())
