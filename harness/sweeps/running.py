"""A run from built selectors and tasks to finished cells, as the command line and the Python API share it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ltrp_bench.harness.engines.engine import create_executor
from ltrp_bench.harness.engines.names import EngineOptions
from ltrp_bench.harness.evaluation.cell_writer import measured, omission_lines, skip_reason
from ltrp_bench.harness.evaluation.environment import provenance
from ltrp_bench.harness.evaluation.execution.progress import Progress
from ltrp_bench.harness.evaluation.exposure_notices import exposure_notices
from ltrp_bench.harness.evaluation.options import SweepOptions
from ltrp_bench.harness.evaluation.plan import CellGroup, SelectorEntry, TaskEntry, plan
from ltrp_bench.harness.evaluation.sweep import run_sweep
from ltrp_bench.harness.evaluation.whole_image import add_whole_images
from ltrp_bench.results.schema.record import CellRecord
from ltrp_bench.results.store.run_store import RunStore
from ltrp_bench.selectors.errors import InputError, UsageError


def plan_run(
    pairs: Sequence[tuple[SelectorEntry, TaskEntry]],
    store: RunStore,
    keep_ratios: Iterable[float],
    seeds: Iterable[int],
    notice: Callable[[str], None],
    *,
    full: bool,
) -> list[CellGroup]:
    """Plan a run: its cells, and those of the whole image.

    Args:
        pairs: each selector with each task.
        store: folder of the results.
        keep_ratios, seeds: as in `plan`.
        notice: called with a line about everything that is left out, added or to be known before.
        full: True to add the whole image for tasks with a model.

    Raises:
        UsageError: there is nothing to run, or a keep ratio or seed is out of range.
    """
    groups = plan(pairs, keep_ratios, seeds, notice)
    if not groups:
        raise UsageError("nothing to run: none of the selectors supports any of the tasks")
    for line in exposure_notices(groups):
        notice(line)
    return add_whole_images(groups, store, notice) if full else groups


def evaluate_groups(
    groups: Sequence[CellGroup],
    store: RunStore,
    options: SweepOptions,
    engine: EngineOptions,
    progress: Progress,
    notice: Callable[[str], None],
) -> list[CellRecord]:
    """Evaluate what is not stored yet, see `run_sweep`; `notice` is called with a line about each lost worker."""
    executor = create_executor(engine, store, options, notice)
    return run_sweep(groups, store, options, progress, provenance(options.device), executor)


def closing_notes(store: RunStore, records: Sequence[CellRecord]) -> list[str]:
    """Lines on images that were left out of a run, and on annotations that do not count."""
    skipped = {(record.task.name, image): record for record in records for image in record.skipped}
    lines = [] if not skipped else [_skipped_line(store, skipped)]
    return [*lines, *omission_lines(store, records)]


def check_measured(records: Sequence[CellRecord]) -> None:
    """Raise InputError if no cell has a value of its headline metric."""
    if not any(measured(record) for record in records):
        tasks = ", ".join(dict.fromkeys(record.task.name for record in records))
        raise InputError(f"nothing could be measured: no object or label of {tasks} counts; see the notes above")


def _skipped_line(store: RunStore, skipped: dict[tuple[str, str], CellRecord]) -> str:
    """Names of the images that were left out, with the reason for the first."""
    names = [f"{image} of {task}" for task, image in skipped]
    (_, image), record = next(iter(skipped.items()))
    if why := skip_reason(store, record, image):
        names[0] += f" ({' '.join(why.split())})"
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    images = "1 unreadable image" if len(names) == 1 else f"{len(names)} unreadable images"
    return f"{images} left out: {', '.join(names[:10])}{more}"
