"""The whole image as the yardstick: retention, and the gap beyond that of the task's model on whole images.

Categories differ in difficulty: a detector may find seen objects better than unseen ones even on whole images. The
retention of a group (its metric at a keep ratio / its metric on whole images) and the gap less that of whole images
leave this out. Both are paired by image: they are computed within each resample.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

from ltrp_bench.results.leaderboard.aggregate import VALUES
from ltrp_bench.results.leaderboard.intervals import is_exposed
from ltrp_bench.results.leaderboard.roles import BUILT_IN_ROLES, SelectorRoles
from ltrp_bench.results.leaderboard.rows import TASK, Groups, TableRow, group_rows
from ltrp_bench.results.schema.rows import GROUPS
from ltrp_bench.results.statistics.bootstrap import LEVEL, Estimate, Method, ratio

RETENTION: Final = tuple(f"retention_{group}" for group in GROUPS)
GAP_FROM_WHOLE: Final = "gap_from_whole"
RETENTION_COLUMNS: Final = tuple(
    f"{name}{end}" for name in (*RETENTION, GAP_FROM_WHOLE) for end in ("", "_low", "_high")
)
"""Columns that `add_retention` fills in."""

_SAME: Final = 1e-9
"""Largest difference of values that several rows of whole images may have, relative to the value."""


def add_retention(
    rows: Sequence[TableRow],
    method: Method = "bca",
    roles: SelectorRoles = BUILT_IN_ROLES,
    notice: Callable[[str], None] = lambda line: None,
    *,
    count_exposed: bool = False,
) -> None:
    """Fill the columns `RETENTION_COLUMNS` of the rows of tasks with a model.

    The whole image is the row of the selector that keeps every patch (`full`), of the same task, reduction and metric.
    The retention of a mean over seeds or folds, or of an area, is that mean or area / the value of the whole image.
    Values are NaN for tasks without a model, for the whole image itself, where its metric is 0 or undefined, and for
    tasks without a complete row of it. As with the adjusted gap, rows of selectors that may have been shown unseen
    categories (column "exposure") have no gap from the whole image.

    Args:
        rows: all rows of a leaderboard, areas included.
        method: kind of bootstrap interval.
        roles: roles of the selectors.
        notice: called with one line for each task with a model that has no whole image to compare with.
        count_exposed: True treats exposed selectors like all others.
    """
    lines: dict[str, None] = {}
    for table in group_rows(rows, TASK):
        for row in table:
            row.values.update(dict.fromkeys(RETENTION_COLUMNS, math.nan))
        if table[0].values["reduction"] == "none":
            continue
        whole = [row for row in table if roles.keeps_every_patch(row.values["selector"])]
        if reason := _unusable(whole):
            about = f"{table[0].values['task']} ({table[0].values['reduction']})"
            lines[f"{about}: no retention and no gap from the whole image: {reason}"] = None
            continue
        for row in table:
            if not roles.keeps_every_patch(row.values["selector"]):
                _compare(row, whole[0], method, with_gap=count_exposed or not is_exposed(row.values))
    for line in lines:
        notice(line)


def _unusable(whole: Sequence[TableRow]) -> str:
    """Reason why the rows of the whole image cannot be compared with; empty if they can."""
    if not whole:
        return "no finished cell of `full`; repeat the run to add it"
    if lacking := next((row.values["missing"] for row in whole if not row.values["complete"]), None):
        return f"`full` lacks {str(lacking).removeprefix('lacks ')}"
    first, *others = (row.values for row in whole)
    if any(not _same(first[name], one[name]) for one in others for name in VALUES):
        ids = ", ".join(f"{row.values['selector']} {row.values['selector_id']}" for row in whole)
        return f"several selectors keep every patch, with different values ({ids})"
    return ""


def _same(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=_SAME, abs_tol=_SAME) or (math.isnan(one) and math.isnan(other))


def _compare(row: TableRow, whole: TableRow, method: Method, *, with_gap: bool) -> None:
    """Fill the columns of one row; those of the gap only if `with_gap`."""
    quotients: Groups = {}
    difference = None
    if row.estimates is not None and whole.estimates is not None:
        quotients = {group: ratio(row.estimates[group], whole.estimates[group]) for group in GROUPS}
        difference = row.estimates["gap"] - whole.estimates["gap"]
    for group, name in zip(GROUPS, RETENTION, strict=True):
        base = whole.values[group]
        value = row.values[group] / base if base != 0 else math.nan
        _fill(row.values, name, value, quotients.get(group), method)
    if with_gap:
        _fill(row.values, GAP_FROM_WHOLE, row.values["gap"] - whole.values["gap"], difference, method)


def _fill(values: dict[str, Any], name: str, value: float, estimate: Estimate | None, method: Method) -> None:
    values[name] = value
    if estimate is not None:
        values[f"{name}_low"], values[f"{name}_high"] = estimate.interval(LEVEL, method)
