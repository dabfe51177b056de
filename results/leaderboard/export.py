"""Tables as files. CSV and Parquet files have all columns and rows in the order of the leaderboard; Markdown and LaTeX
have the columns that a paper shows, with rows by rank.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Final

import pandas as pd

from ltrp_bench.results.leaderboard.cost import break_even_text
from ltrp_bench.results.leaderboard.exposure_text import (
    EXPOSED_MARK,
    UNKNOWN_MARK,
    exposure_mark,
    few_text,
    split_text,
)
from ltrp_bench.results.leaderboard.latency import break_even_time_text, latency_text
from ltrp_bench.results.leaderboard.names import Row, labels
from ltrp_bench.results.leaderboard.rows import by_rank
from ltrp_bench.results.leaderboard.table_notes import row_notes, table_notes
from ltrp_bench.results.schema.atomic_io import atomic_write
from ltrp_bench.selectors.errors import UsageError

SUFFIXES: Final = (".csv", ".parquet", ".md", ".tex")

PAPER_COLUMNS: Final = ("keep", "selector", "all", "seen", "unseen", "gap", "rank", "note")
"""Columns of a table in LaTeX, unless others are chosen."""

NOTEBOOK_COLUMNS: Final = (
    *("keep", "selector", "supervision", "all", "seen", "unseen", "gap", "gap adjusted"),
    *("retention", "rank", "rank on unseen", "note"),
)
"""Columns of a table in a notebook, which is narrower than a page of a paper."""


def check_suffix(path: Path) -> str:
    """Suffix of a file name, in lower case. Raises UsageError unless it is one of `SUFFIXES`."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"{path}: unknown table format {suffix!r}; use one of {', '.join(SUFFIXES)}")
    return suffix


def write_table(frame: pd.DataFrame, path: Path, suffix: str | None = None, columns: Sequence[str] = ()) -> None:
    """Write a table to a file, atomically.

    Args:
        frame: a leaderboard, a crossover or differences (see the columns in `build`).
        path: the file.
        suffix: format of the file, one of `SUFFIXES`; by default the suffix of `path`.
        columns: titles of the columns of a Markdown or LaTeX table; by default all, or `PAPER_COLUMNS` in LaTeX.

    Raises:
        UsageError: an unknown suffix.
        ResultsError: the file cannot be written.
    """
    suffix = suffix or check_suffix(path)
    if suffix == ".csv":
        # pandas writes floats in the shortest form that reads back exactly.
        data = frame.to_csv(index=False, lineterminator="\n").encode()
    elif suffix == ".parquet":
        buffer = io.BytesIO()
        frame.to_parquet(buffer, index=False)
        data = buffer.getvalue()
    elif suffix == ".md":
        data = markdown(frame, columns).encode()
    else:
        data = latex(frame, columns).encode()
    atomic_write(path, data)


@dataclass(frozen=True)
class _Part:
    """The table of one task, metric and reduction.

    Attributes:
        title: task, metric and reduction.
        split: what the categories are split by; "" if the rows do not hold it.
        few: sentence about a small unseen group, or "".
        shown: displayed columns.
        notes: lines that explain the marks.
    """

    title: str
    split: str
    few: str
    shown: pd.DataFrame
    notes: Sequence[str]

    @property
    def headline(self) -> str:
        """Title with the split."""
        return f"{self.title}; {self.split}" if self.split else self.title


def markdown(frame: pd.DataFrame, columns: Sequence[str] = ()) -> str:
    """Markdown text with a table for each task, metric and reduction, rows by rank; lines below explain its marks."""
    if not len(frame):
        return "no rows\n"
    texts = []
    for part in _parts(frame):
        shown = _chosen(part.shown, columns)
        table = shown.to_markdown(index=False, disable_numparse=True) if len(shown) else "no rows"
        few = [f"{part.few}."] if part.few else []
        texts.append("\n\n".join([f"### {part.headline}", *few, table, *part.notes]) + "\n")
    return "\n".join(texts)


