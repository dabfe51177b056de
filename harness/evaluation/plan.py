"""The plan of a run: its cells (selector x task x keep ratio x seed), grouped by selector, task and seed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ltrp_bench.harness.evaluation.recipes import check_ratios
from ltrp_bench.harness.evaluation.scorer import check_oracle_groups
from ltrp_bench.results.schema.record import Identity, SelectorInfo, TaskInfo, cell_fingerprint, digest
from ltrp_bench.selectors.base import Selector, as_selector
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.tasks.base import Task

if TYPE_CHECKING:
    from ltrp_bench.harness.evaluation.recipes import SelectorRecipe, TaskRecipe

Item = TypeVar("Item")

SEED_LIMIT: Final = 2**63
"""Seeds are smaller than this: they are stored as signed 64-bit integers."""

NO_SMALLER: Final = "its model takes no smaller images"
"""Why a selector that shrinks images is left out on a task with a model."""


@dataclass(frozen=True)
class SelectorEntry:
    """A selector that is ready to run.

    Attributes:
        selector: the selector.
        name: its name in tables, such as "ltrp.photos".
        info: its description in records, with all that fingerprints depend on.
        recipe: how another process builds it again; None for one that was built by the caller.
    """

    selector: Selector
    name: str
    info: SelectorInfo
    recipe: SelectorRecipe | None = None

    @property
    def shown(self) -> str:
        """Its label, or else its name, with the backbone if one was chosen."""
        return (self.recipe and self.recipe.shown) or self.name

    @property
    def reduces_by_downsampling(self) -> bool:
        """True if the task shrinks the image instead of keeping patches."""
        return self.selector.reduces_by_downsampling


@dataclass(frozen=True)
class TaskEntry:
    """A task that is ready to run.

    Attributes:
        task: the task.
        info: its description in records, with all that fingerprints depend on.
        recipe: how another process builds it again; None for one that was built by the caller.
    """

    task: Task
    info: TaskInfo
    recipe: TaskRecipe | None = None

    @property
    def shown(self) -> str:
        """Its label, or else its name."""
        return self.info.name if self.recipe is None or self.recipe.label is None else self.recipe.label

    @property
    def images(self) -> int:
        """Number of images."""
        return len(self.task)


@dataclass(frozen=True)
class Cell:
    """One selector x task x keep ratio x seed; selector, task and seed are those of its `CellGroup`.

    Attributes:
        keep_ratio: share of patches kept, in (0, 1].
        fingerprint: hex digest of everything that determines the result.
    """

    keep_ratio: float
    fingerprint: str


@dataclass(frozen=True)
class CellGroup:
    """The cells of one selector, task and seed. They share images, scores and rankings, and run together.

    Attributes:
        selector, task, seed: common to all cells.
        cells: one per keep ratio, ascending.
    """

    selector: SelectorEntry
    task: TaskEntry
    seed: int
    cells: tuple[Cell, ...]

    @property
    def key(self) -> str:
        """Hex digest of selector, task and seed, but not of keep ratios: names the group's unfinished work on disk."""
        return digest([self.selector.info.identity.text, self.task.info.identity.text, self.seed])[:32]

    @property
    def label(self) -> str:
        """Description for the user, such as "ltrp on shapes-det, seed 0"."""
        return f"{self.selector.shown} on {self.task.shown}, seed {self.seed}"


def by_task(items: Iterable[Item], group_of: Callable[[Item], CellGroup]) -> list[list[Item]]:
    """Groups of cells, or what belongs to one each, put together by task; in their order."""
    tasks: dict[str, list[Item]] = {}
    for item in items:
        tasks.setdefault(group_of(item).task.info.identity.text, []).append(item)
    return list(tasks.values())


def selector_entry(
    selector: Any, name: str, identity: dict[str, Any], recipe: SelectorRecipe | None = None
) -> SelectorEntry:
    """Describe a selector for a plan.

    Args:
        selector: a `Selector`, or any object that `as_selector` accepts.
        name: its name in tables.
        identity: plain JSON of all that its scores depend on: name, options, hash of the weights.
        recipe: how another process builds it again, if any can.
    """
    selector = as_selector(selector, name)
    supervision = selector.supervision
    info = SelectorInfo(
        name=name,
        supervision=str(supervision.kind),
        label_sets=tuple(supervision.label_sets),
        stochastic=selector.stochastic,
        identity=Identity.of(identity),
    )
    return SelectorEntry(selector, name, info, recipe)


def task_entry(task: Task, recipe: TaskRecipe | None = None) -> TaskEntry:
    """Describe a task for a plan; `recipe` as in `TaskEntry`. Raises UsageError if it has no images."""
    if len(task) == 0:
        raise UsageError(f"task {task.name!r} has no images; check --data, --limit and the split")
    identity = Identity.of({**task.identity(), "name": task.name})
    return TaskEntry(task, TaskInfo(task.name, task.headline, identity), recipe)


def fingerprint(selector: SelectorEntry, task: TaskEntry, keep_ratio: float, seed: int) -> str:
    """Fingerprint of one cell, see `cell_fingerprint`."""
    return cell_fingerprint(
        selector.info.identity.value, task.info.identity.value, keep_ratio, seed, task.task.reduction
    )


def plan(
    pairs: Sequence[tuple[SelectorEntry, TaskEntry]],
    keep_ratios: Iterable[float],
    seeds: Iterable[int],
    notice: Callable[[str], None],
) -> list[CellGroup]:
    """Plan the cells of a run.

    A selector that is not stochastic runs with the first seed only, one that keeps every patch at keep ratio 1 only,
    and one that shrinks images only on tasks that support it. Cells of equal fingerprint run once.

    Args:
        pairs: each selector with each task that it runs on.
        keep_ratios: shares of patches kept, in (0, 1].
        seeds: integers from 0 to 2**63 - 1.
        notice: called once with each line about what was left out and why.

    Returns:
        Groups in the order of `pairs`, then of seeds.

    Raises:
        UsageError: keep ratios or seeds out of range.
    """
    ratios, seeds = check_ratios(keep_ratios), tuple(dict.fromkeys(seeds))
    if not seeds or min(seeds) < 0 or max(seeds) >= SEED_LIMIT:
        raise UsageError("seeds are integers from 0 to 2**63 - 1; give at least one --seed")
    left_out: dict[str, None] = {}
    planned: set[str] = set()
    groups = []
    for selector, task in pairs:
        if selector.reduces_by_downsampling and not task.task.supports_downsample:
            no_patches = f"coverage is about the patches that are kept, and {selector.name} keeps none"
            why = no_patches if task.task.reduction == "none" else NO_SMALLER
            left_out[f"{selector.name} is left out on {task.info.name}: {why}"] = None
            continue
        if selector.selector.oracle_groups and not task.task.oracle_groups:
            left_out[f"{selector.name} is left out on {task.info.name}: only coverage has ceilings of groups"] = None
            continue
        check_oracle_groups(selector.selector, task.task)
        own_ratios = ratios
        if selector.selector.keeps_every_patch and ratios != (1.0,):
            own_ratios = (1.0,)
            left_out[f"{selector.name} keeps every patch: it runs at keep ratio 1 only"] = None
        for seed in seeds if selector.info.stochastic else seeds[:1]:
            cells = [Cell(ratio, fingerprint(selector, task, ratio, seed)) for ratio in own_ratios]
            new = tuple(cell for cell in cells if cell.fingerprint not in planned)
            planned.update(cell.fingerprint for cell in new)
            if new:
                groups.append(CellGroup(selector, task, seed, new))
    for line in left_out:
        notice(line)
    return groups
