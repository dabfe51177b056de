"""Measured latencies of rows, and the break-even in time: up to which keep ratio a selector saves time at all."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from ltrp_bench.results.leaderboard.rows import TableRow
from ltrp_bench.results.store.latency import BATCHES, PARTS, Latencies, LatencyEntry
from ltrp_bench.selectors.errors import UsageError

_SHOWN: Final = ("selector", "model", "both", "whole")

LATENCY: Final = (
    *(f"latency_{part}_ms{end}" for part in _SHOWN for end in ("", "_p90")),
    *(f"throughput_{part}_b{batch}" for batch in BATCHES for part in _SHOWN),
    *(f"break_even_time_b{batch}{end}" for batch in BATCHES for end in ("", "_range")),
    "latency_device",
)
"""Columns that `add_latencies` fills in. Milliseconds are those of one image at batch size 1."""

ABOVE: Final = "above"
NONE: Final = "none"
"""Values of "break_even_time_b<batch>_range" for selectors that save time, or none, at every measured keep ratio."""

Row = Mapping[str, Any]


def chosen_latencies(
    found: Sequence[Latencies], device: str | None = None, notice: Callable[[str], None] = lambda line: None
) -> Latencies | None:
    """The latencies that a table shows.

    Args:
        found: as `store.latency.read_latencies` returns them.
        device: a part of the setting's text, whatever its case; None takes the setting that was measured last.
        notice: called with a line if others are not shown.

    Raises:
        UsageError: no setting has such a text.
    """
    texts = [one.setting.text for one in found]
    own = [one for one in found if device is None or device.casefold() in one.setting.text.casefold()]
    if device is not None and not own:
        there = f"there are {'; '.join(dict.fromkeys(texts))}" if texts else "there are none (ltrp-bench latency)"
        raise UsageError(f"no latencies of device {device!r}; {there}")
    if device is None and len(found) > 1:
        others = "; ".join(dict.fromkeys(text for text in texts[1:] if text != texts[0])) or "other versions"
        notice(f"latencies of {texts[0]} are shown, which were measured last; --latency-device shows {others}")
    return own[0] if own else None


def add_latencies(rows: Sequence[TableRow], latencies: Latencies | None) -> None:
    """Fill the columns `LATENCY`; NaN and "" where nothing was measured.

    Args:
        rows: all rows of a leaderboard.
        latencies: the latencies to show, if there are any.
    """
    entries = () if latencies is None else latencies.entries
    by_key = {one.key: one for one in entries}
    found_break_evens = break_evens(entries)
    for row in rows:
        values = row.values
        values.update({name: "" if name.endswith(("_range", "_device")) else math.nan for name in LATENCY})
        ids, ratio = (str(values["task_id"]), str(values["selector_id"])), float(values["keep_ratio"])
        for batch in BATCHES:
            found = by_key.get((*ids, ratio, batch))
            if found is None or latencies is None:
                continue
            values["latency_device"] = latencies.setting.text
            values.update(_values(found))
            if one := found_break_evens.get((*ids, batch)):
                name = f"break_even_time_b{batch}"
                values[name], values[f"{name}_range"] = one


def break_even_time(ratios: Sequence[float], both: Sequence[float], whole: Sequence[float]) -> tuple[float, str]:
    """Largest keep ratio at which selector and model together take no longer than the model on the whole image.

    Times between the measured keep ratios are taken from straight lines.

    Args:
        ratios: measured keep ratios, ascending.
        both: time of selector and model at each of them.
        whole: time of the model on the whole image, measured beside each of them.

    Returns:
        The keep ratio and its range: the largest measured one and `ABOVE` where time is saved even there, NaN and
        `NONE` where none is saved at any of them, else "".
    """
    over = [one - other for one, other in zip(both, whole, strict=True)]
    if over[-1] <= 0:
        return ratios[-1], ABOVE
    for (r0, t0), (r1, t1) in reversed(list(pairwise(zip(ratios, over, strict=True)))):
        if t0 <= 0 < t1:
            return r0 - (r1 - r0) * t0 / (t1 - t0), ""
    return math.nan, NONE


def break_evens(entries: Iterable[LatencyEntry]) -> dict[tuple[str, str, int], tuple[float, str]]:
    """(task id, selector id, batch) -> break-even and its range, for selectors that were timed with a model."""
    curves: dict[tuple[str, str, int], dict[float, tuple[float, float]]] = {}
    for one in entries:
        if one.both is not None and one.whole is not None and one.selector is not None:
            own = curves.setdefault((one.task_id, one.selector_id, one.batch), {})
            own[one.keep_ratio] = one.both.median, one.whole.median
    out = {}
    for key, curve in curves.items():
        ratios = sorted(curve)
        both, whole = zip(*(curve[ratio] for ratio in ratios), strict=True)
        out[key] = break_even_time(ratios, both, whole)
    return out


def break_even_time_text(row: Row, batch: int) -> str:
    """`range_text` of a row's break-even in time at a batch size."""
    return range_text(float(row.get(f"break_even_time_b{batch}", math.nan)), row.get(f"break_even_time_b{batch}_range"))


def range_text(value: float, outside: object) -> str:
    """Text of a break-even in time like "0.62", ">0.75" (above the measured keep ratios) or "none"; "" if unknown."""
    if math.isnan(value):
        return NONE if outside == NONE else ""
    return f"{'>' if outside == ABOVE else ''}{value:.2f}"


def latency_text(row: Row, part: str) -> str:
    """Text of a latency at batch size 1 like "12.3 (14.0)", median and 90th percentile; "" if it was not measured."""
    median, p90 = (float(row.get(f"latency_{part}_ms{end}", math.nan)) for end in ("", "_p90"))
    return "" if math.isnan(median) else f"{median:.1f} ({p90:.1f})"


def throughput_batch(rows: Iterable[Row]) -> int | None:
    """Largest batch size at which all rows that were measured at any have a throughput; None if there is none."""
    measured = [
        known
        for row in rows
        if (known := {batch for batch in BATCHES if float(row.get(f"throughput_both_b{batch}", math.nan)) > 0})
    ]
    return max(set.intersection(*measured), default=None) if measured else None


def _values(entry: LatencyEntry) -> dict[str, float]:
    """Values of an entry in the columns of its batch size."""
    out: dict[str, float] = {}
    for part in PARTS:
        times = entry.times(part)
        if times is None:
            continue
        if entry.batch == 1:
            out |= {f"latency_{part}_ms": times.median, f"latency_{part}_ms_p90": times.p90}
        out[f"throughput_{part}_b{entry.batch}"] = 1000 * entry.batch / times.median if times.median > 0 else math.nan
    return out
