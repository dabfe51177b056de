"""Figures of a leaderboard: curves over keep ratios, gaps, and accuracy over throughput; the same look everywhere.

One colour, marker and dash for each selector (`look.py`), legends beside the axes in the order of methods first and
controls last. A row that is incomplete leaves a hole in its line, and the figure says so.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import pandas as pd

from ltrp_bench.results.leaderboard.build import COLUMNS
from ltrp_bench.results.report.style import figure_bytes, house_style, in_order, look_of
from ltrp_bench.results.schema.atomic_io import atomic_write
from ltrp_bench.results.schema.record import ResultsError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Kind = Literal["curves", "gap", "pareto"]
KINDS: Final[tuple[Kind, ...]] = ("curves", "gap", "pareto")
FORMATS: Final = ("png", "svg", "pdf")

_NEEDED: Final = ("task", "task_id", "reduction", "metric", "keep_ratio", "selector", "all", "seen", "unseen", "gap")
_PANEL: Final = 2.9
"""Inches of one panel's width and height, about."""


@dataclass(frozen=True)
class Drawing:
    """One figure to be drawn.

    Attributes:
        name: of the file, without its ending.
        title: over the figure.
        rows: of the leaderboard.
        kind: which figure.
    """

    name: str
    title: str
    rows: Sequence[Mapping[str, Any]]
    kind: Kind


def read_board_csv(path: Path) -> pd.DataFrame:
    """A CSV that `leaderboard --csv` wrote. Raises ResultsError for anything else."""
    try:
        frame = pd.read_csv(path, keep_default_na=True, dtype={"task_id": str, "selector_id": str, "ratios": str})
    except FileNotFoundError as error:
        raise ResultsError(f"{path} is not there; `ltrp-bench leaderboard --csv {path}` writes one") from error
    except (OSError, ValueError) as error:
        raise ResultsError(f"{path} is no CSV that `ltrp-bench leaderboard --csv` wrote: {error}") from error
    if absent := [name for name in _NEEDED if name not in frame.columns]:
        raise ResultsError(f"{path} is no leaderboard: it lacks the columns {', '.join(absent)}")
    return frame.reindex(columns=[*dict.fromkeys([*COLUMNS, *frame.columns])])


def chosen(frame: pd.DataFrame, tasks: Sequence[str], selectors: Sequence[str]) -> pd.DataFrame:
    """Rows of these tasks and selectors, all where none is named; "evit" stands for "evit.shapes0" as well.

    Raises:
        ResultsError: a name that no row has, or nothing to draw at all.
    """
    if not len(frame):
        raise ResultsError("the leaderboard holds no row to draw")
    for name, given in (("task", tasks), ("selector", selectors)):
        known = sorted(set(frame[name]))
        for one in given:
            if not any(value == one or value.partition(".")[0] == one for value in known):
                raise ResultsError(f"no {name} {one!r} in the results; there are {', '.join(known)}")
        if given:
            frame = frame[[value in given or value.partition(".")[0] in given for value in frame[name]]]
    return frame


def drawings(
    frame: pd.DataFrame, kinds: Sequence[Kind], keep_ratios: Sequence[float], notice: Callable[[str], None]
) -> list[Drawing]:
    """What can be drawn of a leaderboard.

    Args:
        frame: columns `board.COLUMNS`.
        kinds: in this order.
        keep_ratios: of the gap figures; by default the one nearest to 0.25.
        notice: told, one line each, what cannot be drawn and why.

    Raises:
        ResultsError: a keep ratio that no row has.
    """
    single = frame[frame["keep_ratio"].notna()]
    known = sorted(set(single["keep_ratio"]))
    for ratio in keep_ratios:
        if not any(math.isclose(ratio, one) for one in known):
            there = ", ".join(f"{one:g}" for one in known)
            raise ResultsError(f"no keep ratio {ratio:g} in the results; there are {there}")
    out = []
    for kind in kinds:
        for name, title, rows in _tables(single):
            out += list(_drawings(kind, name, title, rows, keep_ratios, notice))
    return out


def _tables(frame: pd.DataFrame) -> Iterator[tuple[str, str, list[dict[str, Any]]]]:
    """(file name, title, rows) of each task, reduction and metric; ids where a name stands for several."""
    keys = ["task", "task_id", "reduction", "metric"]
    for key, part in frame.groupby(keys, sort=True):
        task, task_id, reduction, metric = (str(value) for value in key)
        twins = frame[(frame["task"] == task) & (frame["reduction"] == reduction) & (frame["metric"] == metric)]
        label = f"{task} {task_id}" if twins["task_id"].nunique() > 1 else task
        name = re.sub(r"[^A-Za-z0-9]+", "-", f"{label} {metric} {reduction}").strip("-")
        rows = [{str(k): v for k, v in row.items()} for row in part.to_dict("records")]
        yield name, f"{label} ({reduction})", rows


