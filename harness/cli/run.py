"""`ltrp-bench run`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from ltrp_bench.harness.cli.option_groups import (
    KEEP_RATIO_HELP,
    SELECTOR_HELP,
    TASK_HELP,
    DeviceOptions,
    ImageLimit,
    ModelOptions,
    SelectorOptions,
)
from ltrp_bench.harness.cli.options import Given
from ltrp_bench.harness.cli.terminal.messages import counted
from ltrp_bench.harness.engines.names import Engine
from ltrp_bench.harness.evaluation.option_strings import expanded
from ltrp_bench.harness.evaluation.options import Request, SweepOptions
from ltrp_bench.harness.sweeps.sweep import Sweep, effective_tables, read_sweep

if TYPE_CHECKING:
    from ltrp_bench.harness.evaluation.plan import CellGroup
    from ltrp_bench.results.store.run_store import RunStore


@dataclass(frozen=True, kw_only=True)
class SweepFile:
    """A sweep that is read from a file."""

    config: str | None = field(
        default=None,
        metadata={
            "help": "YAML file of a sweep, `-` for standard input, or a suite of `ltrp-bench list suites`. "
            "Other options override it.",
            "metavar": "FILE | SUITE",
        },
    )


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """Whether anything is evaluated."""

    dry_run: bool = field(
        default=False,
        metadata={"help": "Show what is done, what is left, and about its time and disk space; write nothing."},
    )


@dataclass(frozen=True, kw_only=True)
class SweepGrid:
    """Cells of a sweep: every selector with every task, keep ratio and seed."""

    selector: tuple[str, ...] = field(default=(), metadata={"help": SELECTOR_HELP, "commas": True})
    task: tuple[str, ...] = field(default=(), metadata={"help": TASK_HELP, "commas": True})
    keep_ratio: tuple[float, ...] = field(default=(0.25, 0.5, 0.75), metadata={"help": KEEP_RATIO_HELP})
    seed: tuple[int, ...] = field(
        default=(0,), metadata={"help": "Seed; several as 0,1 or repeated. Deterministic selectors use the first only."}
    )
    full: bool = field(
        default=True,
        metadata={"help": "Also run `full`, the whole image, on tasks with a model: retention is measured against it."},
    )


@dataclass(frozen=True, kw_only=True)
class TaskOptions:
    """Data and options of the tasks."""

    data: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "Directory of the data set, or its JSON file in COCO's format; repeat for several.",
            "metavar": "DIR | TASK=DIR",
        },
    )
    limit: int | None = field(default=None, metadata={"help": "Number of images per task; all by default.", "min": 1})
    limit_seed: int | None = field(
        default=None,
        metadata={
            "help": "Draw the images of --limit at random with this seed, the same ones for all tasks on the data."
        },
    )
    task_option: tuple[str, ...] = field(
        default=(), metadata={"help": "Option of a task; repeat for several.", "metavar": "[TASK.]key=value"}
    )
    split: str | None = field(
        default=None,
        metadata={
            "help": "Which categories are seen: a CSV with columns category and state, or the name of a bundled split.",
            "metavar": "FILE",
        },
    )
    strict: bool = field(
        default=False,
        metadata={"help": "Refuse annotations that would be clipped or left out, instead of counting them."},
    )
    narrow_as: Literal["seen", "unseen"] | None = field(
        default=None,
        metadata={"help": "Count narrow categories, which the label set covers only in part, as seen or as unseen."},
    )


@dataclass(frozen=True, kw_only=True)
class ComputeOptions(DeviceOptions, ImageLimit):
    """Speed, and what to do about unreadable images."""

    batch_size: int = field(
        default=16, metadata={"help": "Largest batch on a GPU; a CPU takes one image at a time.", "min": 1}
    )
    workers: int = field(
        default=2, metadata={"help": "Number of threads that read images; does not change results.", "min": 0}
    )
    threads: int = field(
        default=1,
        metadata={"help": "CPU threads of one operation. More than one change results in their last digits.", "min": 1},
    )
    skip_bad_images: bool = field(
        default=False, metadata={"help": "Leave out and report unreadable images instead of stopping."}
    )


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """Processes that share the work."""

    engine: Engine = field(
        default="auto",
        metadata={
            "help": "Where work is done: in this process, in several of this machine, on a Ray cluster, or `auto`: in "
            "several if the work is worth their start. Does not change results."
        },
    )
    jobs: int | None = field(
        default=None,
        metadata={"help": "Number of worker processes; by default one for each GPU, or for each core.", "min": 1},
    )
    address: str | None = field(
        default=None,
        metadata={
            "help": "Ray cluster; by default one is started on this machine.",
            "metavar": "auto | HOST:PORT",
        },
    )
    gpus_per_job: float | None = field(
        default=None, metadata={"help": "GPUs of a Ray worker; 1 by default where models run on GPUs.", "min": 0}
    )
    cpus_per_job: float | None = field(
        default=None, metadata={"help": "CPUs of a Ray worker; --threads by default.", "min": 0}
    )


@dataclass(frozen=True, kw_only=True)
class Output:
    """Where results are written."""

    out: Path = field(
        default=Path("runs"), metadata={"help": "Directory of the results; finished cells in it are not run again."}
    )


def run(
    source: SweepFile,
    grid: Given[SweepGrid],
    selectors: Given[SelectorOptions],
    tasks: Given[TaskOptions],
    models: Given[ModelOptions],
    compute: Given[ComputeOptions],
    workers: Given[WorkerOptions],
    output: Given[Output],
    rehearsal: Rehearsal,
) -> None:
    """Evaluate selectors on tasks at several keep ratios. Repeat the command to resume an interrupted run."""
    sweep = Sweep() if source.config is None else read_sweep(source.config)
    request = request_of(sweep, grid.values.get("selector", ()), grid.values.get("task", ()), selectors, tasks, models)
    out = str(output.values.get("out", sweep.output.get("out", Output.out)))
    _evaluate(
        sweep,
        request,
        grid.build(**sweep.grid),
        compute.build(**sweep.compute),
        workers.build(**sweep.workers),
        out,
        dry_run=rehearsal.dry_run,
    )


def request_of(
    sweep: Sweep,
    selector_names: Sequence[str],
    task_names: Sequence[str],
    selectors: Given[SelectorOptions],
    tasks: Given[TaskOptions],
    models: Given[ModelOptions],
) -> Request:
    """What a sweep asks for, with what the command line gives instead; paths are as they were written.

    Raises:
        UsageError: an unknown name, or no selector or task. InputError: weights or data that do not exist.
    """
    from ltrp_bench.harness.evaluation.task_arguments import check_task_data

    model = models.build()
    chosen_selectors, chosen_tasks = sweep.choose(
        selector_names,
        task_names,
        selectors.values.get("weights", ()),
        None if model.model_weights is None else str(model.model_weights),
    )
    model.check_files(task.name for task in chosen_tasks)
    shared = {name: tasks.values.get(name) for name in ("limit", "limit_seed", "narrow_as", "split", "strict")}
    request = Request(
        selectors=chosen_selectors,
        tasks=chosen_tasks,
        selector_options=selectors.values.get("selector_option", ()),
        data=tasks.values.get("data", ()),
        task_options=tasks.values.get("task_option", ()),
        shared={**shared, **{name: str(value) for name, value in models.values.items()}},
        defaults=sweep.defaults,
    )
    check_task_data(request)  # before torch is imported, which takes seconds
    return request


def _evaluate(
    sweep: Sweep,
    request: Request,
    grid: SweepGrid,
    compute: ComputeOptions,
    workers: WorkerOptions,
    out: str,
    *,
    dry_run: bool,
) -> None:
    """Run what `request` asks for.

    Args:
        sweep: the file.
        request: the file with what the command line gives instead; paths are as they were written.
        grid: keep ratios and seeds.
        compute: device.
        workers: engine.
        out: folder of the results, as it was written.
        dry_run: True to show what would be done instead.
    """
    from ltrp_bench.harness.evaluation.recipes import check_ratios

    ratios = check_ratios(grid.keep_ratio)  # before torch is imported, which takes seconds
    from ltrp_bench.harness.cli.terminal.tables import TableView, results_table, terminal_width
    from ltrp_bench.harness.engines.names import EngineOptions
    from ltrp_bench.harness.evaluation.environment import usable_device
    from ltrp_bench.harness.evaluation.request import build_pairs, equipped, selector_recipes
    from ltrp_bench.harness.evaluation.task_arguments import task_recipes
    from ltrp_bench.harness.progress.terminal import RunProgress, console
    from ltrp_bench.harness.sweeps.running import check_measured, closing_notes, evaluate_groups, plan_run
    from ltrp_bench.harness.sweeps.stored import store_labels, store_sweep
    from ltrp_bench.results.leaderboard.aggregate import aggregate_cells
    from ltrp_bench.results.leaderboard.category_groups import GroupReader
    from ltrp_bench.results.leaderboard.exposure import with_exposure
    from ltrp_bench.results.leaderboard.names import with_labels
    from ltrp_bench.results.store.labels import read_labels
    from ltrp_bench.results.store.run_store import RunStore
    from ltrp_bench.tasks.splits import label_sets

    compute.set_limit()
    options = SweepOptions(
        batch_size=compute.batch_size,
        workers=compute.workers,
        device=usable_device(compute.device),
        threads=compute.threads,
        skip_bad_images=compute.skip_bad_images,
    )
    store = RunStore(Path(expanded(out)))
    sweep.check_options()
    with RunProgress() as progress:
        try:
            selectors, tasks = selector_recipes(request), task_recipes(request, progress.notice)
            ready = [equipped(task, options.device, options.effective_batch_size) for task in tasks]
            pairs = build_pairs(selectors, ready, progress.notice)
            groups = plan_run(pairs, store, ratios, grid.seed, progress.notice, full=grid.full)
            if dry_run:
                _print_forecast(groups, store, options)
                return
            resources = {"compute": asdict(compute), "workers": asdict(workers)}
            store_labels(store, pairs)
            store_sweep(store, effective_tables(selectors, tasks, grid=asdict(grid), **resources, out=out))
            engine = EngineOptions(**asdict(workers))
            records = evaluate_groups(groups, store, options, engine, progress, progress.notice)
        except KeyboardInterrupt:
            cells = len(list((store.root / "cells").glob("*.json"))) if store.root.exists() else 0
            kept = f"{counted(cells, 'finished cell')} kept in {store.root}"
            progress.notice(f"interrupted: {kept}; repeat the command to resume")
            raise typer.Exit(130) from None
    terminal = console()
    frame = with_exposure(aggregate_cells(records), records, GroupReader(store, label_sets))
    frame = with_labels(frame, read_labels(store.root), records)
    terminal.print(results_table(frame, TableView(width=terminal_width(terminal))))
    for line in closing_notes(store, records):
        typer.echo(f"note: {line}", err=True)
    done = f"{counted(len(records), 'cell')}, {counted(progress.worked, 'image')} evaluated now"
    typer.echo(f"{done}; results in {store.root}; for intervals: ltrp-bench leaderboard {store.root}", err=True)
    check_measured(records)


def _print_forecast(groups: Sequence[CellGroup], store: RunStore, options: SweepOptions) -> None:
    from ltrp_bench.harness.cli.terminal.forecast_table import forecast_lines
    from ltrp_bench.harness.sweeps.forecast import forecast

    for line in forecast_lines(forecast(groups, store, options), store.root):
        typer.echo(line)
