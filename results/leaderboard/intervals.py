"""Statistics of a leaderboard's rows: intervals, adjusted gaps, and ranks with ties.

All rows of a task use the same resamples, so differences between selectors are computed within each resample (paired
bootstrap).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ltrp_bench.results.leaderboard.aggregate import VALUES
from ltrp_bench.results.leaderboard.roles import BUILT_IN_ROLES, SelectorRoles
from ltrp_bench.results.leaderboard.rows import TABLE, TableRow, group_rows
from ltrp_bench.results.statistics.bootstrap import LEVEL, Estimate, Method, mean
from ltrp_bench.results.statistics.forks import map_forked
from ltrp_bench.results.statistics.ranks import Difference, differences, ranks

LABEL_FREE: Final = ("variance", "center")
"""Default controls of the adjusted gap. They use no labels, so their gap shows how much seen and unseen categories
differ in other respects."""

ADJUSTED: Final = "gap_adjusted"
ENDS: Final = ("low", "high")
INTERVALS: Final = tuple(f"{name}_{end}" for name in VALUES for end in ENDS)
ADJUSTED_COLUMNS: Final = (ADJUSTED, *(f"{ADJUSTED}_{end}" for end in ENDS))
RANKS: Final = ("rank", "rank_last", "unseen_rank", "unseen_rank_last", "holm_rank", "holm_rank_last")
_RANKS_ALL: Final[Mapping[str, bool]] = {"": False, "holm_": True}
_RANKS_UNSEEN: Final[Mapping[str, bool]] = {"unseen_": False}
STATISTICS: Final = (*INTERVALS, *ADJUSTED_COLUMNS, *RANKS)
"""Columns that `add_statistics` fills in."""


@dataclass(frozen=True)
class RowDifference:
    """Difference between two selectors of one table.

    Attributes:
        table: values of the columns `rows.TABLE`.
        value: column that is compared, "all" or "unseen".
        difference: the difference; names are "selector selector_id".
    """

    table: dict[str, Any]
    value: str
    difference: Difference


def add_statistics(
    rows: Sequence[TableRow],
    controls: Sequence[str] = LABEL_FREE,
    method: Method = "bca",
    roles: SelectorRoles = BUILT_IN_ROLES,
    *,
    count_exposed: bool = False,
) -> list[RowDifference]:
    """Fill the columns `STATISTICS` of the rows; NaN where a statistic is undefined.

    Rows of selectors that may have been shown unseen categories (column "exposure") have no rank on the unseen group
    and no adjusted gap.

    Args:
        rows: all rows of a leaderboard, areas included.
        controls: names of the controls whose mean gap is subtracted for the adjusted gap.
        method: kind of bootstrap interval.
        roles: roles of the selectors; references are not ranked.
        count_exposed: True treats exposed selectors like all others.

    Returns:
        All differences between the selectors of each table.
    """
    for row in rows:
        row.values.update(dict.fromkeys(STATISTICS, math.nan))
        if row.estimates is not None:
            for name in VALUES:
                row.values[f"{name}_low"], row.values[f"{name}_high"] = row.estimates[name].interval(LEVEL, method)
    rankings = []
    for table in group_rows(rows, TABLE):
        unexposed = [row for row in table if count_exposed or not is_exposed(row.values)]
        _add_adjusted_gaps(unexposed, controls, method)
        for value, rows_of_value, ranks_of_value in (("all", table, _RANKS_ALL), ("unseen", unexposed, _RANKS_UNSEEN)):
            ranked = [row for row in rows_of_value if not roles.is_reference(row.values["selector"])]
            rankings.append(_Ranking(ranked, value, ranks_of_value))
    found = map_forked(lambda one: differences(one.estimates, method), rankings)
    return [one for ranking, pairs in zip(rankings, found, strict=True) for one in ranking.add(pairs)]


def is_exposed(values: Mapping[str, Any]) -> bool:
    """True for a row whose selector was or may have been shown unseen categories (column "exposure")."""
    return values.get("exposure", "none") != "none"


def missing_controls(rows: Sequence[Mapping[str, Any]], controls: Sequence[str] = LABEL_FREE) -> list[str]:
    """Controls without a gap in the rows of a task; while one is missing, no row has an adjusted gap."""
    measured = {row["selector"] for row in rows if not math.isnan(row["gap"])}
    return [name for name in controls if name not in measured]


def control_notices(rows: Sequence[Mapping[str, Any]], controls: Sequence[str] = LABEL_FREE) -> list[str]:
    """Lines about tasks without adjusted gaps that have some of the controls, or none of those that were asked for.

    Args:
        rows: all rows of a leaderboard.
        controls: names of the controls.
    """
    tasks: dict[tuple[str, ...], dict[str, None]] = {}
    for task in dict.fromkeys(str(row["task"]) for row in rows):
        own = [row for row in rows if row["task"] == task and not math.isnan(row["gap"])]
        missing = tuple(missing_controls(own, controls))
        if own and missing and (len(missing) < len(controls) or tuple(controls) != LABEL_FREE):
            tasks.setdefault(missing, {})[task] = None
    return [
        f"no adjusted gap on {', '.join(own)}: {controls_text(missing)} not measured" for missing, own in tasks.items()
    ]


def controls_text(names: Sequence[str]) -> str:
    """Text like "the control center was" or "the controls variance and center were"."""
    return f"the control{'s' if len(names) > 1 else ''} {' and '.join(names)} {'were' if len(names) > 1 else 'was'}"


def _add_adjusted_gaps(table: Sequence[TableRow], controls: Sequence[str], method: Method) -> None:
    """Subtract the mean gap of the controls; controls with the same name but other options count as one."""
    by_name: dict[str, list[TableRow]] = {name: [] for name in controls}
    for row in table:
        if row.values["selector"] in by_name and not math.isnan(row.values["gap"]):
            by_name[row.values["selector"]].append(row)
    if not all(by_name.values()):
        return
    gaps = [math.fsum(row.values["gap"] for row in group) / len(group) for group in by_name.values()]
    reference = math.fsum(gaps) / len(gaps)
    known = [[row.estimates["gap"] for row in group if row.estimates is not None] for group in by_name.values()]
    all_known = all(len(found) == len(group) for found, group in zip(known, by_name.values(), strict=True))
    control = mean(mean(group) for group in known) if all_known else None
    for row in table:
        row.values[ADJUSTED] = row.values["gap"] - reference
        if control is not None and row.estimates is not None:
            low, high = (row.estimates["gap"] - control).interval(LEVEL, method)
            row.values[f"{ADJUSTED}_low"], row.values[f"{ADJUSTED}_high"] = low, high


class _Ranking:
    """The rows of a table that are ranked by `value`; `corrected`: prefix of the columns -> use Holm's correction."""

    def __init__(self, table: Sequence[TableRow], value: str, corrected: Mapping[str, bool]) -> None:
        self._value, self._corrected = value, corrected
        self._by_name: dict[str, TableRow] = {}
        self.estimates: dict[str, Estimate] = {}
        for row in table:
            # Without an interval, nothing tells a row from the others: it would share every rank.
            if row.estimates is not None and not math.isnan(row.values[f"{value}_low"]):
                name = f"{row.values['selector']} {row.values['selector_id']}"
                self._by_name[name], self.estimates[name] = row, row.estimates[value]

    def add(self, pairs: Sequence[Difference]) -> list[RowDifference]:
        """Rank the rows by the `differences` of their estimates; a row alone has no rank."""
        if not pairs:
            return []
        for prefix, holm in self._corrected.items():
            for name, rank in ranks(list(self._by_name), pairs, holm).items():
                values = self._by_name[name].values
                values[f"{prefix}rank"], values[f"{prefix}rank_last"] = float(rank.first), float(rank.last)
        first = next(iter(self._by_name.values()))
        about = {name: first.values[name] for name in TABLE}
        return [RowDifference(about, self._value, pair) for pair in pairs]
