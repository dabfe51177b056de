"""Comparison of two leaderboards: which rows got worse.

All headline metrics are higher-is-better, so a decrease of `all`, `seen` or `unseen` is a regression. If both sides
are run folders whose cells have resampling summaries, it must be statistically significant (`paired`), else larger
than the tolerance. The gap (seen - unseen) is shown but not compared: it has no better direction, and grows when only
`seen` improves.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import pandas as pd

from ltrp_bench.results.comparison.outcome import Comparison, RowComparison, RowKey, Status
from ltrp_bench.results.comparison.paired import Change, PairedCells
from ltrp_bench.results.comparison.sides import FolderTable, Side, check_same_groups, open_side, regroup_both
from ltrp_bench.results.leaderboard.aggregate import VALUES
from ltrp_bench.results.leaderboard.category_groups import OWN_SPLITS, LabelSets, NarrowAs, Notice
from ltrp_bench.results.leaderboard.names import labels, selector_labels
from ltrp_bench.results.schema.record import Identity, ResultsError
from ltrp_bench.results.schema.rows import GROUPS
from ltrp_bench.results.statistics.bootstrap import RESAMPLES
from ltrp_bench.results.store.run_store import RunStore
from ltrp_bench.selectors.errors import UsageError

Test = Literal["auto", "paired", "tolerance"]

DEFAULT_TOLERANCE: Final = 0.005
"""Absolute, in units of the metric. Differences between machines through rounding are far smaller."""

_NAMES: Final = ("task", "reduction", "keep_ratio", "selector")
_MATCH: Final = {"task_id": "task_match", "selector_id": "selector_match"}
"""Column of an id -> column of the id by which rows of both sides are matched."""

_ROUNDING: Final = 1e-12


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """Options of a comparison.

    Attributes:
        tolerance: accepted absolute decrease of a value, >= 0, for rows without a paired test.
        test: "auto" makes a paired test where both sides are run folders whose cells have resampling summaries,
            "tolerance" makes none, and "paired" requires one for every row.
        resamples: number of resamples of the paired test.
        unseen_by: label set by which categories are grouped on both sides, "common" for those that no selector of
            either side has seen, or None for the groups of the runs.
        narrow_as: group of the categories that the label set contains in part only; None for that of the run. For
            `unseen_by`.
    """

    tolerance: float = DEFAULT_TOLERANCE
    test: Test = "auto"
    resamples: int = RESAMPLES
    unseen_by: str | None = None
    narrow_as: NarrowAs | None = None


DEFAULT: Final = CompareOptions()


def compare(
    base: Path,
    current: Path,
    options: CompareOptions = DEFAULT,
    *,
    label_sets: LabelSets = OWN_SPLITS,
    notice: Notice = lambda line: None,
) -> Comparison:
    """Compare two leaderboards, each a CSV file or a run folder.

    Besides decreases, regressions are rows of `base` that are missing or incomplete in `current`, and values that are
    no longer defined. Rows that are missing or incomplete in `base` are never regressions.

    Args:
        base: the expected results.
        current: the results to check.
        options: tolerance, test and groups.
        label_sets: knowledge of label sets, `tasks.splits.label_sets`; needed for `options.unseen_by`.
        notice: called with one line for the tasks that keep their groups.

    Raises:
        ResultsError: a side cannot be read, `base` has no complete row, a paired test is required and a row cannot be
            tested, groups are chosen for a CSV file, or both sides have the same task in other groups.
        UsageError: a negative tolerance.
    """
    if not options.tolerance >= 0:
        raise UsageError(f"the tolerance must be 0 or more, not {options.tolerance}")
    sides: tuple[Side, Side] = open_side(base), open_side(current)
    if options.unseen_by is None:
        check_same_groups(*sides)
    else:
        sides = regroup_both(sides, options.unseen_by, label_sets, notice, options.narrow_as)
    base_frame, current_frame = (side.rows() for side in sides)
    complete = base_frame["complete"].astype(bool)
    if not complete.any():
        raise ResultsError(f"{base} has no complete row to compare with")
    if base_frame.loc[complete, list(GROUPS)].isna().all(axis=None):
        raise ResultsError(f"{base} has no value to compare with: nothing could be measured")
    cells = None
    stores = [side.store for side in sides if isinstance(side, FolderTable)]
    if len(stores) == 2 and options.test != "tolerance":
        cells = PairedCells(stores[0], stores[1], options.resamples)
        base_frame, current_frame = (
            _with_matching_ids(f, store) for f, store in zip((base_frame, current_frame), stores, strict=True)
        )
    out = compare_frames(base_frame, current_frame, options.tolerance, cells)
    out = replace(out, unseen_by=options.unseen_by or "")
    if options.test == "paired" and (untested := [row for row in out.rows if row.changes is None and row.comparable]):
        raise ResultsError(
            f"no paired test of {len(untested)} rows, such as {untested[0].line().partition(':')[0]}: both sides must "
            "be run folders whose cells have resampling summaries; --test auto uses the tolerance for the other rows"
        )
    return out


def compare_frames(
    base: pd.DataFrame, current: pd.DataFrame, tolerance: float, cells: PairedCells | None = None
) -> Comparison:
    """`compare` for tables of `aggregate.aggregate_cells`.

    Rows are matched by task, reduction, keep ratio, selector and identities. The remaining rows are matched by names
    alone if the names are unambiguous on both sides; their weights, options or data differ, and their notes say so.

    Args:
        base: the expected results.
        current: the results to check.
        tolerance: accepted absolute decrease of a value.
        cells: cells of both run folders, for the paired test.
    """
    old, new = _rows(base), _rows(current)
    matches = _pairs(old, new)
    taken = {id(row) for row in matches if row is not None}
    both = [(o, n) for o, n in zip(old, matches, strict=True) if n is not None and o["complete"] and n["complete"]]
    found = cells.changes(both) if cells is not None else [None] * len(both)
    changes = {id(o): change for (o, _), change in zip(both, found, strict=True)}
    added = [row for row in new if id(row) not in taken]
    keys = _keys([*old, *added])
    compared = [
        _compare_row(key, o, n, tolerance, changes.get(id(o)))
        for key, o, n in zip(keys[: len(old)], old, matches, strict=True)
    ]
    compared += [
        RowComparison("new", key, {}, _values(row), "not in the base")
        for key, row in zip(keys[len(old) :], added, strict=True)
    ]
    compared.sort(key=lambda row: (not row.regression, row.key))
    return Comparison(tuple(compared), tolerance)


def _pairs(old: Sequence[dict[str, Any]], new: Sequence[dict[str, Any]]) -> list[dict[str, Any] | None]:
    """For each row of `old` the matching row of `new`, or None."""
    exact = {_exact(row): row for row in new}
    out = [exact.get(_exact(row)) for row in old]
    taken = {id(row) for row in out if row is not None}
    unmatched: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in new:
        if id(row) not in taken:
            unmatched[_names(row)].append(row)
    ambiguity = Counter(_names(row) for row, match in zip(old, out, strict=True) if match is None)
    for i, row in enumerate(old):
        if out[i] is None and ambiguity[_names(row)] == 1 and len(unmatched[_names(row)]) == 1:
            out[i] = unmatched[_names(row)][0]
    return out


def _keys(rows: Sequence[dict[str, Any]]) -> list[RowKey]:
    """Keys of rows, with the ids of tasks and selectors whose names stand for several of them."""
    first: dict[str, Any] = {}
    # Rows that differ by the version of the code alone have one id.
    shown = [
        {**row, **{name: first.setdefault(row[match], row[name]) for name, match in _MATCH.items()}} for row in rows
    ]
    task, selector = labels("task", shown), selector_labels(shown)
    return [(task(row), str(row["reduction"]), float(row["keep_ratio"]), selector(row)) for row in shown]


def _with_matching_ids(frame: pd.DataFrame, store: RunStore) -> pd.DataFrame:
    """Table with ids that leave out the version of the code, by which rows of different versions match."""
    ids: dict[str, str] = {}
    for record in store.read_cells():
        parts = (record.task.identity, record.selector.identity)
        short = [Identity.of({k: v for k, v in one.value.items() if k != "version"}).short for one in parts]
        ids.update(zip((one.short for one in parts), short, strict=True))
    out = frame.copy()
    for name, match in _MATCH.items():
        out[match] = [ids[str(value)] for value in frame[name]]
    return out


def _compare_row(
    key: RowKey,
    old: dict[str, Any],
    new: dict[str, Any] | None,
    tolerance: float,
    changes: Mapping[str, Change] | None,
) -> RowComparison:
    before = _values(old)
    if not old["complete"]:
        note = f"incomplete in the base ({old['missing']})"
        return RowComparison("not compared", key, before, _values(new) if new else {}, note)
    if new is None:
        return RowComparison("missing", key, before, {}, "not in the current results")
    after = _values(new)
    if all(math.isnan(before[name]) for name in GROUPS):
        return RowComparison("not compared", key, before, after, "nothing was measured in the base")
    if not new["complete"]:
        return RowComparison("missing", key, before, after, f"incomplete now ({new['missing']})")
    if old["metric"] != new["metric"]:
        note = f"the metric was {old['metric']}, now {new['metric']}"
        return RowComparison("missing", key, before, after, note)
    status, notes = _compare_values(before, after, tolerance, changes)
    if differing := [name.removesuffix("_id") for name, match in _MATCH.items() if old[match] != new[match]]:
        notes.append(f"other {' and '.join(differing)} than in the base (weights, options or data)")
    return RowComparison(status, key, before, after, "; ".join(notes), changes)


def _compare_values(
    before: Mapping[str, float], after: Mapping[str, float], tolerance: float, changes: Mapping[str, Change] | None
) -> tuple[Status, list[str]]:
    """Status of a row, and a note for each value that changed."""
    notes, worse, better = [], False, False
    for name in GROUPS:
        was, now = before[name], after[name]
        if math.isnan(was):
            continue
        if math.isnan(now):
            worse = True
            notes.append(f"{name} is no longer defined")
        elif changes is not None:
            change = changes[name]
            worse, better = worse or change.fell, better or change.rose
            if abs(change.point) > _ROUNDING:
                notes.append(f"{name} {change.text()}")
        elif now < was - tolerance - _ROUNDING:
            worse = True
            notes.append(f"{name} fell by {was - now:.4g}")
        elif now > was + tolerance + _ROUNDING:
            better = True
    return "worse" if worse else "better" if better else "ok", notes


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    rows = ({str(name): value for name, value in row.items()} for row in frame.to_dict("records"))
    return [{**{match: row[name] for name, match in _MATCH.items()}, **row} for row in rows]


def _names(row: dict[str, Any]) -> RowKey:
    return str(row["task"]), str(row["reduction"]), float(row["keep_ratio"]), str(row["selector"])


def _exact(row: dict[str, Any]) -> tuple[Any, ...]:
    return (*_names(row), *(row[match] for match in _MATCH.values()))


def _values(row: dict[str, Any]) -> dict[str, float]:
    return {name: float(row[name]) for name in VALUES}