def _drawings(
    kind: Kind,
    name: str,
    title: str,
    rows: list[dict[str, Any]],
    keep_ratios: Sequence[float],
    notice: Callable[[str], None],
) -> Iterator[Drawing]:
    ratios = sorted({row["keep_ratio"] for row in rows})
    if kind == "curves":
        if len(ratios) < 2:
            notice(f"no curves of {title}: one keep ratio alone ({ratios[0]:g})")
        else:
            yield Drawing(f"curves-{name}", title, rows, kind)
    elif kind == "pareto":
        if rows[0]["reduction"] != "drop":
            notice(f"no pareto figure of {title}: only models that get the kept patches alone claim speed")
        elif not any(_number(row, "images_per_second") > 0 for row in rows):
            notice(f"no pareto figure of {title}: no cell says how long it took; measure it with this version")
        else:
            yield Drawing(f"pareto-{name}", title, rows, kind)
    else:
        wanted = [r for r in ratios if any(math.isclose(r, k) for k in keep_ratios)]
        for ratio in wanted or ([] if keep_ratios else [min(ratios, key=lambda r: abs(r - 0.25))]):
            some = [row for row in rows if row["keep_ratio"] == ratio and row["selector"] != "full"]
            if any(not math.isnan(_number(row, "gap")) for row in some):
                yield Drawing(f"gap-{name}-{ratio:g}", f"{title}, keep ratio {ratio:g}", some, kind)
            else:
                notice(f"no gap figure of {title} at keep ratio {ratio:g}: seen or unseen is undefined in every row")


def save(drawing: Drawing, folder: Path, suffix: str) -> Path:
    """Draw and write one figure; returns its path.

    Args:
        drawing: what.
        folder: where; made if need be.
        suffix: "png", "svg" or "pdf".
    """
    draw = {"curves": draw_curves, "gap": draw_gaps, "pareto": draw_pareto}[drawing.kind]
    with house_style():
        data = figure_bytes(draw(drawing), f".{suffix}")
    path = folder / f"{drawing.name}.{suffix}"
    atomic_write(path, data)
    return path


def draw_curves(drawing: Drawing) -> Figure:
    """The metric over the keep ratio, seen beside unseen, with interval bands: the paper's result figures."""
    figure, axes = _figure(2, drawing, share=True)
    faint = 0.14 if len(_lines(drawing.rows)) <= 8 else 0.07  # many bands lie over one another
    for axis, group in zip(axes, ("seen", "unseen"), strict=True):
        for _, line in _lines(drawing.rows):
            style = look_of(line[0]["selector"]).line()
            x = [row["keep_ratio"] for row in line]
            low, high = ([_number(row, f"{group}_{end}") for row in line] for end in ("low", "high"))
            axis.fill_between(x, low, high, color=style["color"], alpha=faint, linewidth=0)
            axis.plot(x, [_number(row, group) for row in line], markersize=3.6, linewidth=1.1, **style)
        axis.set_title(group, fontsize=8)
        axis.set_xlabel("keep ratio")
    axes[0].set_ylabel(str(drawing.rows[0]["metric"]))
    _finish(figure, axes, drawing)
    return figure


def draw_gaps(drawing: Drawing) -> Figure:
    """Seen less unseen, plain and less the controls' gap, with intervals; above 0 what labels name is favoured."""
    lines = _lines(drawing.rows)[::-1]
    figure, axes = _figure(2, drawing, share=False, height=0.75 + 0.17 * len(lines), legend=False)
    for axis, name, title in zip(axes, ("gap", "gap_adjusted"), ("gap", "gap less the controls'"), strict=True):
        axis.axvline(0.0, color="#888888", linewidth=0.7)
        for place, (_, (row,)) in enumerate((label, line[:1]) for label, line in lines):
            value, low, high = (_number(row, part) for part in (name, f"{name}_low", f"{name}_high"))
            look = look_of(row["selector"])
            axis.plot([low, high], [place, place], color=look.on(), linewidth=1.2)
            axis.plot([value], [place], color=look.on(), marker=look.marker, markersize=4.2, linestyle="none")
        axis.set_yticks(range(len(lines)), [label for label, _ in lines] if axis is axes[0] else [""] * len(lines))
        axis.set_ylim(-0.7, len(lines) - 0.3)
        axis.set_xlabel(f"{title} ({drawing.rows[0]['metric']})")
    if not any(not math.isnan(_number(row, "gap_adjusted")) for row in drawing.rows):
        axes[1].text(0.5, 0.5, "no controls measured", transform=axes[1].transAxes, ha="center")
    _finish(figure, axes, drawing, legend=False)
    return figure


