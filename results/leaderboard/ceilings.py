"""Ceilings: of which objects the value of a row is a bound that no other ranking of the patches exceeds.

Only the oracle of coverage has one, and only for the objects that it ranks for. With a model, and in the versions
before coverage had an exact ceiling, the oracle is a selection by ground truth that others may exceed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from ltrp_bench.results.leaderboard.category_groups import GroupReader
from ltrp_bench.results.leaderboard.names import labels
from ltrp_bench.results.leaderboard.roles import ranks_by_ground_truth
from ltrp_bench.results.leaderboard.rows import TableRow
from ltrp_bench.results.schema.record import CellRecord

CEILING: Final = "ceiling"
"""Column that `add_ceilings` fills in: "" for rows that do not rank by ground truth, `NO_BOUND`, `OTHER_GROUPS`, or the
objects of the ceiling as in `oracle.GROUP`, such as "all" or "unseen+small"."""

NO_BOUND: Final = "no bound"
OTHER_GROUPS: Final = "no bound: groups of the run"

_EXACT_SINCE: Final = 2
"""First version of the oracle that is an exact ceiling of coverage."""

_NOT_MAXIMIZED: Final = ("corloc",)
"""Metrics of coverage tasks that other rankings than the oracle's may exceed."""


def add_ceilings(rows: Sequence[TableRow], records: Iterable[CellRecord], reader: GroupReader) -> None:
    """Fill the column `CEILING`.

    Args:
        rows: all rows of a leaderboard or crossover.
        records: all cells behind the rows.
        reader: reader of the groups of the run and of the table.
    """
    found = {
        record.short_fingerprint: _ceiling(record, reader)
        for record in records
        if ranks_by_ground_truth(record.selector.name)
    }
    for row in rows:
        ceilings = {found.get(short, "") for short in str(row.values["fingerprints"]).split()}
        if row.values["metric"] in _NOT_MAXIMIZED:
            ceilings = {ceiling and NO_BOUND for ceiling in ceilings}
        row.values[CEILING] = ceilings.pop() if len(ceilings) == 1 else NO_BOUND if ceilings else ""


def _ceiling(record: CellRecord, reader: GroupReader) -> str:
    identity = record.selector.identity.value
    exact = identity.get("version", 1) >= _EXACT_SINCE
    if not exact or record.reduction != "none" or record.task.headline != "coverage":
        return NO_BOUND
    group = str(identity.get("options", {}).get("group", "all"))
    if {"seen", "unseen"} & set(group.split("+")) and reader.shown(record) != reader.stored(record):
        return OTHER_GROUPS
    return group


def ceiling_notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines for below a table: what each oracle in it is a ceiling of; none without an oracle.

    Args:
        rows: rows of one table.
    """
    own = [row for row in rows if isinstance(row.get(CEILING), str) and row[CEILING]]
    if not own:
        return []
    label = labels("selector", rows)
    found = {label(row): row[CEILING] for row in own}
    return [f"{selector}: {_text(ceiling)}" for selector, ceiling in found.items()]


def _text(ceiling: str) -> str:
    if ceiling == NO_BOUND:
        return "ranks by ground truth, but is no bound: other patches may score higher"
    if ceiling == OTHER_GROUPS:
        return (
            "ranks for seen or unseen objects by the split of the run, so it is no ceiling in the groups of this table"
        )
    if ceiling == "all":
        return (
            "no ranking covers more of all objects; the most of seen or of unseen objects alone is covered by "
            "oracle.seen and oracle.unseen (groups of the run's split)"
        )
    return f"the ceiling of the group {ceiling} only; its other values are no ceilings"
