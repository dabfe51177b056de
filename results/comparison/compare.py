"""Comparison of two leaderboards: what got worse, as a Markdown table, JUnit XML and a list.

All headline metrics are higher-is-better, and so a fall of `all`, `seen` or `unseen` is a regression: one that is more
than chance where both sides are run folders whose cells left evidence (`regression_paired.py`), one by more than the
tolerance elsewhere. The gap (seen - unseen) has no better direction of its own: it also grows when only `seen`
improves. It is shown, and judged through the two values it is made of.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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

JUDGED: Final = ("all", "seen", "unseen")

DEFAULT_TOLERANCE: Final = 0.005
"""Absolute, in the metric's units: what rounding differs between machines stays well below it."""

_NAMES: Final = ("task", "reduction", "keep_ratio", "selector")
_IDS: Final = ("task_id", "selector_id")
_ROUNDING: Final = 1e-12


@dataclass(frozen=True)
class RowComparison:
    """One row of both tables: `status` is "ok", "better", "worse", "missing", "new" or "not compared"."""

    status: str
    key: tuple[str, str, float, str]
    base: dict[str, float]
    current: dict[str, float]
    note: str = ""
    changes: Mapping[str, Change] | None = None
    """Group -> what a paired test says; None where the tolerance judged."""

    @property
    def comparable(self) -> bool:
        """Whether both sides hold the row, complete."""
        return self.status in ("ok", "better", "worse")

    @property
    def regression(self) -> bool:
        """Whether this row fails a comparison."""
        return self.status in ("worse", "missing")

    def line(self) -> str:
        """One line for a terminal: which row, and what is wrong with it."""
        task, reduction, ratio, selector = self.key
        return f"{task} ({reduction}) {selector} at keep ratio {ratio:g}: {self.status}, {self.note}"


@dataclass(frozen=True)
class Comparison:
    """All rows of a comparison, regressions first."""

    rows: tuple[RowComparison, ...]
    tolerance: float

    @property
    def regressions(self) -> tuple[RowComparison, ...]:
        """The rows that got worse or went missing."""
        return tuple(row for row in self.rows if row.regression)

    def markdown(self) -> str:
        """A Markdown document: a sentence and one table, for a CI summary."""
        count = len(self.regressions)
        verdict = f"**{count} regression{'s' if count != 1 else ''}**" if count else "No regression"
        tested = sum(row.changes is not None for row in self.rows)
        how = [f"{tested} by a paired bootstrap test, Holm-corrected"] if tested else []
        how += [f"{len(self.rows) - tested} by tolerance {self.tolerance:g}"] if tested < len(self.rows) else []
        head = ("status", "task", "reduction", "keep ratio", "selector", *VALUES, "note")
        lines = [
            f"{verdict} in {len(self.rows)} rows ({', '.join(how) or 'none'}).",
            "",
            "| " + " | ".join(head) + " |",
            "|" + "|".join("---" for _ in head) + "|",
        ]
        for row in self.rows:
            task, reduction, ratio, selector = row.key
            values = [_change(row.base.get(name, math.nan), row.current.get(name, math.nan)) for name in VALUES]
            cells = [row.status, task, reduction, f"{ratio:g}", selector, *values, row.note]
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        return "\n".join(lines) + "\n"

    def junit(self) -> bytes:
        """JUnit XML, a test case for each row: a failure for a regression, skipped for what is not compared."""
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


def compare(
    base: Path,
    current: Path,
    tolerance: float = DEFAULT_TOLERANCE,
    test: Test = "auto",
    resamples: int = RESAMPLES,
) -> Comparison:
    """Compare two leaderboards, each a CSV or a run folder.

    Args:
        base: what should hold.
        current: what was measured now.
        tolerance: absolute fall of a value that is still accepted, >= 0, where no paired test judges.
        test: "auto" tests where both are run folders and the cells left evidence; "tolerance" never; "paired" wants it
            everywhere.
        resamples: of the paired test.

    Returns:
        A row of `base` that `current` lacks, or has only incomplete, counts as a regression, and so does a
        value that was defined and is not any more. Rows that `base` itself lacks or has incomplete never do.

    Raises:
        ResultsError: if either cannot be read, `base` holds no complete row to compare with, or a paired test is asked
            for where it cannot be.
    """
    if not tolerance >= 0:
        raise ResultsError(f"the tolerance must be 0 or more, not {tolerance}")
    base_frame, current_frame = read_rows(base), read_rows(current)
    if not base_frame["complete"].astype(bool).any():
        raise ResultsError(f"{base} holds no complete row to compare with")
    cells = None
    if test != "tolerance" and base.is_dir() and current.is_dir():
        cells = PairedCells(RunStore(base), RunStore(current), resamples)
        base_frame, current_frame = (
            _without_version(f, r) for f, r in zip((base_frame, current_frame), (base, current), strict=True)
        )
    out = compare_frames(base_frame, current_frame, tolerance, cells)
    if test == "paired" and (untested := [row for row in out.rows if row.changes is None and row.comparable]):
        raise ResultsError(
            f"no paired test of {len(untested)} rows, such as {untested[0].line().partition(':')[0]}: both sides must "
            "be run folders whose cells left evidence; --test auto judges the others by the tolerance"
        )
    return out


def compare_frames(
    base: pd.DataFrame, current: pd.DataFrame, tolerance: float, cells: PairedCells | None = None
) -> Comparison:
    """As `compare`, of tables as `leaderboard` makes them.

    Rows pair by task, reduction, keep ratio, selector and identities; what is left by names alone where they stand for
    one identity on each side (other weights, options or data, which is noted).
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
    """The row of `new` that belongs to each of `old`, or None."""
    exact = {_exact(row): row for row in new}
    out = [exact.get(_exact(row)) for row in old]
    taken = {id(row) for row in out if row is not None}
    spare: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in new:
        if id(row) not in taken:
            spare[_names(row)].append(row)
    lonely = Counter(_names(row) for row, match in zip(old, out, strict=True) if match is None)
    for i, row in enumerate(old):
        if out[i] is None and lonely[_names(row)] == 1 and len(spare[_names(row)]) == 1:
            out[i] = spare[_names(row)][0]
    return out


def _without_version(frame: pd.DataFrame, root: Path) -> pd.DataFrame:
    """A run folder's table with ids that leave out the versions of code, so that a new version pairs with the old."""
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
    notes, worse, better = [], False, False
    for name in JUDGED:
        was, now = before[name], after[name]
        if math.isnan(was):
            continue
        if math.isnan(now):
            worse = True
            notes.append(f"{name} is undefined now")
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
    if any(old[name] != new[name] for name in _IDS):
        changed = [name.removesuffix("_id") for name in _IDS if old[name] != new[name]]
        notes.append(f"other {' and '.join(changed)} than in the base (weights, options or data)")
    status = "worse" if worse else "better" if better else "ok"
    return RowComparison(status, key, before, after, "; ".join(notes), changes)


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