def draw_pareto(drawing: Drawing) -> Figure:
    """The metric over measured images a second, a line over keep ratios each; rings mark what nothing else beats."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure, axes = _figure(1, drawing, share=False, wide=1.5)
    (axis,) = axes
    points = []
    for _, line in _lines(drawing.rows):
        known = [row for row in line if _number(row, "images_per_second") > 0 and not math.isnan(_number(row, "all"))]
        style = look_of(line[0]["selector"]).line()
        x, y = ([_number(row, name) for row in known] for name in ("images_per_second", "all"))
        axis.plot(x, y, markersize=3.6, linewidth=0.8, **style)
        if line[0]["selector"] != "oracle":  # it looks at the truth: a bound, and nothing to choose
            points += list(zip(x, y, strict=True))
    best = pareto_front(points)
    rings: dict[str, Any] = {"marker": "o", "markersize": 8, "markerfacecolor": "none", "color": "#1a1a1a"}
    axis.plot([speed for speed, _ in best], [value for _, value in best], linewidth=0.5, **rings)
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel("images a second, selector and model together")
    axis.set_ylabel(str(drawing.rows[0]["metric"]))
    machines = sorted({row["machine"] for row in drawing.rows if isinstance(row.get("machine"), str)} - {""})
    _finish(figure, axes, drawing, note=f"measured on {', '.join(machines)}; rings: nothing is both faster and better")
    return figure


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those of (speed, value) that no other point is at least as fast as and better than, slowest first."""
    front: list[tuple[float, float]] = []
    for speed, value in sorted(set(points), key=lambda point: (-point[0], -point[1])):
        if not front or value > front[-1][1]:
            front.append((speed, value))
    return front[::-1]


def _lines(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """(label, rows by keep ratio) of each selector in the order of legends; an id where a name stands for several."""
    by_id: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        by_id.setdefault((str(row["selector"]), str(row["selector_id"])), []).append(row)
    names = [name for name, _ in by_id]
    order = in_order(names)
    out = []
    for name, who in sorted(by_id, key=lambda key: (order.index(key[0]), key[1])):
        label = f"{name} {who}" if names.count(name) > 1 else name
        out.append((label, sorted(by_id[name, who], key=lambda row: float(row["keep_ratio"]))))
    return out


def _number(row: Mapping[str, Any], name: str) -> float:
    value = row.get(name, math.nan)
    return float(value) if isinstance(value, int | float) else math.nan


def _figure(
    panels: int, drawing: Drawing, share: bool, wide: float = 1.0, height: float = _PANEL, legend: bool = True
) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    side = 1.5 if legend else 0.4
    height = max(height, 0.16 * len(_lines(drawing.rows)) + 0.7 if legend else height)
    figure = Figure(figsize=(wide * _PANEL * panels + side, height), layout="constrained")
    axes = figure.subplots(1, panels, sharey=share, squeeze=False)[0]
    return figure, list(axes)


def _finish(figure: Figure, axes: Sequence[Axes], drawing: Drawing, legend: bool = True, note: str = "") -> None:
    from matplotlib.lines import Line2D

    for axis in axes:
        axis.grid(True, linewidth=0.3, color="#dddddd")
        axis.set_axisbelow(True)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    if legend:
        handles = [
            Line2D([], [], label=label, markersize=3.6, linewidth=1.1, **look_of(line[0]["selector"]).line())
            for label, line in _lines(drawing.rows)
        ]
        figure.legend(handles=handles, loc="outside right center", frameon=False, handlelength=3.2)
    holes = sorted({str(row["selector"]) for row in drawing.rows if not row.get("complete", True)})
    notes = [*([note] if note else []), *([f"incomplete, with gaps: {', '.join(holes)}"] if holes else [])]
    figure.suptitle(drawing.title, fontsize=8.5)
    if notes:
        figure.supxlabel("\n".join(notes), fontsize=6, color="#555555")
