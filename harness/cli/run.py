"""`ltrp-bench run`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ltrp_bench.selectors.errors import InputError, UsageError

if TYPE_CHECKING:
    from ltrp_bench.results.schema.record import CellRecord

_SELECTORS = "A selector; repeat. `ltrp-bench list selectors` shows them."
_TASKS = "A task; repeat. `ltrp-bench list tasks` shows them."


def run(
    selector: list[str] = typer.Option(..., help=_SELECTORS),
    task: list[str] = typer.Option(..., help=_TASKS),
    keep_ratio: list[float] = typer.Option([0.25, 0.5, 0.75], help="Share of the patches kept, in (0, 1]; repeat."),
    seed: list[int] = typer.Option([0], help="Seed; repeat. Selectors without chance run with the first alone."),
    limit: int | None = typer.Option(None, min=1, help="Only the first so many images of each task."),
    data: list[str] = typer.Option([], metavar="DIR | TASK=DIR", help="Where the data set lies; repeat."),
    model: str | None = typer.Option(None, help="Model of the tasks that have one: a config's name or file."),
    model_weights: Path | None = typer.Option(None, help="Checkpoint of that model."),
    weights: list[str] = typer.Option([], metavar="FILE | NAME=FILE", help="Weights of a selector; repeat."),
    selector_option: list[str] = typer.Option([], metavar="NAME.key=value", help="Option of a selector; repeat."),
    task_option: list[str] = typer.Option([], metavar="[TASK.]key=value", help="Option of a task; repeat."),
    narrow_as: str | None = typer.Option(
        None, metavar="seen | unseen", help="How categories count that are seen through one kind only."
    ),
    split: str | None = typer.Option(
        None, metavar="FILE", help="Your own CSV of seen and unseen categories (columns category, state), or a name."
    ),
    out: Path = typer.Option(Path("runs"), help="Folder of the results; what is finished there is skipped."),
    batch_size: int = typer.Option(16, min=1, help="Most images at a time on a GPU; a CPU takes one at a time."),
    workers: int = typer.Option(2, min=0, help="Threads that read images. Changes speed alone."),
    device: str = typer.Option("auto", help="auto, cpu, cuda, cuda:1, ..."),
    skip_bad_images: bool = typer.Option(
        False, "--skip-bad-images", help="Leave out unreadable images and say so, instead of stopping."
    ),
    debug: bool = typer.Option(False, "--debug", help="Show where an error came from."),
) -> None:
    """Measure selectors on tasks at keep ratios; start it again after an interruption and it goes on."""
    from ltrp_bench.harness.cli.progress import RunProgress, console
    from ltrp_bench.harness.cli.tables import results_table
    from ltrp_bench.harness.evaluation.cell_writer import skip_reason
    from ltrp_bench.harness.evaluation.environment import provenance, usable_device
    from ltrp_bench.harness.evaluation.options import Request, SweepOptions
    from ltrp_bench.harness.evaluation.plan import check_ratios, plan
    from ltrp_bench.harness.evaluation.request import resolve_request
    from ltrp_bench.harness.evaluation.sweep import run_sweep
    from ltrp_bench.results.leaderboard.aggregate import aggregate_cells
    from ltrp_bench.results.store.run_store import RunStore

    ratios = check_ratios(keep_ratio)
    if narrow_as not in (None, "seen", "unseen"):
        raise UsageError(f"--narrow-as {narrow_as}: write seen or unseen")
    if model_weights is not None and not model_weights.is_file():
        raise InputError(f"--model-weights {model_weights}: no such file")
    place = usable_device(device)
    shared = {"limit": limit, "model": model, "model_weights": model_weights, "narrow_as": narrow_as, "split": split}
    options = SweepOptions(batch_size=batch_size, workers=workers, device=place, skip_bad_images=skip_bad_images)
    request = Request(
        selectors=tuple(selector),
        tasks=tuple(task),
        weights=tuple(weights),
        selector_options=tuple(selector_option),
        data=tuple(data),
        task_options=tuple(task_option),
        shared=shared,
        device=place,
        batch_size=options.effective_batch_size,
    )
    store = RunStore(out)
    with RunProgress() as progress:
        try:
            groups = plan(resolve_request(request, progress.notice), ratios, seed, progress.notice)
            if not groups:
                raise UsageError("nothing to measure: no selector of this run can run on its tasks")
            records = run_sweep(groups, store, options, progress, provenance(place))
        except KeyboardInterrupt:
            cells = len(list((out / "cells").glob("*.json"))) if out.exists() else 0
            progress.notice(
                f"interrupted: {cells} finished cells are kept in {out}; the same command goes on from there"
            )
            raise typer.Exit(130) from None
    console().print(results_table(aggregate_cells(records)))
    if line := _left_out(records, lambda record, image: skip_reason(store, record, image)):
        typer.echo(f"note: {line}", err=True)
    done = f"{len(records)} cells, {progress.worked} images measured now"
    typer.echo(f"{done}; results in {out} (ltrp-bench leaderboard {out})", err=True)


def _left_out(records: Sequence[CellRecord], reason: Callable[[CellRecord, str], str | None]) -> str | None:
    """Which images were left out, and why the first of them; None for none."""
    found = {(record.task.name, image): record for record in records for image in record.skipped}
    if not found:
        return None
    names = [f"{image} of {name}" for name, image in found]
    (_, image), record = next(iter(found.items()))
    if why := reason(record, image):
        names[0] += f" ({' '.join(why.split())})"
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    noun = "image" if len(names) == 1 else "images"
    return f"{len(names)} unreadable {noun} left out: {', '.join(names[:10])}{more}"
