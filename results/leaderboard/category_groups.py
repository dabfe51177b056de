"""Groups of categories behind a table: those of the run, or others that are chosen when results are read.

A run splits the categories of its task by one label set. Stored cells name the group of each category, and their
resampling summaries hold the metric of any group, so results can be split by another label set without measuring again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, Literal, Protocol

import numpy as np

from ltrp_bench.results.schema.record import CellRecord, digest
from ltrp_bench.results.schema.rows import GROUPS, MetricRow
from ltrp_bench.results.store.run_store import RunStore
from ltrp_bench.results.summaries.base import ResamplingSummary
from ltrp_bench.selectors.errors import UsageError

CategoryState = Literal["seen", "narrow", "unseen"]
NarrowAs = Literal["seen", "unseen"]
States = Mapping[str, CategoryState]
"""Category -> its state under one label set."""

Notice = Callable[[str], None]

COMMON: Final = "common"
"""Name of the split whose unseen categories no selector of the table has seen."""

_SPLIT: Final = ("seen", "unseen")


class LabelSets(Protocol):
    """Knowledge of label sets (`tasks.splits.label_sets`)."""

    def category_states(self, label_set: str, categories: Collection[str], /) -> States | None:
        """State of each category under a label set; None if it cannot be known."""

    def is_open(self, label_set: str, /) -> bool:
        """True for a label set of unknown content, such as captions."""


class OwnSplits:
    """No knowledge of label sets beyond the splits that are stored with the cells."""

    def category_states(self, label_set: str, categories: Collection[str], /) -> States | None:
        """None."""
        return None

    def is_open(self, label_set: str, /) -> bool:
        """False."""
        return False


OWN_SPLITS: Final = OwnSplits()


@dataclass(frozen=True)
class CategoryGroups:
    """Seen and unseen categories.

    Attributes:
        split_by: label set that forms the groups, or "common".
        seen, unseen: their categories.
        narrow_as: group of categories that a label set contains in part or through one kind only.
    """

    split_by: str
    seen: frozenset[str]
    unseen: frozenset[str]
    narrow_as: NarrowAs = "seen"

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """All categories, sorted."""
        return tuple(sorted(self.seen | self.unseen))

    def of(self, summary: ResamplingSummary) -> dict[str, tuple[str, ...]]:
        """Groups of a resampling summary: its own categories in its order; "all" stays."""
        return {
            "all": summary.groups["all"],
            "seen": tuple(name for name in summary.categories if name in self.seen),
            "unseen": tuple(name for name in summary.categories if name in self.unseen),
        }

    def by_states(self, split_by: str, states: States, narrow_as: NarrowAs | None = None) -> CategoryGroups:
        """The same categories, in groups by their states; narrow ones as in these groups, or as given."""
        narrow_as = narrow_as or self.narrow_as
        seen = frozenset(
            name for name, state in states.items() if (narrow_as if state == "narrow" else state) == "seen"
        )
        return CategoryGroups(split_by, seen, frozenset(states) - seen, narrow_as)


def stored_groups(record: CellRecord, store: RunStore) -> CategoryGroups:
    """Groups of a finished cell as it was run; both are empty if neither its metrics nor its summary name them.

    Raises:
        ResultsError: the cell's resampling summary is damaged.
    """
    identity = record.task.identity.value
    members: dict[str, set[str]] = {group: set() for group in _SPLIT}
    for row in record.metrics:
        if row.category is not None and row.group in members:
            members[row.group].add(row.category)
    if not any(members.values()) and (summary := store.read_summary(record)) is not None:
        members = {group: set(summary.groups[group]) for group in _SPLIT}
    return CategoryGroups(
        str(identity.get("label_set", "")),
        frozenset(members["seen"]),
        frozenset(members["unseen"]),
        "unseen" if identity.get("narrow_as") == "unseen" else "seen",
    )


class GroupReader:
    """Reads the groups of cells; cells of one task with the same categories share one object.

    Args:
        store: the run folder, with the groups of the run.
        label_sets: knowledge of label sets.
        chosen: short id of a task's identity -> groups of the table, where they are not those of the run.
    """

    def __init__(
        self,
        store: RunStore,
        label_sets: LabelSets = OWN_SPLITS,
        chosen: Mapping[str, CategoryGroups] | None = None,
    ) -> None:
        self.label_sets = label_sets
        self._store = store
        self._chosen = chosen or {}
        self._stored: dict[str, CategoryGroups] = {}

    def stored(self, record: CellRecord) -> CategoryGroups:
        """Groups of a cell as it was run."""
        key = record.task.identity.short
        if key not in self._stored:
            # The record at hand may have other groups already.
            self._stored[key] = stored_groups(self._store.read_cell(record.fingerprint), self._store)
        return self._stored[key]

    def shown(self, record: CellRecord) -> CategoryGroups:
        """Groups of a cell in the table."""
        return self._chosen.get(record.task.identity.short) or self.stored(record)

    def states(self, record: CellRecord, label_set: str) -> States | None:
        """State of each category of a cell under a label set; None if it cannot be known.

        The split of the run decides about its own label set, since users may give another split than ours.
        """
        groups = self.stored(record)
        known = self.label_sets.category_states(label_set, groups.categories) if groups.categories else None
        if label_set != groups.split_by:
            return known
        out: dict[str, CategoryState] = {**dict.fromkeys(groups.seen, "seen"), **dict.fromkeys(groups.unseen, "unseen")}
        narrow = {name for name, state in (known or {}).items() if state == "narrow"}
        return {
            **out,
            **dict.fromkeys(narrow & (groups.seen if groups.narrow_as == "seen" else groups.unseen), "narrow"),
        }


def regroup(
    store: RunStore,
    unseen_by: str | None,
    label_sets: LabelSets = OWN_SPLITS,
    notice: Notice = lambda line: None,
    *,
    narrow_as: NarrowAs | None = None,
) -> tuple[RunStore, GroupReader]:
    """A run folder in the groups of a label set, and the reader of its groups.

    Args:
        store: the run folder.
        unseen_by: a label set, "common" (see `choose_groups`), or None for the groups of the run.
        label_sets: knowledge of label sets.
        notice: called with one line for each thing that keeps its groups or has no values.
        narrow_as: group of narrow categories; None for that of the run.

    Raises:
        ResultsError: a record or a resampling summary of the folder is damaged.
    """
    reader = GroupReader(store, label_sets)
    if unseen_by is None:
        return store, reader
    records = store.read_cells()
    chosen = choose_groups([(record, reader) for record in records], unseen_by, notice, narrow_as=narrow_as)
    regrouped = [record for record in records if record.task.identity.short in chosen]
    without = sum(not store.summary_path(record.fingerprint).exists() for record in regrouped)
    if without:
        notice(
            f"{without} of {len(regrouped)} cells have no resampling summary, so their values on seen and unseen "
            "categories are unknown; start their runs again to add it (nothing is measured again)"
        )
    return RegroupedStore(store, chosen), GroupReader(store, label_sets, chosen)


def choose_groups(
    cells: Sequence[tuple[CellRecord, GroupReader]],
    unseen_by: str,
    notice: Notice = lambda line: None,
    *,
    narrow_as: NarrowAs | None = None,
) -> dict[str, CategoryGroups]:
    """Groups of each task by another label set than that of the run.

    Args:
        cells: all cells that are read together, and the readers of their groups.
        unseen_by: a label set, or "common": a category is unseen if no selector of the task has seen it. Selectors
            trained on open or unknown label sets are not considered.
        notice: called with one line for the tasks that keep their groups, because the label set has no split of their
            categories.
        narrow_as: group of narrow categories; None for that of the run.

    Returns:
        Short id of the task's identity -> groups; tasks that keep theirs are left out.

    Raises:
        UsageError: the label set has no split of any task's categories.
    """
    tables: dict[tuple[str, CategoryGroups], list[tuple[CellRecord, GroupReader]]] = {}
    for record, reader in cells:
        groups = reader.stored(record)
        if groups.categories:
            tables.setdefault((record.task.name, groups), []).append((record, reader))
    out: dict[str, CategoryGroups] = {}
    kept: dict[str, set[str]] = {}
    split = False
    for (task, stored), own in tables.items():
        first, reader = own[0]
        if unseen_by == COMMON:
            names = sorted({name for record, _ in own for name in record.selector.label_sets})
            found = [one for name in names if (one := reader.states(first, name)) is not None]
            if not found:
                notice(f"no selector of {task} was trained on known labels, so no selector has seen any category")
        else:
            single = reader.states(first, unseen_by)
            if single is None:
                kept.setdefault(stored.split_by, set()).add(task)
                continue
            found = [single]
        split = True
        groups = stored.by_states(unseen_by, joint_states(stored.categories, found), narrow_as)
        if groups != stored:
            out |= {record.task.identity.short: groups for record, _ in own}
    if kept and not split:
        names_of = ", ".join(sorted(set().union(*kept.values())))
        raise UsageError(
            f"{unseen_by} has no split of the categories of {names_of}; `ltrp-bench list label-sets` lists which it has"
        )
    for split_by, tasks in sorted(kept.items()):
        names_of = ", ".join(sorted(tasks))
        notice(f"{unseen_by} has no split of the categories of {names_of}, which stay split by {split_by or 'the run'}")
    return out


def joint_states(categories: Iterable[str], states: Sequence[States]) -> dict[str, CategoryState]:
    """State of each category under several label sets together: seen before narrow before unseen."""
    out: dict[str, CategoryState] = {}
    for name in categories:
        found = {one[name] for one in states if name in one}
        out[name] = "seen" if "seen" in found else "narrow" if "narrow" in found else "unseen"
    return out


class RegroupedStore(RunStore):
    """A run folder whose cells have other groups; nothing in the folder is changed.

    Values of seen and unseen categories come from the resampling summaries. Cells without one, and metrics that it does
    not hold, have none.

    Args:
        store: the run folder.
        groups: short id of a task's identity -> groups; other tasks keep theirs.
    """

    def __init__(self, store: RunStore, groups: Mapping[str, CategoryGroups]) -> None:
        super().__init__(store.root)
        self._own = store
        self._chosen = groups
        self._regrouped: dict[str, CellRecord] = {}

    def groups_key(self, record: CellRecord) -> str:
        """Short text that names the groups of a cell; empty for those of the run."""
        groups = self._chosen.get(record.task.identity.short)
        return "" if groups is None else digest([sorted(groups.seen), sorted(groups.unseen)])[:12]

    def read_cell(self, fingerprint: str) -> CellRecord:
        """Record of a cell with the values of the chosen groups."""
        if fingerprint not in self._regrouped:
            record = self._own.read_cell(fingerprint)
            groups = self._chosen.get(record.task.identity.short)
            if groups is not None:
                record = replace(record, metrics=_regrouped(record, groups, self.read_summary(record)))
            self._regrouped[fingerprint] = record
        return self._regrouped[fingerprint]

    def replicates(self, fingerprint: str) -> list[RunStore]:
        """The replicates of a cell, in the chosen groups."""
        return [RegroupedStore(one, self._chosen) for one in self._own.replicates(fingerprint)]

    def read_summary(self, record: CellRecord) -> ResamplingSummary | None:
        """Resampling summary of a cell with the chosen groups."""
        summary = self._own.read_summary(self._own.read_cell(record.fingerprint))
        groups = self._chosen.get(record.task.identity.short)
        return summary if summary is None or groups is None else replace(summary, groups=groups.of(summary))


def _regrouped(record: CellRecord, groups: CategoryGroups, summary: ResamplingSummary | None) -> tuple[MetricRow, ...]:
    """Metric rows of the chosen groups; what follows from the run's groups (gaps between them) is left out."""
    rows = [_moved(row, groups) for row in record.metrics if row.category is not None]
    for row in record.metrics:
        if row.category is None and row.group not in _SPLIT and "_gap" not in row.metric:
            rows.append(row)
    if summary is None:
        return tuple(rows)
    measured = {(row.metric, row.group) for row in record.metrics if row.category is None and row.group in _SPLIT}
    pairs = [(metric, group) for metric in summary.metrics for group in _SPLIT if (metric, group) in measured]
    values = summary.all_values(pairs, np.ones((1, len(summary.images)), np.uint8))
    for metric, group in pairs:
        images = summary.images_counted(metric, group)
        n = sum(category_counts(rows, metric, group).values()) if images is None else images
        rows.append(MetricRow(metric, group, None, float(values[metric, group][0]), n))
    return tuple(rows)


def category_counts(rows: Iterable[MetricRow], metric: str, group: str) -> dict[str, int]:
    """Number of images, objects or pixels of each category of a group that a metric is taken over.

    Rows of single categories exist for AP, IoU, Acc, top-1, ...: for "mIoU" those of "IoU" count. Empty if there are
    none for the metric, such as for AP on small objects.
    """
    own = [row for row in rows if row.category is not None and row.group == group]
    name = metric if any(row.metric == metric for row in own) else metric.removeprefix("m")
    return {str(row.category): row.n for row in own if row.metric == name}


def _moved(row: MetricRow, groups: CategoryGroups) -> MetricRow:
    if row.group not in GROUPS or row.category not in groups.seen | groups.unseen:
        return row
    return replace(row, group="unseen" if row.category in groups.unseen else "seen")
