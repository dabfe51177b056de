"""`ltrp-bench latency`."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import typer

from ltrp_bench.harness.cli.option_groups import (
    KEEP_RATIO_HELP,
    SELECTOR_HELP,
    TASK_HELP,
    DeviceOptions,
    ModelOptions,
    RunDirectory,
    SelectorOptions,
)
from ltrp_bench.harness.cli.options import Given
from ltrp_bench.harness.cli.run import SweepFile, SweepGrid, TaskOptions, request_of
from ltrp_bench.harness.cli.terminal.messages import print_note
from ltrp_bench.harness.sweeps.sweep import Sweep, read_sweep
from ltrp_bench.selectors.errors import InputError, UsageError

BATCHES: Final = (1, 8, 32, 256)
"""As `results.store.latency.BATCHES`, which imports more."""


@dataclass(frozen=True, kw_only=True)
class TimedGrid:
    """What is timed."""

    selector: tuple[str, ...] = field(default=(), metadata={"help": SELECTOR_HELP, "commas": True})
    task: tuple[str, ...] = field(default=(), metadata={"help": TASK_HELP, "commas": True})
    keep_ratio: tuple[float, ...] = field(
        default=(), metadata={"help": f"{KEEP_RATIO_HELP} Those of the sweep by default."}
    )
    batch: tuple[int, ...] = field(
        default=BATCHES, metadata={"help": "Batch size: 1, 8, 32 or 256; several as 1,8 or repeated."}
    )


@dataclass(frozen=True, kw_only=True)
class TimingOptions(DeviceOptions):
    """How time is measured."""

    turns: int = field(default=30, metadata={"help": "Number of measurements behind each median.", "min": 3})
    seconds: float = field(
        default=20.0,
        metadata={
            "help": "Seconds for each selector, task and batch size. Where turns take longer, there are fewer, at "
            "least 3.",
            "min": 0,
        },
    )
    threads: int | None = field(
        default=None, metadata={"help": "CPU threads of one operation; all cores by default.", "min": 1}
    )
    clock: Literal["wall", "cpu"] = field(
        default="wall",
        metadata={"help": "Wall time, or processor time, which other programs disturb less: use it with --threads 1."},
    )


def latency(
    directory: RunDirectory,
    source: SweepFile,
    grid: TimedGrid,
    selectors: Given[SelectorOptions],
    tasks: Given[TaskOptions],
    models: Given[ModelOptions],
    timing: TimingOptions,
) -> None:
    """Measure latency and throughput of selectors and models, and store them beside the results in DIR.

    By default, what the sweep in DIR asks for is measured. The leaderboard then has columns of time. Use a quiet
    machine: other programs that run meanwhile make the numbers worse.
    """
    batches = tuple(dict.fromkeys(grid.batch))
    if wrong := [batch for batch in batches if batch not in BATCHES]:
        listed = ", ".join(map(str, BATCHES[:-1]))
        raise UsageError(f"--batch {wrong[0]}: tables have columns for batches of {listed} and {BATCHES[-1]}")
    sweep = _sweep(source, directory.folder, grid)
    request = request_of(sweep, grid.selector, grid.task, selectors, tasks, models)

    from rich.text import Text

    from ltrp_bench.harness.cli.terminal.latency_table import latency_table
    from ltrp_bench.harness.evaluation.environment import cpu_threads, usable_device
    from ltrp_bench.harness.evaluation.latency.measure import LatencyOptions, measurable, measure_pairs
    from ltrp_bench.harness.evaluation.recipes import check_ratios
    from ltrp_bench.harness.evaluation.request import build_pairs, equipped, selector_recipes
    from ltrp_bench.harness.evaluation.task_arguments import task_recipes
    from ltrp_bench.harness.progress.terminal import console
    from ltrp_bench.results.store.latency import add_latencies
    from ltrp_bench.results.store.run_store import RunStore

    ratios = check_ratios(grid.keep_ratio or sweep.grid.get("keep_ratio", SweepGrid.keep_ratio))
    device = usable_device(timing.device)
    if timing.clock == "cpu" and not device.startswith("cpu"):
        raise UsageError(f"--clock cpu does not measure what {device} does: use --clock wall")
    sweep.check_options()
    options = LatencyOptions(
        batches=batches, turns=timing.turns, seconds=timing.seconds, device=device, clock=timing.clock
    )
    store = RunStore(directory.folder)
    ready = [equipped(task, device, max(batches)) for task in task_recipes(request, print_note)]
    pairs = measurable(build_pairs(selector_recipes(request), ready, print_note), print_note)
    done = []
    threads = nullcontext() if timing.threads is None else cpu_threads(timing.threads)
    with threads, console(stderr=True).status("measuring") as status:
        status.update(f"measuring {len(pairs)} pairs of selector and task")
        for pair, latencies in measure_pairs(pairs, ratios, options, print_note):
            if latencies.entries:
                add_latencies(store, [latencies])
                done.append((pair[0].shown, pair[1].shown, latencies))
                status.update(Text(f"measured {pair[0].shown} on {pair[1].shown}, {len(done)} of {len(pairs)}"))
    if not done:
        raise InputError("nothing could be measured; see the notes above")
    terminal = console()
    terminal.print(latency_table(done, terminal.width))
    typer.echo(f"stored in {store.root}; ltrp-bench leaderboard {store.root} --csv FILE has all columns", err=True)


def _sweep(source: SweepFile, folder: Path, grid: TimedGrid) -> Sweep:
    """The sweep that was given, or else that of the last run in the folder; an empty one if there is neither."""
    if source.config is not None:
        return read_sweep(source.config)
    stored = folder / "sweep.yaml"
    if stored.is_file():
        return read_sweep(str(stored))
    if not grid.selector or not grid.task:
        raise UsageError(f"{stored} does not exist: give --config, or --selector and --task")
    return Sweep()
