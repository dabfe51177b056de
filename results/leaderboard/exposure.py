"""Exposure of selectors: unseen categories of a table that the selectors' own label sets contain.

A table calls categories unseen by one label set. A selector that was trained on another one, e.g. ImageNet-21k in a
table split by ImageNet-1K, may have been shown them, and then its values on the unseen group say nothing about unseen
categories.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import pandas as pd

from ltrp_bench.results.leaderboard.category_groups import (
    CategoryGroups,
    GroupReader,
    category_counts,
    joint_states,
)
from ltrp_bench.results.leaderboard.ceilings import CEILING, add_ceilings
from ltrp_bench.results.leaderboard.rows import TableRow
from ltrp_bench.results.schema.record import CellRecord
from ltrp_bench.results.schema.rows import MetricRow

Kind = Literal["none", "exposed", "open", "unknown"]
_WORST_FIRST: Final[tuple[Kind, ...]] = ("unknown", "open", "exposed", "none")

GROUP_COLUMNS: Final = ("split_by", "seen_categories", "unseen_categories", "unseen_measured", "unseen_objects")
EXPOSURE_COLUMNS: Final = ("exposure", "exposed_unseen", "exposed_narrow", "exposed_categories")
COLUMNS: Final = (*GROUP_COLUMNS, *EXPOSURE_COLUMNS)
"""Columns that `add_exposure` fills in."""

_EMPTY: Final[dict[str, Any]] = {
    "split_by": "",
    **dict.fromkeys(GROUP_COLUMNS[1:], math.nan),
    "exposure": "unknown",
    "exposed_unseen": math.nan,
    "exposed_narrow": math.nan,
    "exposed_categories": "",
}


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """Exposure of one selector to the unseen categories of one table.

    Attributes:
        kind: "none" if its label sets contain none of them, "exposed" if they contain some, "open" if it was trained on
            something of unknown content such as captions, "unknown" if a label set or the categories are unknown.
        seen: unseen categories of the table that its label sets contain.
        narrow: those that they contain in part or through one kind only. They count as exposed, unless the run counts
            narrow categories as unseen.
        share: share of the unseen categories that are exposed, in [0, 1]; NaN for "open" and "unknown".
    """

    kind: Kind
    seen: frozenset[str] = frozenset()
    narrow: frozenset[str] = frozenset()
    share: float = 0.0

    def values(self) -> dict[str, Any]:
        """Values of `EXPOSURE_COLUMNS`."""
        names = sorted([*self.seen, *(f"{name} (narrow)" for name in self.narrow)])
        certain = self.kind in ("none", "exposed")
        return {
            "exposure": self.kind,
            "exposed_unseen": self.share,
            "exposed_narrow": float(len(self.narrow)) if certain else math.nan,
            "exposed_categories": "; ".join(names),
        }


def exposure_of(record: CellRecord, groups: CategoryGroups, reader: GroupReader) -> Exposure:
    """Exposure of a cell's selector to the unseen categories of a table.

    All label sets of its training count, however long ago in the training they were used.

    Args:
        record: the cell.
        groups: groups of the table, which may differ from those of the run.
        reader: reader of the run's groups, with the knowledge of label sets.
    """
    label_sets = record.selector.label_sets
    if not label_sets or (groups.categories and not groups.unseen):
        return Exposure(kind="none")
    if not groups.categories and set(label_sets) == {groups.split_by}:
        # The categories are not named, but they are unseen by this very label set.
        return Exposure(kind="none")
    found = {name: reader.states(record, name) for name in label_sets} if groups.categories else {}
    states = joint_states(groups.unseen, [one for one in found.values() if one is not None])
    seen = frozenset(name for name, state in states.items() if state == "seen")
    narrow = frozenset(name for name, state in states.items() if state == "narrow")
    without = [name for name in label_sets if found.get(name) is None]
    if without:
        is_open = all(reader.label_sets.is_open(name) for name in without)
        return Exposure(kind="open" if is_open else "unknown", seen=seen, narrow=narrow, share=math.nan)
    exposed = seen | (narrow if groups.narrow_as == "seen" else frozenset())
    share = len(exposed) / len(groups.unseen)
    return Exposure(kind="exposed" if exposed else "none", seen=seen, narrow=narrow, share=share)


def add_exposure(rows: Sequence[TableRow], records: Iterable[CellRecord], reader: GroupReader) -> None:
    """Fill the columns `COLUMNS`.

    A row over several cells (seeds, folds, keep ratios) has the worst exposure among them: "unknown", "open",
    "exposed", "none". Its counts are those of its first cell.

    Args:
        rows: all rows of a leaderboard or crossover.
        records: all cells behind the rows, in the groups of the table.
        reader: reader of the run's groups, with the knowledge of label sets.
    """
    by_fingerprint: dict[str, CellRecord] = {}
    by_ids: dict[tuple[str, str], CellRecord] = {}
    for record in records:
        by_fingerprint[record.short_fingerprint] = record
        by_ids.setdefault((record.task.identity.short, record.selector.identity.short), record)
    cells = _Cells(reader)
    for row in rows:
        behind = [by_fingerprint[short] for short in str(row.values["fingerprints"]).split()]
        # Rows without cells stand for a missing keep ratio.
        example = by_ids.get((str(row.values["task_id"]), str(row.values["selector_id"])))
        if not behind and example is not None:
            behind = [example]
        row.values.update(_EMPTY if not behind else cells.values(behind, str(row.values["metric"])))


def with_exposure(frame: pd.DataFrame, records: Sequence[CellRecord], reader: GroupReader) -> pd.DataFrame:
    """A table of `aggregate.aggregate_cells` with the columns `COLUMNS` and that of ceilings as well.

    Args:
        frame: the table.
        records: all cells behind its rows.
        reader: reader of the run's groups, with the knowledge of label sets.
    """
    rows = [TableRow({str(name): value for name, value in row.items()}, None) for row in frame.to_dict("records")]
    add_exposure(rows, records, reader)
    add_ceilings(rows, records, reader)
    return pd.DataFrame([row.values for row in rows], columns=[*frame.columns, *COLUMNS, CEILING])


class _Cells:
    """Groups and exposures of cells, computed once for each task and supervision."""

    def __init__(self, reader: GroupReader) -> None:
        self._reader = reader
        self._exposures: dict[tuple[str, tuple[str, ...]], Exposure] = {}

    def values(self, records: Sequence[CellRecord], metric: str) -> dict[str, Any]:
        groups = [self._reader.shown(record) for record in records]
        exposures = [self._exposure(record, one) for record, one in zip(records, groups, strict=True)]
        worst = min(exposures, key=lambda one: (_WORST_FIRST.index(one.kind), -one.share))
        counts = category_counts(records[0].metrics, metric, "unseen")
        measured = float(sum(n > 0 for n in counts.values())) if counts else math.nan
        return {
            "split_by": ", ".join(dict.fromkeys(one.split_by for one in groups)),
            "seen_categories": float(len(groups[0].seen)),
            "unseen_categories": float(len(groups[0].unseen)),
            "unseen_measured": measured,
            "unseen_objects": _objects(records[0].metrics, metric, counts),
            **worst.values(),
        }

    def _exposure(self, record: CellRecord, groups: CategoryGroups) -> Exposure:
        key = record.task.identity.short, record.selector.label_sets
        if key not in self._exposures:
            self._exposures[key] = exposure_of(record, groups, self._reader)
        return self._exposures[key]


def _objects(rows: Iterable[MetricRow], metric: str, counts: dict[str, int]) -> float:
    """Number of images, objects or pixels that the unseen value is taken over; NaN if unknown."""
    stored = [row.n for row in rows if row.category is None and (row.metric, row.group) == (metric, "unseen")]
    return float(stored[0] if stored and stored[0] else sum(counts.values()) if counts else math.nan)
