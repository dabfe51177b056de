"""Comparison of two leaderboards, and its regressions as a Markdown table, JUnit XML and lines of text.

All headline metrics are higher-is-better, so a decrease of `all`, `seen` or `unseen` is a regression. If both sides
are run folders whose cells have resampling summaries, it must be statistically significant (`paired`), else larger
than the tolerance. The gap (seen - unseen) is shown but not compared: it has no better direction, and grows when only
`seen` improves.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import pandas as pd

from ltrp_bench.results.comparison.paired import Change, PairedCells
from ltrp_bench.results.leaderboard.aggregate import VALUES
from ltrp_bench.results.leaderboard.csv_files import read_rows
from ltrp_bench.results.schema.record import Identity, ResultsError
from ltrp_bench.results.statistics.bootstrap import RESAMPLES
from ltrp_bench.results.store.run_store import RunStore

Test = Literal["auto", "paired", "tolerance"]
Status = Literal["ok", "better", "worse", "missing", "new", "not compared"]

COMPARED: Final = ("all", "seen", "unseen")

DEFAULT_TOLERANCE: Final = 0.005
"""Absolute, in units of the metric. Differences between machines through rounding are far smaller."""

_NAMES: Final = ("task", "reduction", "keep_ratio", "selector")
_IDS: Final = ("task_id", "selector_id")
_ROUNDING: Final = 1e-12


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """Options of a comparison.

    Attributes:
        tolerance: accepted absolute decrease of a value, >= 0, for rows without a paired test.
        test: "auto" makes a paired test where both sides are run folders whose cells have resampling summaries,
            "tolerance" makes none, and "paired" requires one for every row.
        resamples: number of resamples of the paired test.
    """

    tolerance: float = field(
        default=DEFAULT_TOLERANCE,
        metadata={"help": "Accepted absolute decrease of a value, without a paired test.", "min": 0.0},
    )
    test: Test = field(
        default="auto",
        metadata={"help": "Paired test, tolerance, or a paired test where cells have resampling summaries (auto)."},
    )
    resamples: int = field(
        default=RESAMPLES, metadata={"help": "Number of bootstrap resamples of the paired test.", "min": 100}
    )


DEFAULT: Final = CompareOptions()


@dataclass(frozen=True)
class RowComparison:
    """Comparison of one row.

    Attributes:
        status: "ok", "better", "worse", "missing", "new" or "not compared".
        key: (task, reduction, keep ratio, selector).
        base, current: values of the row on both sides; empty where it is missing.
        note: reason for the status.
        changes: group -> change, by the paired test; None if the tolerance was used.
    """

    status: Status
    key: tuple[str, str, float, str]
    base: dict[str, float]
    current: dict[str, float]
    note: str = ""
    changes: Mapping[str, Change] | None = None

    @property
    def comparable(self) -> bool:
        """True if the row is complete on both sides."""
        return self.status in ("ok", "better", "worse")

    @property
    def regression(self) -> bool:
        """True if the row fails the comparison."""
        return self.status in ("worse", "missing")

    def line(self) -> str:
        """Text for a terminal: the row, its status and the reason."""
        task, reduction, ratio, selector = self.key
        return f"{task} ({reduction}) {selector} at keep ratio {ratio:g}: {self.status}, {self.note}"


@dataclass(frozen=True)
class Comparison:
    """All rows of a comparison, regressions first.

    Attributes:
        rows: the rows.
        tolerance: accepted decrease of a value, where no paired test was made.
    """

    rows: tuple[RowComparison, ...]
    tolerance: float

    @property
    def regressions(self) -> tuple[RowComparison, ...]:
        """Rows that got worse or are missing."""
        return tuple(row for row in self.rows if row.regression)

    def markdown(self) -> str:
        """Markdown text for a CI summary: one sentence and a table."""
        count = len(self.regressions)
        outcome = f"**{count} regression{'s' if count != 1 else ''}**" if count else "No regression"
        tested = sum(row.changes is not None for row in self.rows)
        methods = [f"{tested} by a paired bootstrap test, Holm-corrected"] if tested else []
        methods += [f"{len(self.rows) - tested} by tolerance {self.tolerance:g}"] if tested < len(self.rows) else []
        head = ("status", "task", "reduction", "keep ratio", "selector", *VALUES, "note")
        lines = [
            f"{outcome} in {len(self.rows)} rows ({', '.join(methods) or 'none'}).",
            "",
            "| " + " | ".join(head) + " |",
            "|" + "|".join("---" for _ in head) + "|",
        ]
        for row in self.rows:
            task, reduction, ratio, selector = row.key
            values = [_change(row.base.get(name, math.nan), row.current.get(name, math.nan)) for name in VALUES]
            entries = [row.status, task, reduction, f"{ratio:g}", selector, *values, row.note]
            lines.append("| " + " | ".join(entry.replace("|", "\\|") for entry in entries) + " |")
        return "\n".join(lines) + "\n"

    def junit(self) -> bytes:
        """JUnit XML with one test case per row; regressions fail, and rows that were not compared are skipped."""
        from junitparser import Failure, JUnitXml, Skipped, TestCase, TestSuite

        suite = TestSuite("ltrp-bench compare")
        for row in self.rows:
            task, reduction, ratio, selector = row.key
            case = TestCase(f"{selector} at keep ratio {ratio:g}", classname=f"{task}.{reduction}", time=0.0)
            if row.regression:
                case.result = [Failure(f"{row.status}: {row.note}", row.status)]
            elif row.status == "not compared":
                case.result = [Skipped(row.note)]
            suite.add_testcase(case)
        document = JUnitXml()
        document.add_testsuite(suite)
        return bytes(document.tostring())


def compare(base: Path, current: Path, options: CompareOptions = DEFAULT) -> Comparison:
    """Compare two leaderboards, each a CSV file or a run folder.

    Besides decreases, regressions are rows of `base` that are missing or incomplete in `current`, and values that are
    no longer defined. Rows that are missing or incomplete in `base` are never regressions.

    Args:
        base: the expected results.
        current: the results to check.
        options: tolerance and test.

    Raises:
        ResultsError: a side cannot be read, `base` has no complete row, or a paired test is required and a row cannot
            be tested.
    """
    if not options.tolerance >= 0:
        raise ResultsError(f"the tolerance must be 0 or more, not {options.tolerance}")
    base_frame, current_frame = read_rows(base), read_rows(current)
    if not base_frame["complete"].astype(bool).any():
        raise ResultsError(f"{base} has no complete row to compare with")
    cells = None
    if options.test != "tolerance" and base.is_dir() and current.is_dir():
        cells = PairedCells(RunStore(base), RunStore(current), options.resamples)
        base_frame, current_frame = (
            _without_version(f, r) for f, r in zip((base_frame, current_frame), (base, current), strict=True)
        )
    out = compare_frames(base_frame, current_frame, options.tolerance, cells)
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
    compared = [_compare_row(o, n, tolerance, changes.get(id(o))) for o, n in zip(old, matches, strict=True)]
    compared += [
        RowComparison("new", _names(row), {}, _values(row), "not in the base") for row in new if id(row) not in taken
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


def _without_version(frame: pd.DataFrame, root: Path) -> pd.DataFrame:
    """Table with ids that leave out the version of the code, so that rows of different versions match."""
    ids: dict[str, str] = {}
    for record in RunStore(root).read_cells():
        parts = (record.task.identity, record.selector.identity)
        short = [Identity.of({k: v for k, v in one.value.items() if k != "version"}).short for one in parts]
        ids.update(zip((one.short for one in parts), short, strict=True))
    out = frame.copy()
    for name in _IDS:
        out[name] = [ids[str(value)] for value in frame[name]]
    return out


def _compare_row(
    old: dict[str, Any], new: dict[str, Any] | None, tolerance: float, changes: Mapping[str, Change] | None
) -> RowComparison:
    key, before = _names(old), _values(old)
    if not old["complete"]:
        note = f"incomplete in the base ({old['missing']})"
        return RowComparison("not compared", key, before, _values(new) if new else {}, note)
    if new is None:
        return RowComparison("missing", key, before, {}, "not in the current results")
    after = _values(new)
    if not new["complete"]:
        return RowComparison("missing", key, before, after, f"incomplete now ({new['missing']})")
    if old["metric"] != new["metric"]:
        note = f"the metric was {old['metric']}, now {new['metric']}"
        return RowComparison("missing", key, before, after, note)
    status, notes = _compare_values(before, after, tolerance, changes)
    if differing := [name.removesuffix("_id") for name in _IDS if old[name] != new[name]]:
        notes.append(f"other {' and '.join(differing)} than in the base (weights, options or data)")
    return RowComparison(status, key, before, after, "; ".join(notes), changes)


def _compare_values(
    before: Mapping[str, float], after: Mapping[str, float], tolerance: float, changes: Mapping[str, Change] | None
) -> tuple[Status, list[str]]:
    """Status of a row, and a note for each value that changed."""
    notes, worse, better = [], False, False
    for name in COMPARED:
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
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _names(row: dict[str, Any]) -> tuple[str, str, float, str]:
    return str(row["task"]), str(row["reduction"]), float(row["keep_ratio"]), str(row["selector"])


def _exact(row: dict[str, Any]) -> tuple[Any, ...]:
    return (*_names(row), *(row[name] for name in _IDS))


def _values(row: dict[str, Any]) -> dict[str, float]:
    return {name: float(row[name]) for name in VALUES}


def _change(was: float, now: float) -> str:
    before = "-" if math.isnan(was) else f"{was:.4f}"
    after = "-" if math.isnan(now) else f"{now:.4f}"
    if math.isnan(was) or math.isnan(now):
        return before if before == after else f"{before} → {after}"
    return f"{before} → {after} ({now - was:+.4f})"
