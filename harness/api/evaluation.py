"""`evaluate`: selectors on tasks at several keep ratios, from Python."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict, Unpack

from ltrp_bench.harness.api.objects import SelectorLike, TaskLike, as_list, selector_sources, task_sources
from ltrp_bench.harness.api.results import Results
from ltrp_bench.harness.api.wording import in_python, python_messages
from ltrp_bench.harness.engines.names import Engine, EngineOptions
from ltrp_bench.harness.evaluation.environment import usable_device
from ltrp_bench.harness.evaluation.option_strings import expanded
from ltrp_bench.harness.evaluation.options import Request, SweepOptions
from ltrp_bench.harness.evaluation.plan import SelectorEntry, TaskEntry
from ltrp_bench.harness.evaluation.recipes import SelectorRecipe, TaskRecipe, check_ratios
from ltrp_bench.harness.evaluation.request import build_pairs, equipped
from ltrp_bench.harness.evaluation.task_arguments import task_recipes
from ltrp_bench.harness.progress.choice import RunDisplay, display
from ltrp_bench.harness.sweeps.running import check_measured, closing_notes, evaluate_groups, plan_run
from ltrp_bench.harness.sweeps.stored import store_labels
from ltrp_bench.results.store.run_store import RunStore
from ltrp_bench.selectors.errors import UsageError, near_or


class Resources(TypedDict, total=False):
    """Resources of a run; none changes results by more than rounding. Defaults are those of `ltrp-bench run`.

    Attributes:
        batch_size: largest batch on a GPU.
        workers: threads that read images.
        threads: CPU threads of one operation.
        skip_bad_images: True to leave out and report unreadable images instead of stopping.
        address, gpus_per_job, cpus_per_job: of engine "ray", see `ltrp-bench run --help`.
    """

    batch_size: int
    workers: int
    threads: int
    skip_bad_images: bool
    address: str
    gpus_per_job: float
    cpus_per_job: float


_ENGINE = ("address", "gpus_per_job", "cpus_per_job")


@python_messages
def evaluate(
    selectors: SelectorLike | Sequence[SelectorLike],
    tasks: TaskLike | Sequence[TaskLike],
    keep_ratios: float | Sequence[float] = (0.25, 0.5, 0.75),
    *,
    data: str | Path | Mapping[str, str | Path] | None = None,
    out: str | Path = "runs",
    limit: int | None = None,
    seeds: int | Sequence[int] = (0,),
    full: bool = True,
    device: str = "auto",
    engine: Engine = "auto",
    jobs: int | None = None,
    progress: bool = True,
    **resources: Unpack[Resources],
) -> Results:
    """Evaluate selectors on tasks. Cells that are finished in `out` are not evaluated again.

    Args:
        selectors: names, objects of `create_selector`, or objects or classes of your own; one or several.
        tasks: names, objects of `create_task`, or objects or classes of your own; one or several.
        keep_ratios: shares of patches kept, in (0, 1].
        data: folder of the data set of the tasks given by name, or task -> folder.
        out: folder of the results, the same as for `ltrp-bench run --out`.
        limit: number of images of the tasks given by name; all by default. Objects have their own.
        seeds: of selectors with chance; others use the first only.
        full: True to run the whole image too on tasks with a model: retention is measured against it.
        device: of the models: "auto", "cpu", "cuda", "cuda:1", ...
        engine: where work is done: "auto", "serial", "local" or "ray". Objects of your own run in this process.
        jobs: number of worker processes.
        progress: False to show no progress; notes are shown all the same.
        resources: see `Resources`.

    Returns:
        The results of these cells. `load_results(out)` has all of the folder.

    Raises:
        UsageError: an unknown name or option, an object without a fingerprint, a value out of range.
        InputError: data or weights that are missing or damaged, or an unreadable image.
    """
    if unknown := sorted(set(resources) - set(Resources.__annotations__)):
        known = inspect.signature(evaluate).parameters.keys() - {"resources"} | Resources.__annotations__.keys()
        raise UsageError(f"evaluate has no option {unknown[0]!r}; {near_or(unknown[0], known)}")
    ratios = check_ratios(keep_ratios)
    chosen, chosen_tasks = as_list(selectors, "selector"), as_list(tasks, "task")
    settings: dict[str, Any] = {key: value for key, value in resources.items() if key not in _ENGINE}
    options = SweepOptions(device=usable_device(device), **settings)
    remote: dict[str, Any] = {key: value for key, value in resources.items() if key in _ENGINE}
    store = RunStore(Path(expanded(str(out))))
    with display(progress, in_python) as shown:
        task_list = _with_options(
            task_sources(chosen_tasks, options.device, options.effective_batch_size), data, limit, shown
        )
        ready = [
            equipped(one, options.device, options.effective_batch_size) if isinstance(one, TaskRecipe) else one
            for one in task_list
        ]
        sources = selector_sources(chosen)
        workers = _engine(EngineOptions(engine=engine, jobs=jobs, **remote), [*sources, *ready], shown)
        pairs = build_pairs(sources, ready, shown.notice)
        numbers = (seeds,) if isinstance(seeds, int) else tuple(seeds)
        groups = plan_run(pairs, store, ratios, numbers, shown.notice, full=full)
        store_labels(store, pairs)
        records = evaluate_groups(groups, store, options, workers, shown, shown.notice)
        for line in closing_notes(store, records):
            shown.notice(line)
        check_measured(records)
    return Results(store.root, [record.fingerprint for record in records])


def _with_options(
    tasks: Sequence[TaskRecipe | TaskEntry],
    data: str | Path | Mapping[str, str | Path] | None,
    limit: int | None,
    shown: RunDisplay,
) -> list[TaskRecipe | TaskEntry]:
    """Tasks by name with data and limit; objects have theirs."""
    if limit is not None and limit < 1:
        raise UsageError(f"limit {limit}: give the number of images of each task, 1 or more")
    named = [one for one in tasks if isinstance(one, TaskRecipe) and not one.arguments]
    given = {"data": data, "limit": limit}
    names = [name for name, value in given.items() if value is not None]
    if names and not named:
        raise UsageError(
            f"{' and '.join(names)} are for tasks given by name: give them to create_task for a task that is an object"
        )
    if names and len(named) < len(tasks):
        shown.notice(f"{' and '.join(names)}: tasks that are objects keep their own")
    if not named:
        return list(tasks)
    folders = tuple(f"{name}={folder}" for name, folder in data.items()) if isinstance(data, Mapping) else ()
    if isinstance(data, Mapping) and (unknown := sorted(set(data) - {one.name for one in named})):
        raise UsageError(f"data is given for {unknown[0]!r}, which is no task of this run by name")
    if data is not None and not isinstance(data, Mapping):
        folders = (str(data),)
    request = Request(selectors=(), tasks=tuple(named), data=folders, shared={"limit": limit})
    built = {one.name: one for one in task_recipes(request, shown.notice)}
    return [built[one.name] if isinstance(one, TaskRecipe) and not one.arguments else one for one in tasks]


def _engine(
    options: EngineOptions,
    sources: Sequence[SelectorRecipe | SelectorEntry | TaskRecipe | TaskEntry],
    shown: RunDisplay,
) -> EngineOptions:
    """The engine, or "serial" with a note where other processes cannot build everything."""
    own = [one.info.name for one in sources if isinstance(one, (SelectorEntry, TaskEntry)) and one.recipe is None]
    if not own or options.engine == "serial":
        return options
    if options.engine != "auto":
        names = ", ".join(dict.fromkeys(own))
        shown.notice(
            f"{names} can be built in this process only, so engine 'serial' is used instead of {options.engine!r}; a "
            "selector in a module runs elsewhere too, as 'module:Class'"
        )
    return EngineOptions(engine="serial")
