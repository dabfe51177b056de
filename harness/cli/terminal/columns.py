"""Columns of leaderboards in the terminal: titles, texts of rows, and the keys by which rows are sorted."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ltrp_bench.results.leaderboard.cost import break_even_text
from ltrp_bench.results.leaderboard.export import rank_text
from ltrp_bench.results.leaderboard.latency import break_even_time_text, latency_text
from ltrp_bench.results.leaderboard.names import labels, selector_labels
from ltrp_bench.selectors.errors import UsageError, near_or

Row = Mapping[str, Any]
Key = Callable[[Row], tuple[Any, ...]]


@dataclass(frozen=True)
class Column:
    """A column of the table.

    Attributes:
        title: title of the column; options call it by this, with "-" or "_" for a space.
        text: text of a row.
        number: True for numbers, which are aligned at the right.
        short: text of a row without the interval; None for columns without one.
        marked: True if values of exposed rows get a mark.
        key: sort key of a row; None sorts by the text.
    """

    title: str
    text: Callable[[Row], str]
    number: bool = True
    short: Callable[[Row], str] | None = None
    marked: bool = False
    key: Key | None = None


HEADINGS: Final = ("task", "reduction", "metric")
"""Columns that are headings of tables in a terminal."""

ESSENTIAL: Final = ("keep", "selector", "all", "seen", "unseen", "gap", "rank")
"""Columns that a terminal always gets."""

LOW_PRIORITY: Final = (
    *("images", "seeds", "supervision", "unseen retention", "gap from whole", "retention"),
    *("as fast as whole at", "ms at batch 1", "as random at", "images/s", "rank on unseen", "adjusted"),
)
"""Columns that are left out of a narrow terminal, first to last."""

INTERVALS: Final = ("seen", "unseen", "gap", "adjusted", "all")
"""Columns whose intervals are left out of a narrow terminal, first to last."""

_LEGEND: Final = {
    "gap": "gap: seen minus unseen",
    "adjusted": "adjusted: gap minus that of the controls",
    "gap from whole": "gap from whole: gap minus that of the whole image",
    "retention": "retention: share of the value on the whole image",
    "as random at": "as random at: keep ratio at which random patches do as well",
    "as fast as whole at": "as fast as whole at: keep ratio below which time is saved",
}
"""Column -> what it shows, where its title alone does not say it."""

GROUPS: Final = ("all", "seen", "unseen")


def columns_of(rows: Sequence[Row], *, exact: bool) -> list[Column]:
    """All columns of a table.

    Args:
        rows: rows of the table.
        exact: True for four digits and areas by their ratios; False for three digits without a leading zero.
    """
    digits, gap = (".4f", "+.4f") if exact else (".3f", "+.3f")
    several = len({str(row.get("model") or "") for row in rows}) > 1

    def value(title: str, name: str, form: str = digits, *, interval: bool = True, marked: bool = False) -> Column:
        short = _value(name, form, interval=False, bare=not exact)
        text = _value(name, form, interval=True, bare=not exact) if interval else short
        return Column(title, text, short=short if interval else None, marked=marked, key=_falling(name))

    return [
        Column("task", labels("task", rows), number=False),
        *([Column("model", lambda row: str(row.get("model") or ""), number=False)] if several else []),
        Column("reduction", lambda row: str(row["reduction"]), number=False),
        Column("keep", ratio_text if exact else _short_ratio(rows), key=_rising("keep_ratio")),
        Column("selector", selector_labels(rows), number=False, marked=True),
        Column("supervision", lambda row: str(row["supervision"]), number=False),
        Column("metric", lambda row: str(row["metric"]), number=False),
        value("all", "all"),
        value("seen", "seen", interval=not exact),
        value("unseen", "unseen", interval=not exact, marked=True),
        value("gap", "gap", gap, marked=True),
        value("adjusted", "gap_adjusted", gap),
        value("gap from whole", "gap_from_whole", gap, interval=False, marked=True),
        *(value(f"gap {fold}", f"gap_{fold}", gap) for fold in (0, 1)),
        value("retention", "retention_all", ".3f", interval=False),
        value("unseen retention", "retention_unseen", ".3f", interval=False, marked=True),
        Column("rank", lambda row: rank_text(row, ""), key=_rising("rank", "rank_last")),
        Column("rank on unseen", lambda row: rank_text(row, "unseen_"), key=_rising("unseen_rank", "unseen_rank_last")),
        Column("as random at", lambda row: break_even_text(row, "random") or "-"),
        Column("images/s", _value("images_per_second", ".1f", interval=False), key=_falling("images_per_second")),
        Column("ms at batch 1", lambda row: latency_text(row, "both") or "-"),
        Column("as fast as whole at", lambda row: break_even_time_text(row, 1) or "-"),
        Column("seeds", lambda row: str(row["seeds"]), key=_falling("seeds")),
        Column("images", lambda row: str(row["images"]), key=_falling("images")),
    ]


def find_columns(titles: Sequence[str], columns: Sequence[Column], flag: str) -> list[Column]:
    """The columns of these titles, each once, in the order given.

    Args:
        titles: titles, with "-" or "_" for a space.
        columns: all columns.
        flag: option that names them, for messages.

    Raises:
        UsageError: there is no such column.
    """
    known = {one.title: one for one in columns}
    found: dict[str, Column] = {}
    for given in titles:
        title = given.replace("-", " ").replace("_", " ")
        if title not in known:
            names = [name.replace(" ", "-") for name in known]
            hint = near_or(given, names, f"this table has {', '.join(names)}")
            raise UsageError(f"{flag} {given}: no such column; {hint}")
        found[title] = known[title]
    return list(found.values())


def legend(titles: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """A line that explains columns, and a reduction that is none."""
    parts = ["none: the metric needs no model"] if any(row["reduction"] == "none" for row in rows) else []
    parts += [text for title, text in _LEGEND.items() if title in titles]
    return [f"{'; '.join(parts)} (docs/terms.md)"] if parts else []


def ratio_text(row: Row) -> str:
    """Keep ratio of a row, or the ratios of an area."""
    return str(row.get("ratios") or f"{row['keep_ratio']:g}")


def areas_of(rows: Sequence[Row]) -> list[str]:
    """Ratios of the areas among the rows, "auc 0.25-0.75", each once."""
    return list(dict.fromkeys(ratio_text(row) for row in rows if math.isnan(float(row["keep_ratio"]))))


def _short_ratio(rows: Sequence[Row]) -> Callable[[Row], str]:
    """Keep ratio as a text; "auc" for areas if all of a table are over the same ratios."""
    tables: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        tables.setdefault(_table(row), []).append(row)
    single = {key for key, own in tables.items() if len(areas_of(own)) == 1}
    return lambda row: "auc" if math.isnan(float(row["keep_ratio"])) and _table(row) in single else ratio_text(row)


def _table(row: Row) -> tuple[str, ...]:
    return tuple(str(row.get(name)) for name in ("task", "task_id", "reduction", "metric"))


def _value(name: str, form: str, *, interval: bool, bare: bool = False) -> Callable[[Row], str]:
    """Formatter of a value with its interval, or else its standard deviation over seeds; "-" if undefined.

    Args:
        name: column of the value.
        form: format of the numbers.
        interval: False leaves out the interval.
        bare: True leaves out zeros before the decimal point.
    """

    def number(value: float) -> str:
        text = f"{value:{form}}"
        if bare and text.lstrip("+-").startswith("1.") and form.endswith("3f"):
            return text[:-1]  # "1.00" is as wide as ".999"
        return text.replace("0.", ".", 1) if bare and abs(value) < 1 and text.lstrip("+-").startswith("0.") else text

    def text(row: Row) -> str:
        value = float(row.get(name, math.nan))
        low, high = (float(row.get(f"{name}_{end}", math.nan)) for end in ("low", "high"))
        spread = float(row.get(f"{name}_std", math.nan))
        if math.isnan(value):
            return "-"
        if interval and not math.isnan(low):
            return f"{number(value)} [{number(low)} {number(high)}]"
        if math.isnan(spread) or (bare and not math.isnan(low)):
            return number(value)
        return f"{number(value)} ±{spread:.3f}".replace("±0.", "±.") if bare else f"{number(value)} ±{spread:.4f}"

    return text


def _rising(*names: str) -> Key:
    return lambda row: tuple(_or_last(float(row.get(name, math.nan))) for name in names)


def _falling(name: str) -> Key:
    return lambda row: (_or_last(-float(row.get(name, math.nan))),)


def _or_last(value: float) -> float:
    return math.inf if math.isnan(value) else value
