"""Which cells a run has: selectors x tasks x keep ratios x seeds, less what makes no sense."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ltrp_bench.results.schema.record import Identity, SelectorInfo, TaskInfo, cell_fingerprint, digest
from ltrp_bench.selectors.base import Selector, as_selector
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.tasks.base import Task

SEEDS: Final = 2**63
"""Seeds are below: what a signed 64-bit integer holds, as results are stored with."""

Notice = Callable[[str], None]


@dataclass(frozen=True)
class SelectorEntry:
    """A selector ready to run: the object, the name it was asked for by, and what its fingerprint holds."""

    selector: Selector
    name: str
    info: SelectorInfo

    @property
    def reduces_by_downsampling(self) -> bool:
        """Whether the task shrinks the image instead of keeping patches."""
        return self.selector.reduces_by_downsampling


@dataclass(frozen=True)
class TaskEntry:
    """A task ready to run and what its fingerprint holds."""

    task: Task
    info: TaskInfo

    @property
    def images(self) -> int:
        """Number of images."""
        return len(self.task)


@dataclass(frozen=True)
class Cell:
    """One (selector, task, keep ratio, seed); the first two and the seed are those of its `CellGroup`."""

    keep_ratio: float
    fingerprint: str


@dataclass(frozen=True)
class CellGroup:
    """The cells of one selector, task and seed: they share every score, so they run together.

    `key` names the group's unfinished chunks on disk; it does not depend on the keep ratios.
    """

    selector: SelectorEntry
    task: TaskEntry
    seed: int
    cells: tuple[Cell, ...] = field(default=())

    @property
    def key(self) -> str:
        """Hex digest of selector, task and seed."""
        return digest([self.selector.info.identity.text, self.task.info.identity.text, self.seed])[:32]

    @property
    def label(self) -> str:
        """ "ltrp on shapes-det, seed 0"."""
        return f"{self.selector.name} on {self.task.info.name}, seed {self.seed}"


def selector_entry(selector: Any, name: str, identity: dict[str, Any]) -> SelectorEntry:
    """Wrap a selector.

    Args:
        selector: any object with `name`, `supervision`, `mean`, `std`, `scores`.
        name: the name it goes by in tables.
        identity: plain JSON; what makes its scores (name, options, hash of its weights).
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
    return SelectorEntry(selector, name, info)


def task_entry(task: Task) -> TaskEntry:
    """Wrap a task; `UsageError` if it has no images."""
    if len(task) == 0:
        raise UsageError(f"task {task.name!r} has no images; check --data, --limit and the split")
    identity = Identity.of({**task.identity(), "name": task.name})
    return TaskEntry(task, TaskInfo(task.name, task.headline, identity))


def fingerprint(selector: SelectorEntry, task: TaskEntry, keep_ratio: float, seed: int) -> str:
    """Of one cell; see `results.record.cell_fingerprint`."""
    return cell_fingerprint(
        selector.info.identity.value, task.info.identity.value, keep_ratio, seed, task.task.reduction
    )


def check_ratios(keep_ratios: Iterable[float]) -> tuple[float, ...]:
    """Ascending, each once; `UsageError` for none or one outside (0, 1]."""
    ratios = sorted(set(keep_ratios))
    for ratio in ratios:
        if not 0.0 < ratio <= 1.0:
            raise UsageError(f"keep ratio {ratio:g} is not in (0, 1]: it is the share of patches kept")
    if not ratios:
        raise UsageError("give at least one --keep-ratio")
    return tuple(ratios)


def plan(
    pairs: Sequence[tuple[SelectorEntry, TaskEntry]],
    keep_ratios: Iterable[float],
    seeds: Iterable[int],
    notice: Notice,
) -> list[CellGroup]:
    """The groups of cells of a run, in the order of `pairs`, then of seeds.

    A selector that is not stochastic runs with the first seed alone; `full` at keep ratio 1 alone;
    `downsample` on tasks that can shrink an image; cells of equal fingerprint once.

    Args:
        pairs: each selector with each task it is to run on.
        keep_ratios: shares in (0, 1].
        seeds: whole numbers >= 0, in order.
        notice: told, one line each, what was left out and why.

    Raises:
        UsageError: for ratios or seeds out of range.
    """
    ratios, given = check_ratios(keep_ratios), tuple(dict.fromkeys(seeds))
    if not given or min(given) < 0 or max(given) >= SEEDS:
        raise UsageError("seeds are whole numbers from 0 on, below 2**63; give at least one --seed")
    told: set[str] = set()
    taken: set[str] = set()
    groups = []
    for selector, task in pairs:
        own = ratios
        if selector.selector.keeps_every_patch and ratios != (1.0,):
            own = (1.0,)
            _tell_once(told, notice, "full keeps every patch: it runs at keep ratio 1 only")
        if selector.reduces_by_downsampling and not task.task.supports_downsample:
            _tell_once(told, notice, f"downsample is left out on {task.info.name}: it cannot shrink its images")
            continue
        for seed in given if selector.info.stochastic else given[:1]:
            cells = [Cell(ratio, fingerprint(selector, task, ratio, seed)) for ratio in own]
            fresh = tuple(cell for cell in cells if cell.fingerprint not in taken)
            taken.update(cell.fingerprint for cell in fresh)
            if fresh:
                groups.append(CellGroup(selector, task, seed, fresh))
    return groups


def _tell_once(told: set[str], notice: Notice, line: str) -> None:
    if line not in told:
        told.add(line)
        notice(line)
