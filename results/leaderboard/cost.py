"""Cost of each row, and the keep ratio at which a control reaches the same value (break-even)."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from ltrp_bench.results.leaderboard.roles import BUILT_IN_ROLES, SelectorRoles
from ltrp_bench.results.leaderboard.rows import TASK, TableRow, group_rows
from ltrp_bench.results.schema.record import CellRecord

BREAK_EVEN_CONTROLS: Final = ("random", "downsample")
BREAK_EVEN: Final = tuple(f"break_even_{name}{end}" for name in BREAK_EVEN_CONTROLS for end in ("", "_range"))
"""Columns that `add_break_even` fills in."""

BELOW: Final = "below"
BEYOND: Final = "beyond"
"""Values of "break_even_<control>_range" for rows outside the measured keep ratios of the control."""

COST: Final = ("selector_ms", "selector_gflops", "model_ms", "images_per_second", "machine")
"""Columns that `add_cost` fills in."""

ProvenanceOf = Callable[[str], Mapping[str, Any]]
"""Fingerprint -> provenance of a cell (`RunStore.read_provenance`)."""


def add_cost(rows: Sequence[TableRow], records: Iterable[CellRecord], provenance_of: ProvenanceOf) -> None:
    """Fill the columns `COST`: means over the cells of a row; empty for areas and where a cell has no measured cost.

    Args:
        rows: all rows of a leaderboard.
        records: all cells behind the rows.
        provenance_of: provenance of a cell.
    """
    full = {record.short_fingerprint: record.fingerprint for record in records}
    for row in rows:
        is_area = math.isnan(row.values["keep_ratio"])
        shorts = [] if is_area else str(row.values["fingerprints"]).split()
        row.values.update(_mean_cost([provenance_of(full[short]) for short in shorts]))


def add_break_even(rows: Sequence[TableRow], roles: SelectorRoles = BUILT_IN_ROLES) -> None:
    """Fill the columns `BREAK_EVEN`.

    A break-even is the smallest keep ratio at which a control, its values joined by straight lines, reaches the value
    of the row; NaN if the control has no complete curve. Where the control is better than the row at its smallest
    measured ratio, the break-even is this ratio and its range "below". Where it never reaches the row, the break-even
    is infinity and its range "beyond". The range is "" otherwise.

    Args:
        rows: all rows of a leaderboard.
        roles: roles of the selectors.
    """
    for table in group_rows(rows, TASK):
        for control in BREAK_EVEN_CONTROLS:
            curve = _curve(table, control, roles)
            for row in table:
                found, outside = _break_even(row.values, control, curve)
                row.values[f"break_even_{control}"], row.values[f"break_even_{control}_range"] = found, outside


def break_even_text(row: Mapping[str, Any], control: str) -> str:
    """Text of a break-even like "0.42", "<0.25" (below the measured keep ratios) or "beyond"; "" if there is none."""
    value = float(row.get(f"break_even_{control}", math.nan))
    if math.isnan(value):
        return ""
    below = "<" if row.get(f"break_even_{control}_range") == BELOW else ""
    return BEYOND if math.isinf(value) else f"{below}{value:.2f}"


def _mean_cost(provenance: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {**dict.fromkeys(COST, math.nan), "machine": ""}
    costs = [cost for one in provenance if isinstance(cost := one.get("cost"), Mapping)]
    if not provenance or len(costs) < len(provenance):
        return out
    for name in ("selector_ms", "selector_gflops", "model_ms"):
        values = [cost.get(name) for cost in costs]
        if all(isinstance(value, int | float) for value in values):
            out[name] = statistics.fmean(float(value) for value in values if value is not None)
    total = out["selector_ms"] + out["model_ms"]
    out["images_per_second"] = 1000 / total if total > 0 else math.nan
    out["machine"] = "; ".join(sorted({machine_text(one) for one in provenance}))
    return out


def machine_text(provenance: Mapping[str, Any]) -> str:
    """Hardware that a cell was measured on, like "AMD EPYC (AVX2), cpu"; cells of older versions lack the CPU's model.

    The machine's name is left out, since tables are shared.
    """
    return ", ".join(str(one) for key in ("cpu", "device") if (one := provenance.get(key)))


def _curve(table: Sequence[TableRow], control: str, roles: SelectorRoles) -> list[tuple[float, float]]:
    """(keep ratio, value) of a control, ascending. It ends at the whole image if the control was not run at ratio 1.

    Empty if the control is missing, incomplete, or there with several options.
    """
    own = [
        row.values for row in table if row.values["selector"] == control and not math.isnan(row.values["keep_ratio"])
    ]
    if not own or len({row["selector_id"] for row in own}) > 1 or any(math.isnan(row["all"]) for row in own):
        return []
    points = {float(row["keep_ratio"]): float(row["all"]) for row in own}
    for row in table:
        if roles.keeps_every_patch(row.values["selector"]) and not math.isnan(row.values["all"]):
            points.setdefault(1.0, float(row.values["all"]))
    return sorted(points.items())


def _break_even(row: Mapping[str, Any], control: str, curve: Sequence[tuple[float, float]]) -> tuple[float, str]:
    """Break-even of a row, and its range."""
    value, ratio = float(row["all"]), float(row["keep_ratio"])
    if not curve or math.isnan(value) or math.isnan(ratio):
        return math.nan, ""
    if row["selector"] == control:
        return ratio, ""
    if curve[0][1] >= value:
        return curve[0][0], BELOW if curve[0][1] > value else ""
    for (r0, v0), (r1, v1) in pairwise(curve):
        if v1 >= value:
            return r0 + (r1 - r0) * (value - v0) / (v1 - v0), ""
    return math.inf, BEYOND
