"""The two sides of a comparison: run folders or CSV files, in groups that can be compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ltrp_bench.results.leaderboard.aggregate import aggregate_store
from ltrp_bench.results.leaderboard.category_groups import (
    GroupReader,
    LabelSets,
    NarrowAs,
    Notice,
    RegroupedStore,
    choose_groups,
)
from ltrp_bench.results.leaderboard.csv_files import CsvTable, TableGroups
from ltrp_bench.results.leaderboard.names import with_labels
from ltrp_bench.results.schema.record import ResultsError
from ltrp_bench.results.store.labels import read_labels
from ltrp_bench.results.store.run_store import ReadOnceStore, RunStore


@dataclass(frozen=True)
class FolderTable:
    """A run folder.

    Attributes:
        path: the folder.
        store: its cells, in the groups of the comparison.
    """

    path: Path
    store: RunStore

    def rows(self) -> pd.DataFrame:
        """Table of `aggregate.aggregate_cells`, with labels and options."""
        records, stored = self.store.read_cells(), read_labels(self.store.root)
        return with_labels(aggregate_store(self.store), stored, records, self.store.read_provenance)

    def groups(self) -> dict[str, TableGroups]:
        """Groups of the tables of each task, where they are known and the same in all of them."""
        reader = GroupReader(self.store)
        found: dict[str, set[TableGroups]] = {}
        for record in self.store.read_cells():
            groups = reader.stored(record)
            if groups.categories:
                found.setdefault(record.task.name, set()).add((groups.split_by, len(groups.seen), len(groups.unseen)))
        return {task: next(iter(one)) for task, one in found.items() if len(one) == 1}


Side = FolderTable | CsvTable


def open_side(path: Path) -> Side:
    """A run folder, or a CSV file. Raises ResultsError if the file cannot be read or is not a leaderboard."""
    return FolderTable(path, ReadOnceStore(path)) if path.is_dir() else CsvTable(path)


def check_same_groups(base: Side, current: Side) -> None:
    """Raise ResultsError if a task of both sides is split in two ways, so that its seen and unseen values differ."""
    sides = [(side.path, side.groups()) for side in (base, current)]
    for task in sorted(sides[0][1].keys() & sides[1][1].keys()):
        if sides[0][1][task] != sides[1][1][task]:
            texts = [f"by {of[task][0]} ({of[task][2]} unseen categories) in {path}" for path, of in sides]
            raise ResultsError(
                f"{task} is split {' and '.join(texts)}, so seen and unseen cannot be compared; write both tables with "
                "the same --unseen-by"
            )


def regroup_both(
    sides: tuple[Side, Side], unseen_by: str, label_sets: LabelSets, notice: Notice, narrow_as: NarrowAs | None
) -> tuple[FolderTable, FolderTable]:
    """Both run folders in the groups of a label set (see `choose_groups`). Raises ResultsError for a CSV file."""
    folders = [side for side in sides if isinstance(side, FolderTable)]
    if len(folders) < 2:
        file = next(side.path for side in sides if isinstance(side, CsvTable))
        raise ResultsError(f"{file} cannot be split by {unseen_by}: it must be a run folder on both sides")
    cells = []
    for folder in folders:
        reader = GroupReader(folder.store, label_sets)
        cells += [(record, reader) for record in folder.store.read_cells()]
    chosen = choose_groups(cells, unseen_by, notice, narrow_as=narrow_as)
    base, current = (FolderTable(folder.path, RegroupedStore(folder.store, chosen)) for folder in folders)
    return base, current
