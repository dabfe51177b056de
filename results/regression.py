"""Comparison of two leaderboards: what got worse, as a Markdown table and a list.

All headline metrics are higher-is-better, and so a fall of `all`, `seen` or `unseen` by more than the
tolerance is a regression. The gap (seen - unseen) has no better direction of its own: it also grows when only
`seen` improves. It is shown, and judged through the two values it is made of.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from ltrp_bench.results.leaderboard import VALUES, read_any
from ltrp_bench.results.record import ResultsError

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
        head = ("status", "task", "reduction", "keep ratio", "selector", *VALUES, "note")
        lines = [
            f"{verdict} in {len(self.rows)} rows (tolerance {self.tolerance:g}).",
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


def compare(base: Path, current: Path, tolerance: float = DEFAULT_TOLERANCE) -> Comparison:
    """Compare two leaderboards, each a CSV or a run folder.

    Args:
        base: what should hold.
        current: what was measured now.
        tolerance: absolute fall of a value that is still accepted, >= 0.

    Returns:
        A row of `base` that `current` lacks, or has only incomplete, counts as a regression, and so does a
        value that was defined and is not any more. Rows that `base` itself lacks or has incomplete never do.

    Raises:
        ResultsError: if either cannot be read, or `base` holds no complete row to compare with.
    """
    if not tolerance >= 0:
        raise ResultsError(f"the tolerance must be 0 or more, not {tolerance}")
    base_frame, current_frame = read_any(base), read_any(current)
    if not base_frame["complete"].astype(bool).any():
        raise ResultsError(f"{base} holds no complete row to compare with")
    return compare_frames(base_frame, current_frame, tolerance)


def compare_frames(base: pd.DataFrame, current: pd.DataFrame, tolerance: float) -> Comparison:
    """As `compare`, of tables as `leaderboard` makes them.

    Rows pair by task, reduction, keep ratio and selector; where a name stands for several identities in
    either table (two weights, two limits), by the identities as well.
    """
    old, new = _rows(base), _rows(current)
    crowded = {key for rows in (old, new) for key, n in Counter(_names(row) for row in rows).items() if n > 1}
    pairs = {_full_key(row, crowded): row for row in new}
    compared = [_compare_row(row, pairs.pop(_full_key(row, crowded), None), tolerance) for row in old]
    compared += [RowComparison("new", _names(row), {}, _values(row), "not in the base") for row in pairs.values()]
    compared.sort(key=lambda row: (not row.regression, row.key))
    return Comparison(tuple(compared), tolerance)


def _compare_row(old: dict[str, Any], new: dict[str, Any] | None, tolerance: float) -> RowComparison:
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
        elif now < was - tolerance - _ROUNDING:
            worse = True
            notes.append(f"{name} fell by {was - now:.4g}")
        elif now > was + tolerance + _ROUNDING:
            better = True
    if any(old[name] != new[name] for name in _IDS):
        changed = [name.removesuffix("_id") for name in _IDS if old[name] != new[name]]
        notes.append(f"other {' and '.join(changed)} than in the base (weights, options or data)")
    status = "worse" if worse else "better" if better else "ok"
    return RowComparison(status, key, before, after, "; ".join(notes))


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _names(row: dict[str, Any]) -> tuple[str, str, float, str]:
    return str(row["task"]), str(row["reduction"]), float(row["keep_ratio"]), str(row["selector"])


def _full_key(row: dict[str, Any], crowded: Iterable[tuple[str, str, float, str]]) -> tuple[Any, ...]:
    names = _names(row)
    return (*names, *(row[name] for name in _IDS)) if names in crowded else names


def _values(row: dict[str, Any]) -> dict[str, float]:
    return {name: float(row[name]) for name in VALUES}


def _change(was: float, now: float) -> str:
    before = "-" if math.isnan(was) else f"{was:.4f}"
    after = "-" if math.isnan(now) else f"{now:.4f}"
    if math.isnan(was) or math.isnan(now):
        return before if before == after else f"{before} → {after}"
    return f"{before} → {after} ({now - was:+.4f})"
