"""The whole image, which tasks with a model are also evaluated on: retention and gaps are measured against it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from ltrp_bench.harness.evaluation.plan import Cell, CellGroup, SelectorEntry, TaskEntry, by_task, fingerprint
from ltrp_bench.harness.evaluation.recipes import SelectorRecipe
from ltrp_bench.harness.evaluation.request import build_selector, weights_tags
from ltrp_bench.results.schema.record import ResultsError
from ltrp_bench.results.store.run_store import RunStore

WHOLE_IMAGE: Final = "full"
"""Name of the selector that keeps every patch."""


def add_whole_images(groups: Sequence[CellGroup], store: RunStore, notice: Callable[[str], None]) -> list[CellGroup]:
    """Add a cell of the whole image for each task with a model, after the other cells of the task.

    Nothing is added for a task that has a selector that keeps every patch, or whose cell of the whole image was
    finished in this folder with another seed: its result does not depend on the seed. A finished cell of the same seed
    stays in the plan, so that a repeated command shows the same table.

    Args:
        groups: as returned by `plan.plan`.
        store: folder of the results.
        notice: called with a line if something is to be evaluated.
    """
    out: list[CellGroup] = []
    evaluated: list[str] = []
    for own in by_task(groups, lambda group: group):
        out += own
        if own[0].task.task.reduction == "none" or any(one.selector.selector.keeps_every_patch for one in own):
            continue
        added = _whole_image(own[0].task, own[0].seed)
        if not store.cell_path(added.cells[0].fingerprint).exists():
            if _is_finished(added, store):
                continue
            evaluated.append(added.task.info.name)
        out.append(added)
    if evaluated:
        notice(
            f"{WHOLE_IMAGE} (the whole image) is also run on {', '.join(dict.fromkeys(evaluated))}: "
            "retention and gaps are measured against it; --no-full leaves it out"
        )
    return out


def whole_image(task: TaskEntry) -> SelectorEntry:
    """The selector that keeps every patch, for a task."""
    return build_selector(SelectorRecipe(name=WHOLE_IMAGE, tags=weights_tags(task.task)))


def _whole_image(task: TaskEntry, seed: int) -> CellGroup:
    entry = whole_image(task)
    return CellGroup(entry, task, seed, (Cell(1.0, fingerprint(entry, task, 1.0, seed)),))


def _is_finished(group: CellGroup, store: RunStore) -> bool:
    """True if the folder has a finished cell of the same selector and task with any seed."""
    try:
        records = store.read_cells()
    except ResultsError:  # no folder yet, or a damaged record, which is reported where it is needed
        return False
    wanted = group.selector.info.identity, group.task.info.identity, group.task.task.reduction
    return any((record.selector.identity, record.task.identity, record.reduction) == wanted for record in records)
