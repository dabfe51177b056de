"""What engines cost and gain: sharing of images among selectors, jobs against threads.

    python benchmarks/engines.py sharing [--task shapes-coverage] [--images 256] [--repeats 3] [--data DIR]
    python benchmarks/engines.py jobs [--task shapes-det] [--images 256] [--repeats 3] [--jobs 2] [--threads 2]

"sharing" runs each selector alone and all of them together, each into an empty folder, and compares the run of all with
one reading of the images and the work of each selector: what a run of it alone takes beyond reading. The target is a
ratio of at most 1.1. Processor time, one thread.

"jobs" runs the same sweep in one process of one thread, in one process of several threads, in several processes, and
with engine `auto`; by wall time, in turns. The targets: N jobs do at least .9 N times the work of one process a second,
start-up left out; `auto` takes at most 1.1 times as long as the best of the others, start-up included. Start-up is left
out by counting from the first result of the last job that returns one. On a shared machine both depend on what else
runs: the load is printed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from timing import Clock, time_in_turns

from ltrp_bench.harness.engines.engine import create_executor
from ltrp_bench.harness.engines.names import EngineOptions
from ltrp_bench.harness.evaluation.loading import load_spans, spans
from ltrp_bench.harness.evaluation.options import Request, SweepOptions
from ltrp_bench.harness.evaluation.plan import CellGroup, plan
from ltrp_bench.harness.evaluation.request import resolve_request
from ltrp_bench.harness.evaluation.sweep import run_sweep
from ltrp_bench.results.store.run_store import RunStore

CHEAP: Final = ("random", "center", "variance", "entropy", "edge-energy", "patch-norm")
MIXED: Final = ("ltrp", "evit", "gradcam", "variance", "entropy", "random")


class Watch:
    """A `Progress` that keeps when images were finished."""

    def __init__(self) -> None:
        self.finished: list[tuple[float, int]] = []

    def start(self, images: Mapping[str, int]) -> None: ...

    def current(self, label: str) -> None: ...

    def advance(self, key: str, images: int, seconds: float | None) -> None:
        if seconds is not None:
            self.finished.append((time.perf_counter(), images))

    def notice(self, line: str) -> None: ...

    def rate(self, jobs: int, works: int) -> float:
        """Images a second after every job has returned a batch of `works` results."""
        begun = self.finished[jobs * works - 1 :]
        if len(begun) < 2:
            raise SystemExit(f"too few images for {jobs} jobs, start-up left out: give --images {128 * jobs} or more")
        return sum(images for _, images in begun[1:]) / (begun[-1][0] - begun[0][0])


def groups_of(names: Sequence[str], options: argparse.Namespace) -> list[CellGroup]:
    data = () if options.data is None else (options.data,)
    request = Request(selectors=tuple(names), tasks=(options.task,), data=data, shared={"limit": options.images})
    return plan(resolve_request(request, print), options.keep_ratio, (0,), print)


def sweep(groups: Sequence[CellGroup], settings: SweepOptions, engine: EngineOptions) -> Watch:
    folder, watch = Path(tempfile.mkdtemp()), Watch()
    store = RunStore(folder)
    run_sweep(groups, store, settings, watch, executor=create_executor(engine, store, settings, watch.notice))
    shutil.rmtree(folder)
    return watch


def sharing(options: argparse.Namespace) -> None:
    settings, serial = SweepOptions(workers=0), EngineOptions(engine="serial")
    every = groups_of(CHEAP, options)
    task = every[0].task.task

    def read() -> None:
        for _ in load_spans([(task, span) for span in spans(len(task), 64)], 0, False):
            pass

    variants: dict[str, Callable[[], Any]] = {"reading": read, "all": lambda: sweep(every, settings, serial)}
    for group in every:
        variants[group.selector.name] = lambda group=group: sweep([group], settings, serial)
    seconds = time_in_turns(variants, options.repeats, Clock("cpu", torch.device("cpu")))
    median = {name: statistics.median(times) for name, times in seconds.items()}
    print(f"{options.task}, {len(task)} images, {len(options.keep_ratio)} keep ratios; processor time, ms an image")
    for name, took in median.items():
        print(f"  {name:<12} {1000 * took / len(task):8.2f}")
    ratios = []
    for turn in range(options.repeats):
        own = sum(seconds[group.selector.name][turn] - seconds["reading"][turn] for group in every)
        ratios.append(seconds["all"][turn] / (seconds["reading"][turn] + own))
    print(f"all / (reading + each selector's own work): {statistics.median(ratios):.3f} (target 1.1)")


def jobs(options: argparse.Namespace) -> None:
    groups = groups_of(MIXED, options)
    count, threads = options.jobs, options.threads
    engines = {
        "1 process": (EngineOptions(engine="serial"), 1),
        f"1 process, {threads} threads": (EngineOptions(engine="serial"), threads),
        f"{count} jobs": (EngineOptions(engine="local", jobs=count), 1),
        "auto": (EngineOptions(), 1),
    }
    rates: dict[str, list[float]] = {name: [] for name in engines}

    def timed(name: str) -> Callable[[], None]:
        engine, own_threads = engines[name]
        first = count if engine.engine == "local" else 1

        def run() -> None:
            watch = sweep(groups, SweepOptions(threads=own_threads), engine)
            rates[name].append(watch.rate(first, len(groups)))

        return run

    seconds = time_in_turns(
        {name: timed(name) for name in engines}, options.repeats, Clock("wall", torch.device("cpu"))
    )
    print(f"{options.task}, {options.images} images, {len(groups)} selectors; load {os.getloadavg()[0]:.1f}")
    for name in engines:
        took, rate = statistics.median(seconds[name]), statistics.median(rates[name])
        print(f"  {name:<24} {took:8.1f} s {rate:10.1f} images/s without start-up")
    gains = [a / b for a, b in zip(rates[f"{count} jobs"], rates["1 process"], strict=True)]
    gain = statistics.median(gains)
    print(f"{count} jobs against one process, start-up left out: {gain:.2f} (target {0.9 * count:.1f})")
    best = [min(turn) for turn in zip(*(seconds[name] for name in engines if name != "auto"), strict=True)]
    slower = [a / b for a, b in zip(seconds["auto"], best, strict=True)]
    print(f"auto against the best of the others: {statistics.median(slower):.2f} (target 1.1)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["sharing", "jobs"])
    parser.add_argument("--task")
    parser.add_argument("--data")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--keep-ratio", type=float, nargs="+", default=[0.25, 0.5])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    if options.what == "sharing":
        options.task = options.task or "shapes-coverage"
        sharing(options)
    else:
        options.task = options.task or "shapes-det"
        jobs(options)


if __name__ == "__main__":
    main()
