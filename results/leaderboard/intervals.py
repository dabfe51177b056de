"""What the draws say of a table's rows: intervals, adjusted gaps, ranks with ties, areas under the curve.

A row of the leaderboard or the crossover is a mean over cells (seeds; folds), so its estimate is the mean of theirs,
draw by draw. Rows of one task share their draws, so differences and areas are taken draw by draw, too.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from ltrp_bench.results.leaderboard.aggregate import FULL, VALUES
from ltrp_bench.results.schema.record import CellRecord
from ltrp_bench.results.schema.rows import GROUPS
from ltrp_bench.results.statistics.bootstrap import LEVEL, Estimate, Method, area, area_factors, mean
from ltrp_bench.results.statistics.ranks import Difference, differences, ranks

LABEL_FREE: Final = ("variance", "center")
"""Controls whose gap tells what the groups of a table differ by, apart from labels."""

ADJUSTED: Final = "gap_adjusted"
ENDS: Final = ("low", "high")
INTERVALS: Final = tuple(f"{name}_{end}" for name in VALUES for end in ENDS)
ADJUSTED_COLUMNS: Final = (ADJUSTED, *(f"{ADJUSTED}_{end}" for end in ENDS))
RANKS: Final = ("rank", "rank_last", "unseen_rank", "unseen_rank_last", "holm_rank", "holm_rank_last")
STATISTICS: Final = (*INTERVALS, *ADJUSTED_COLUMNS, *RANKS)
"""Columns that `add_statistics` fills in."""

UNRANKED: Final = frozenset({FULL, "oracle"})
"""Controls that are bounds and no rivals: one keeps everything, the other looks at the truth."""

Groups = Mapping[str, Estimate]
EstimatesOf = Callable[[CellRecord, str], Groups | None]
"""(cell, metric) -> group -> estimate; None without evidence (`replicates.Replicates.of`)."""


@dataclass
class Line:
    """A table's row, and its estimates by group and "gap"; none for a row that is incomplete or left no evidence."""

    row: dict[str, Any]
    estimates: Mapping[str, Estimate] | None


@dataclass(frozen=True)
class Pairing:
    """A difference between two selectors of a table."""

    table: dict[str, Any]
    value: str
    difference: Difference


def lines_of(frame: pd.DataFrame, records: Iterable[CellRecord], estimates_of: EstimatesOf) -> list[Line]:
    """The rows of a leaderboard or crossover with their estimates."""
    cells = {record.fingerprint[:16]: record for record in records}
    out = []
    for given in frame.to_dict("records"):
        row = {str(name): value for name, value in given.items()}
        behind = [cells[short] for short in str(row["fingerprints"]).split()] if row["complete"] else []
        found = [estimates_of(record, str(row["metric"])) for record in behind]
        whole = [groups for groups in found if groups is not None]
        estimates = None
        if whole and len(whole) == len(found):
            by_group = {group: mean(groups[group] for groups in whole) for group in GROUPS}
            estimates = {**by_group, "gap": by_group["seen"] - by_group["unseen"]}
        out.append(Line({**row, "ratios": f"{row['keep_ratio']:g}"}, estimates))
    return out


def area_lines(lines: Sequence[Line]) -> list[Line]:
    """A line for each selector of a task with two or more keep ratios: the area under its metric, by the span.

    Its keep ratio is NaN, `ratios` is "auc 0.1-1". Incomplete if any of its rows is.
    """
    curves: dict[tuple[Any, ...], list[Line]] = defaultdict(list)
    for line in lines:
        row = line.row
        if row["selector"] != FULL:
            who = ("task", "task_id", "reduction", "metric", "selector", "selector_id")
            curves[tuple(row[name] for name in who)].append(line)
    return [_area_line(curve) for curve in curves.values() if len(curve) > 1]


