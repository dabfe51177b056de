"""Work of a sweep in a form that other processes and machines can do: recipes and fingerprints, no models."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from ltrp_bench.harness.evaluation.execution.span_work import SpanBatch, SpanWork
from ltrp_bench.harness.evaluation.loading import Span
from ltrp_bench.harness.evaluation.plan import Cell, CellGroup
from ltrp_bench.harness.evaluation.recipes import SelectorRecipe, TaskRecipe
from ltrp_bench.selectors.errors import InputError, UsageError

ATTEMPTS: Final = 3
"""Times that work may kill its worker before it is given up."""


class UnfitWorkerError(InputError):
    """A worker lacks files that a run needs, or has others than the driver."""


@dataclass(frozen=True, kw_only=True)
class CellOrder:
    """Cells of one selector and seed.

    Attributes:
        selector: how to build the selector.
        identity: what the selector must turn out to be.
        seed, cells, gallery: as in `CellGroup` and `SpanWork`.
    """

    selector: SelectorRecipe
    identity: str
    seed: int
    cells: tuple[Cell, ...]
    gallery: bool


@dataclass(frozen=True, kw_only=True)
class WorkOrder:
    """A `SpanBatch` for another process.

    Attributes:
        task: how to build the task.
        identity: what the task must turn out to be, the revision of its data included.
        span: the images.
        works: one or more.
    """

    task: TaskRecipe
    identity: str
    span: Span
    works: tuple[CellOrder, ...]


@dataclass(eq=False)
class Assignment:
    """A batch on its way through workers.

    Attributes:
        batch: the batch.
        order: the same for another process.
        kills: number of workers that died of it.
    """

    batch: SpanBatch
    kills: int = 0
    order: WorkOrder = field(init=False)

    def __post_init__(self) -> None:
        self.order = order_of(self.batch)

    def after_a_kill(self) -> list[Assignment]:
        """What to try next: each work by itself, so that the one that kills workers is found."""
        return [Assignment(part, self.kills + 1) for part in self.batch.parts(len(self.batch.works))]

    @property
    def label(self) -> str:
        """Description for the user."""
        first, end = self.batch.span
        return f"{', '.join(work.group.label for work in self.batch.works)}, images {first} to {end - 1}"


def order_of(batch: SpanBatch) -> WorkOrder:
    """The order of a batch. Raises UsageError for a selector or task that only this process can build."""
    task = batch.task.recipe
    if task is None:
        raise UsageError(f"task {batch.task.info.name!r} was built by the caller: only engine 'serial' can run it")
    return WorkOrder(
        task=task,
        identity=batch.task.info.identity.text,
        span=batch.span,
        works=tuple(_cell_order(work) for work in batch.works),
    )


def can_be_ordered(group: CellGroup) -> bool:
    """True if other processes can build the selector and the task of a group."""
    return group.selector.recipe is not None and group.task.recipe is not None


def _cell_order(work: SpanWork) -> CellOrder:
    selector = work.group.selector
    if selector.recipe is None:
        raise UsageError(f"selector {selector.name!r} was built by the caller: only engine 'serial' can run it")
    return CellOrder(
        selector=selector.recipe,
        identity=selector.info.identity.text,
        seed=work.group.seed,
        cells=work.cells,
        gallery=work.gallery,
    )
