"""A table as a file: CSV and Parquet hold every column; Markdown and LaTeX what a reader wants to see."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pandas as pd

from ltrp_bench.results.schema.atomic_io import atomic_write
from ltrp_bench.results.schema.record import ResultsError

SUFFIXES: Final = (".csv", ".parquet", ".md", ".tex")


def check_suffix(path: Path, kind: str | None = None) -> str:
    """The kind of file by its ending. Raises ResultsError for one that is none of `SUFFIXES`."""
    found = kind or path.suffix.lower()
    if found not in SUFFIXES:
        raise ResultsError(f"{path}: a table is written as {', '.join(SUFFIXES)}; end the name so")
    return found


def write_table(frame: pd.DataFrame, path: Path, kind: str | None = None) -> None:
    """Write a table whole or not at all.

    Args:
        frame: a leaderboard, a crossover (`board.COLUMNS`, `board.FOLDED`) or differences (`board.PAIR_COLUMNS`).
        path: the file; its ending says the kind.
        kind: ".csv" for a name without one.

    Raises:
        ResultsError: another ending, or the file cannot be written.
    """
    suffix = check_suffix(path, kind)
    if suffix == ".csv":
        # Floats in the shortest form that reads back exactly.
        data = frame.to_csv(index=False, lineterminator="\n").encode()
    elif suffix == ".parquet":
        buffer = io.BytesIO()
        frame.to_parquet(buffer, index=False)
        data = buffer.getvalue()
    elif suffix == ".md":
        data = markdown(frame).encode()
    else:
        data = latex(frame).encode()
    atomic_write(path, data)


def markdown(frame: pd.DataFrame) -> str:
    """One Markdown table for each task, metric and reduction."""
    parts = []
    for title, part in _parts(frame):
        text = part.to_markdown(index=False, disable_numparse=True) if len(part) else "no rows"
        parts.append(f"### {title}\n\n{text}\n")
    return "\n".join(parts)


def latex(frame: pd.DataFrame) -> str:
    """One LaTeX table for each task, metric and reduction, by booktabs and multirow."""
    parts = ["% needs \\usepackage{booktabs,multirow}"]
    for title, part in _parts(frame):
        index = [name for name in ("keep", "selector") if name in part.columns]
        label = "tab:" + "-".join(title.replace(",", "").split()).lower()
        parts.append(
            part.set_index(index or part.columns[:1].tolist()).to_latex(
                escape=True, multirow=True, caption=_tex(title), label=label, position="t", sparsify=True
            )
        )
    return "\n".join(parts)


def _tex(text: str) -> str:
    """Text for a caption, which pandas does not escape."""
    return "".join("\\" + letter if letter in "&%$#_{}" else letter for letter in text)


def _parts(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """(title, what a reader sees) of each task, metric and reduction."""
    keys = ["task", "task_id", "metric", "reduction"]
    crowded = len(frame) and frame.groupby("task")["task_id"].nunique().max() > 1
    out = []
    for key, part in frame.groupby(keys, sort=True):
        task, task_id, metric, reduction = (str(value) for value in key)
        name = f"{task} {task_id}" if crowded else task
        rows = [{str(k): v for k, v in row.items()} for row in part.to_dict("records")]
        shown = [_difference(row) if "difference" in row else _line(row) for row in rows]
        cells = pd.DataFrame(shown)
        empty = [column for column in cells.columns if not any(cells[column])]
        out.append((f"{name}, {metric}, {reduction}", cells.drop(columns=empty)))
    return out


def _line(row: Mapping[str, Any]) -> dict[str, str]:
    return {
        "keep": str(row["ratios"]),
        "selector": str(row["selector"]),
        "supervision": str(row["supervision"]),
        **{name: interval_text(row, name) for name in ("all", "seen", "unseen")},
        **{name.replace("_", " "): interval_text(row, name, "+.3f") for name in ("gap", "gap_adjusted")},
        "rank": rank_text(row, ""),
        "rank on unseen": rank_text(row, "unseen_"),
        "as random at": _number(row, "break_even_random", ".2f"),
        "as downsample at": _number(row, "break_even_downsample", ".2f"),
        "selector ms": _number(row, "selector_ms", ".1f"),
        "GFLOPs": _number(row, "selector_gflops", ".2f"),
        "images/s": _number(row, "images_per_second", ".1f"),
        "note": "" if row["complete"] else "incomplete: lacks " + str(row["missing"]).removeprefix("lacks "),
    }


def _difference(row: Mapping[str, Any]) -> dict[str, str]:
    return {
        "keep": str(row["ratios"]),
        "value": str(row["value"]),
        **{name: str(row[name]) for name in ("first", "second")},
        "difference": interval_text(
            {"difference": row["difference"], "difference_low": row["low"], "difference_high": row["high"]},
            *("difference", "+.4f"),
        ),
        **{name.replace("_", " "): _number(row, name, ".4f") for name in ("p", "p_holm")},
    }


def interval_text(row: Mapping[str, Any], name: str, form: str = ".3f") -> str:
    """ "0.677 [0.651, 0.702]"; without the interval where there is none, "" if undefined."""
    value = float(row.get(name, math.nan))
    low, high = (float(row.get(f"{name}_{end}", math.nan)) for end in ("low", "high"))
    if math.isnan(value):
        return ""
    return f"{value:{form}}" if math.isnan(low) else f"{value:{form}} [{low:{form}}, {high:{form}}]"


def rank_text(row: Mapping[str, Any], prefix: str) -> str:
    """ "2", or "2-4" of a range; "" if not ranked. `prefix`: "", "unseen_" or "holm_"."""
    first, last = (float(row.get(f"{prefix}{end}", math.nan)) for end in ("rank", "rank_last"))
    if math.isnan(first):
        return ""
    return f"{first:.0f}" if first == last else f"{first:.0f}-{last:.0f}"


def _number(row: Mapping[str, Any], name: str, form: str) -> str:
    value = float(row.get(name, math.nan))
    return "" if math.isnan(value) else "beyond" if math.isinf(value) else f"{value:{form}}"