def _area_line(curve: Sequence[Line]) -> Line:
    curve = sorted(curve, key=lambda line: line.row["keep_ratio"])
    ratios = [float(line.row["keep_ratio"]) for line in curve]
    factors = area_factors(ratios)
    row = {**curve[0].row, "keep_ratio": math.nan, "ratios": f"auc {ratios[0]:g}-{ratios[-1]:g}"}
    holes = [line for line in curve if not line.row["complete"]]
    row["complete"] = not holes
    row["missing"] = "; ".join(f"at {line.row['keep_ratio']:g}: {line.row['missing']}" for line in holes)
    row["fingerprints"] = " ".join(str(line.row["fingerprints"]) for line in curve).strip()
    for name in VALUES:
        parts = [factor * line.row[name] for factor, line in zip(factors, curve, strict=True)]
        row[name] = math.nan if holes else math.fsum(parts)
        row[f"{name}_std"] = math.nan
    for name in ("seeds", "images"):
        row[name] = min(int(line.row[name]) for line in curve)
    held = [line.estimates for line in curve if line.estimates is not None]
    estimates = None
    if len(held) == len(curve) and not holes:
        points = {name: [(r, one[name]) for r, one in zip(ratios, held, strict=True)] for name in VALUES}
        estimates = {name: area(points[name]) for name in VALUES}
    return Line(row, estimates)


def add_statistics(
    lines: Sequence[Line], controls: Sequence[str] = LABEL_FREE, method: Method = "bca"
) -> list[Pairing]:
    """Fill `STATISTICS` into the rows; NaN where there is nothing to say.

    Args:
        lines: all of a leaderboard, areas included.
        controls: label-free controls whose mean gap is taken off for the adjusted gap.
        method: of the intervals.

    Returns:
        All differences between the selectors of each table.
    """
    tables: dict[tuple[Any, ...], list[Line]] = defaultdict(list)
    for line in lines:
        row = line.row
        row.update(dict.fromkeys(STATISTICS, math.nan))
        for name in VALUES if line.estimates is not None else ():
            assert line.estimates is not None
            row[f"{name}_low"], row[f"{name}_high"] = line.estimates[name].interval(LEVEL, method)
        tables[tuple(row[name] for name in ("task", "task_id", "reduction", "metric", "ratios"))].append(line)
    pairings = []
    for table in tables.values():
        _adjust(table, controls, method)
        for value, prefix in (("all", ""), ("unseen", "unseen_")):
            pairings += _rank(table, value, prefix, method)
    return pairings


def _adjust(table: Sequence[Line], controls: Sequence[str], method: Method) -> None:
    """The gap less the controls' mean gap; several of one name (other options) count as one."""
    by_name: dict[str, list[Line]] = {name: [] for name in controls}
    for line in table:
        if line.row["selector"] in by_name and not math.isnan(line.row["gap"]):
            by_name[line.row["selector"]].append(line)
    if not all(by_name.values()):
        return
    own = [math.fsum(one.row["gap"] for one in group) / len(group) for group in by_name.values()]
    reference = math.fsum(own) / len(own)
    held = [[one.estimates["gap"] for one in group if one.estimates is not None] for group in by_name.values()]
    whole = all(len(found) == len(group) for found, group in zip(held, by_name.values(), strict=True))
    control = mean(mean(group) for group in held) if whole else None
    for line in table:
        line.row[ADJUSTED] = line.row["gap"] - reference
        if control is not None and line.estimates is not None:
            low, high = (line.estimates["gap"] - control).interval(LEVEL, method)
            line.row[f"{ADJUSTED}_low"], line.row[f"{ADJUSTED}_high"] = low, high


def _rank(table: Sequence[Line], value: str, prefix: str, method: Method) -> list[Pairing]:
    ranked = [
        (line, line.estimates[value])
        for line in table
        if line.estimates is not None
        and line.row["selector"] not in UNRANKED
        and not math.isnan(line.estimates[value].point)
    ]
    if len(ranked) < 2:
        return []
    names = {f"{line.row['selector']} {line.row['selector_id']}": (line, one) for line, one in ranked}
    pairs = differences({name: one for name, (_, one) in names.items()}, method)
    by = {prefix: ranks(list(names), pairs)}
    if not prefix:
        by["holm_"] = ranks(list(names), pairs, corrected=True)
    for head, found in by.items():
        for name, rank in found.items():
            row = names[name][0].row
            row[f"{head}rank"], row[f"{head}rank_last"] = float(rank.first), float(rank.last)
    about = {name: table[0].row[name] for name in ("task", "task_id", "reduction", "metric", "ratios")}
    return [Pairing(about, value, pair) for pair in pairs]