def html(frame: pd.DataFrame) -> str:
    """HTML text with a table for each task, metric and reduction, for notebooks."""
    if not len(frame):
        return "<p>no finished cell</p>"
    texts = []
    for part in _parts(frame):
        table = part.shown[[name for name in NOTEBOOK_COLUMNS if name in part.shown.columns]]
        lines = [f"{part.few}."] if part.few else []
        notes = "".join(f"<p><small>{escape(line)}</small></p>" for line in [*lines, *part.notes])
        # A value stays on one line with its interval; a narrow window scrolls.
        text = table.to_html(index=False, border=0, justify="left").replace(
            "<table ", '<table style="white-space: nowrap; text-align: left" ', 1
        )
        texts.append(f"<p><b>{escape(part.headline)}</b></p>{text}{notes}")
    return '<div style="overflow-x: auto">' + "".join(texts) + "</div>"


def latex(frame: pd.DataFrame, columns: Sequence[str] = ()) -> str:
    """LaTeX text with a table for each task, metric and reduction, rows by rank, at most as wide as the text.

    Needs the packages booktabs, multirow and graphicx.
    """
    if not len(frame):
        return "% no rows\n"
    texts = ["% needs \\usepackage{booktabs,multirow,graphicx}"]
    for part in _parts(frame):
        shown = _chosen(part.shown, columns or (() if "difference" in frame else PAPER_COLUMNS))
        index = [name for name in ("keep", "selector") if name in shown.columns]
        label = "tab:" + "-".join(part.title.replace(",", "").split()).lower()
        caption = ". ".join([part.headline, *([part.few] if part.few else [])])
        table = shown.set_index(index or shown.columns[:1].tolist()).to_latex(
            escape=True, multirow=True, caption=_tex(caption), label=label, position="t", sparsify=True
        )
        if part.notes:
            notes = "\\\\\n".join(_tex(note) for note in part.notes)
            below = f"\\par\\smallskip\n\\parbox{{\\linewidth}}{{\\footnotesize {notes}}}\n"
            table = table.replace("\\end{table}", f"{below}\\end{{table}}")
        for mark, command in ((EXPOSED_MARK, "dagger"), (UNKNOWN_MARK, "ddagger")):
            table = table.replace(mark, f"$^\\{command}$")
        # LaTeX's default fonts have other signs in their places.
        table = table.replace("<", "$<$").replace(">", "$>$")
        table = table.replace("\\begin{tabular}", f"{_FIT}\\begin{{tabular}}")
        texts.append(table.replace("\\end{tabular}", "\\end{tabular}}"))
    return "\n".join(texts)


_FIT: Final = "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{"
"""Shrinks a table that is wider than the text."""


