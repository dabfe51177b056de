"""Results as pandas tables, figures and a report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from ltrp_bench.harness.api.figures import for_notebooks
from ltrp_bench.harness.api.wording import in_python, python_messages
from ltrp_bench.harness.progress.terminal import tracked
from ltrp_bench.results.comparison.compare import CompareOptions
from ltrp_bench.results.comparison.compare import compare as compare_tables
from ltrp_bench.results.comparison.outcome import Comparison
from ltrp_bench.results.leaderboard.build import Leaderboard, LeaderboardOptions, build_leaderboard
from ltrp_bench.results.leaderboard.category_groups import regroup
from ltrp_bench.results.leaderboard.export import html
from ltrp_bench.results.report.figures import KINDS, FigureOptions, Kind, draw_figure, plan_figures
from ltrp_bench.results.report.html import write_report
from ltrp_bench.results.report.plots import Group
from ltrp_bench.results.report.style import plot_style
from ltrp_bench.results.schema.record import CellRecord
from ltrp_bench.results.schema.rows import GROUPS
from ltrp_bench.results.store.run_store import ReadOnceStore, RunStore
from ltrp_bench.selectors.errors import UsageError, near_or, unknown_name
from ltrp_bench.tasks.splits import label_sets

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAIN_COLUMNS: Final = (
    *("task", "reduction", "metric", "keep_ratio", "ratios", "selector", "supervision"),
    *(f"{value}{end}" for value in ("all", "seen", "unseen", "gap") for end in ("", "_low", "_high")),
    *("rank", "rank_last", "unseen_rank", "unseen_rank_last"),
)
"""Columns of `Results.leaderboard` unless all are asked for."""

PathLike = str | Path


class Results:
    """Finished cells of a folder.

    Args:
        folder: a folder of `evaluate` or `ltrp-bench run`.
        fingerprints: the cells; None for all of the folder.

    Attributes:
        folder: the folder.

    Notebooks show a table of the main columns; `leaderboard()` has the numbers.
    """

    def __init__(self, folder: PathLike, fingerprints: Sequence[str] | None = None) -> None:
        self.folder = Path(folder).expanduser()
        self._fingerprints = None if fingerprints is None else tuple(fingerprints)
        self._boards: dict[LeaderboardOptions, Leaderboard] = {}

    def __repr__(self) -> str:
        return f"Results({len(self)} cells in {str(self.folder)!r})"

    def __len__(self) -> int:
        return len(self._records(ReadOnceStore(self.folder)))

    def _repr_html_(self) -> str:
        return html(self._board(LeaderboardOptions()).frame)

    @python_messages
    def leaderboard(self, *, all_columns: bool = False, **options: Any) -> pd.DataFrame:
        """The leaderboard: one row for each task, keep ratio and selector, and for areas under the curve.

        Args:
            all_columns: True for all columns of docs/results.md instead of the main ones.
            options: as `LeaderboardOptions`: metrics, sizes, controls, folds, intervals, resamples, method, unseen_by,
                narrow_as, count_exposed.

        Returns:
            `all`, `seen`, `unseen` and `gap` (seen less unseen) with the ends of their 95 % intervals, and ranks.
            Rows of areas have the keep ratio NaN and `ratios` such as "auc 0.25-0.75".

        Raises:
            UsageError: an unknown option, metric or label set. InputError: a damaged folder.
        """
        frame = self._board(_options(options)).frame
        if all_columns:
            return frame.copy()
        shown = frame[[name for name in MAIN_COLUMNS if name in frame.columns]]
        return shown.assign(task=frame["task_name"], selector=frame["selector_name"])

    @python_messages
    def curves(self, **options: Any) -> pd.DataFrame:
        """Metrics over keep ratios in long form: one row for each task, selector, keep ratio and group of categories.

        Args:
            options: as of `leaderboard`.

        Returns:
            Columns task, reduction, metric, selector, supervision, keep_ratio, group ("all", "seen", "unseen"), value,
            low, high.
        """
        board = self.leaderboard(**options)
        board = board[board["keep_ratio"].notna()]
        keys = ["task", "reduction", "metric", "selector", "supervision", "keep_ratio"]
        parts = []
        for group in GROUPS:
            own = board[keys].assign(group=group, value=board[group])
            for end in ("low", "high"):
                own[end] = board.get(f"{group}_{end}", math.nan)
            parts.append(own)
        return pd.concat(parts).sort_values([*keys[:4], "group", "keep_ratio"], kind="stable", ignore_index=True)

    @python_messages
    def images(self, metric: str | None = None) -> pd.DataFrame:
        """Metrics of single images: one row for each task, selector, keep ratio, seed and image.

        Args:
            metric: instead of each task's headline metric.

        Returns:
            Columns task, reduction, metric, selector, keep_ratio, seed, image_id, all, seen, unseen. A value is the
            metric over this image alone, NaN where the image has nothing of the group. Their mean is the value of the
            table only for metrics that are means over images. Cells without a resampling summary are left out.

        Raises:
            UsageError: no cell has the metric. InputError: a damaged folder.
        """
        store = ReadOnceStore(self.folder)
        records = self._records(store)
        frames: list[pd.DataFrame] = []
        known: set[str] = set()
        names = self._names()
        for record in records:
            summary = store.read_summary(record)
            if summary is None:
                continue
            known.update(summary.metrics)
            name = metric or record.task.headline
            if name not in summary.metrics:
                continue
            found = _of_each_image(summary, name)
            task, selector = names[record.task.identity.short, record.selector.identity.short]
            front = {
                **{"task": task, "reduction": record.reduction, "metric": name, "selector": selector},
                **{"keep_ratio": record.keep_ratio, "seed": record.seed, "image_id": list(summary.images)},
            }
            frames.append(pd.DataFrame({**front, **found}))
        if metric is not None and not frames:
            raise UsageError(f"no cell has the metric {metric!r}; {near_or(metric, known)}")
        order = ["task", "metric", "selector", "keep_ratio", "seed"]
        if not frames:
            return pd.DataFrame(columns=[*order[:1], "reduction", *order[1:], "image_id", *GROUPS])
        return pd.concat(frames).sort_values(order, kind="stable", ignore_index=True)

    @python_messages
    def plot(
        self,
        kind: Kind = "curves",
        *,
        task: str | None = None,
        selectors: Sequence[str] = (),
        keep_ratio: float | None = None,
        groups: Group | Sequence[Group] = (),
        **options: Any,
    ) -> Figure:
        """Draw one figure of one task.

        Args:
            kind: "curves" (metric over keep ratios), "gap" or "pareto" (accuracy over throughput).
            task: name or label; needed if the results have several tasks.
            selectors: names or labels; all by default.
            keep_ratio: of the gap figure; by default the one nearest to 0.25.
            groups: groups of categories: panels of the curves, "seen" and "unseen" by default; or the one of a Pareto
                figure, "all" by default.
            options: as of `leaderboard`; `metrics` chooses another metric.

        Returns:
            A figure, which notebooks show; `figure.savefig("name.pdf")` writes it.

        Raises:
            UsageError: no such kind, group, task, selector or keep ratio; several figures fit, or none.
        """
        wanted = (groups,) if isinstance(groups, str) else tuple(groups)
        for what, given, known in (("kind of figure", (kind,), KINDS), ("group of categories", wanted, GROUPS)):
            for name in given:
                if name not in known:
                    raise unknown_name(what, name, known)
        board = self._board(_options(options))
        reasons: list[str] = []
        chosen = FigureOptions(
            kinds=(kind,),
            tasks=() if task is None else (task,),
            selectors=tuple([selectors] if isinstance(selectors, str) else selectors),
            keep_ratios=() if keep_ratio is None else (keep_ratio,),
            groups=wanted,
        )
        found = plan_figures(board.frame, chosen, roles=board.roles, notice=reasons.append)
        if not found:
            raise UsageError("; ".join(reasons) or f"there is no figure of kind {kind!r}")
        if len(found) > 1:
            titles = ", ".join(f"{one.panels.title}, {one.panels.metric}" for one in found)
            raise UsageError(f"{len(found)} figures fit ({titles}): choose one by task=, metrics= and groups=")
        with plot_style():
            return for_notebooks(draw_figure(found[0]))

    @python_messages
    def report(self, out: PathLike = "report.html", **options: Any) -> Path:
        """Write the HTML report of the whole folder, one file that works offline; returns its path.

        Args:
            out: the file.
            options: as of `leaderboard`.
        """
        path = Path(out).expanduser()
        write_report(self.folder, path, _options(options), label_sets=label_sets, progress=tracked("resampling"))
        return path

    def _names(self) -> dict[tuple[str, str], tuple[str, str]]:
        """(Id of a task, id of a selector) -> their names in tables."""
        frame = self._board(LeaderboardOptions(intervals=False)).frame
        columns = ("task_id", "selector_id", "task_name", "selector_name")
        return {(a, b): (c, d) for a, b, c, d in zip(*(frame[name] for name in columns), strict=True)}

    def _records(self, store: RunStore) -> list[CellRecord]:
        if self._fingerprints is None:
            return store.read_cells()
        return [store.read_cell(one) for one in self._fingerprints]

    def _board(self, options: LeaderboardOptions) -> Leaderboard:
        if options not in self._boards:
            notices: dict[str, None] = {}
            store, groups = regroup(
                ReadOnceStore(self.folder),
                options.unseen_by,
                label_sets,
                notices.setdefault,
                narrow_as=options.narrow_as,
            )
            records = self._records(store)
            board = build_leaderboard(records, store, options, groups=groups, notice=notices.setdefault)
            for line in notices:
                _print_note(line)
            self._boards[options] = board
        return self._boards[options]


@python_messages
def load_results(folder: PathLike = "runs") -> Results:
    """All results of a folder that `evaluate` or `ltrp-bench run` wrote.

    Raises:
        InputError: no such folder, or a damaged record.
    """
    results = Results(folder)
    len(results)
    return results


@python_messages
def compare(baseline: Results | PathLike, current: Results | PathLike, **options: Any) -> Comparison:
    """Compare two sets of results; notebooks show the table, regressions first.

    Args:
        baseline: reference: results, which stand for their whole folder, a folder, or the CSV of a leaderboard.
        current: results to check, likewise.
        options: as `CompareOptions`: tolerance, test ("auto", "paired", "tolerance"), resamples, unseen_by, narrow_as.

    Returns:
        The comparison: `regressions` are the rows that got worse or are missing, `rows` all.

    Raises:
        UsageError: an unknown option. InputError: a side cannot be read, or there is nothing to compare.
    """
    _check_options(options, CompareOptions)
    before, after = (one.folder if isinstance(one, Results) else Path(one).expanduser() for one in (baseline, current))
    return compare_tables(before, after, CompareOptions(**options), label_sets=label_sets, notice=_print_note)


def _options(given: Mapping[str, Any]) -> LeaderboardOptions:
    _check_options(given, LeaderboardOptions)
    several = {
        key: (value,) if isinstance(value, str) else tuple(value)
        for key, value in given.items()
        if key in ("metrics", "controls")
    }
    return LeaderboardOptions(**{**given, **several})


def _check_options(given: Mapping[str, Any], options: type) -> None:
    known = [one.name for one in fields(options)]
    for name in given:
        if name not in known:
            raise UsageError(f"there is no option {name!r}; {near_or(name, known)}")


def _of_each_image(summary: Any, metric: str) -> dict[str, np.ndarray]:
    """Group -> [N] value of a metric over each image alone."""
    count = len(summary.images)
    values = {group: np.full(count, math.nan) for group in GROUPS}
    for first in range(0, count, 256):
        weights = np.zeros((min(256, count - first), count), np.uint8)
        weights[np.arange(len(weights)), np.arange(first, first + len(weights))] = 1
        for (_, group), own in summary.all_values([(metric, group) for group in GROUPS], weights).items():
            values[group][first : first + len(weights)] = own
    return values


def _print_note(line: str) -> None:
    print(f"note: {in_python(line)}")