def _chosen(shown: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The columns with these titles, in this order; all of them where none is named or there."""
    titles = {"adjusted": "gap adjusted"}
    found = [title for title in (titles.get(name, name) for name in columns) if title in shown.columns]
    return shown[found] if found else shown


_TEX: Final = {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}"}


def _tex(text: str) -> str:
    """Text of a caption, with escapes; pandas escapes the body of a table only."""
    return "".join("\\" + letter if letter in "&%$#_{}" else _TEX.get(letter, letter) for letter in text)


def _parts(frame: pd.DataFrame) -> list[_Part]:
    """Tables of the tasks, metrics and reductions."""
    keys = ["task", "task_id", "metric", "reduction"]
    columns = ["task", "task_id", "task_label", "task_options"]
    task_label = labels("task", frame.filter(columns).to_dict("records"))
    out = []
    for key, part in frame.groupby(keys, sort=True):
        _, _, metric, reduction = (str(value) for value in key)
        rows = [{str(k): v for k, v in row.items()} for row in part.to_dict("records")]
        rows = rows if "difference" in rows[0] else sorted(rows, key=by_rank)
        # Differences hold the names of the leaderboard that they belong to.
        name = str(rows[0]["task_name"]) if "difference" in rows[0] and "task_name" in rows[0] else task_label(rows[0])
        texts_of = _difference_texts if "difference" in rows[0] else _marked
        label = labels("selector", (one for row in rows for one in _selectors(row)))
        shown = pd.DataFrame([texts_of(row, label) for row in rows])
        empty = [column for column in shown.columns if not any(shown[column])]
        few = few_text(rows)
        texts = split_text(rows), f"{few[:1].upper()}{few[1:]}"
        notes = table_notes(rows)
        out.append(_Part(f"{name}, {metric}, {reduction}", *texts, shown.drop(columns=empty), notes))
    return out


def _marked(row: Row, label: Callable[[Row], str]) -> dict[str, str]:
    """`_texts` with the mark of an exposed row on its name and on what depends on unseen categories."""
    mark, texts = exposure_mark(row), _texts(row, label)
    for name, text in texts.items():
        if text and (name == "selector" or "unseen" in name or "gap" in name):
            texts[name] = text + mark
    return texts


def _texts(row: Row, label: Callable[[Row], str]) -> dict[str, str]:
    return {
        "keep": str(row["ratios"]),
        "selector": label(row),
        "supervision": str(row["supervision"]),
        **{name: interval_text(row, name) for name in ("all", "seen", "unseen")},
        **{name.replace("_", " "): interval_text(row, name, "+.3f") for name in ("gap", "gap_adjusted")},
        "gap from whole": interval_text(row, "gap_from_whole", "+.3f"),
        "retention": interval_text(row, "retention_all"),
        "retention seen / unseen": _retention_text(row),
        "rank": rank_text(row, ""),
        "rank on unseen": rank_text(row, "unseen_"),
        "as random at": break_even_text(row, "random"),
        "as downsample at": break_even_text(row, "downsample"),
        "selector ms": _number(row, "selector_ms", ".1f"),
        "GFLOPs": _number(row, "selector_gflops", ".2f"),
        "images/s": _number(row, "images_per_second", ".1f"),
        "ms at batch 1": latency_text(row, "both"),
        "as fast as whole at": break_even_time_text(row, 1),
        "note": "; ".join(row_notes(row)),
    }


def _retention_text(row: Row) -> str:
    """Text like "0.921 / 0.893"; "" for a row without retention of any group."""
    both = [interval_text({"": row.get(f"retention_{group}", math.nan)}, "") for group in ("seen", "unseen")]
    return " / ".join(one or "undefined" for one in both) if any(both) else ""


def _difference_texts(row: Row, label: Callable[[Row], str]) -> dict[str, str]:
    names = (row.get(f"{end}_name") for end in ("first", "second"))
    first, second = (str(name or label(one)) for name, one in zip(names, _selectors(row), strict=True))
    difference = {"difference": row["difference"], "difference_low": row["low"], "difference_high": row["high"]}
    return {
        "keep": str(row["ratios"]),
        "value": str(row["value"]),
        "first": first,
        "second": second,
        "difference": interval_text(difference, "difference", "+.4f"),
        **{name.replace("_", " "): _number(row, name, ".4f") for name in ("p", "p_holm")},
    }


def _selectors(row: Row) -> list[Row]:
    """Row of a leaderboard; for a difference those of both of its selectors, in the same columns."""
    if "difference" not in row:
        return [row]
    return [
        {"selector": row[end], "selector_id": row[f"{end}_id"], "selector_label": row.get(f"{end}_label")}
        for end in ("first", "second")
    ]


def interval_text(row: Row, name: str, form: str = ".3f") -> str:
    """Text like "0.677 [0.651, 0.702]".

    Args:
        row: a row of a table.
        name: column of the value; "<name>_low" and "<name>_high" are the ends of its interval.
        form: format of each number.

    Returns:
        The value alone if the row has no interval; "" if the value is undefined.
    """
    value = float(row.get(name, math.nan))
    low, high = (float(row.get(f"{name}_{end}", math.nan)) for end in ("low", "high"))
    if math.isnan(value):
        return ""
    return f"{value:{form}}" if math.isnan(low) else f"{value:{form}} [{low:{form}}, {high:{form}}]"


def rank_text(row: Row, prefix: str) -> str:
    """Text like "2", or "2-4" for a range of ranks; "" for a row without rank.

    Args:
        row: a row of a table.
        prefix: "" for the rank by `all`, "unseen_", or "holm_" for the rank with Holm's correction.
    """
    first, last = (float(row.get(f"{prefix}{end}", math.nan)) for end in ("rank", "rank_last"))
    if math.isnan(first):
        return ""
    return f"{first:.0f}" if first == last else f"{first:.0f}-{last:.0f}"


def _number(row: Row, name: str, form: str) -> str:
    value = float(row.get(name, math.nan))
    return "" if math.isnan(value) else f"{value:{form}}"
