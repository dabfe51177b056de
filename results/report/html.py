"""The HTML report of a run folder: one file that needs no network.

`page_data` collects the content as JSON, and the scripts of the page (`report_base.js`, `report.js`) display it. Plotly
comes from its Python package and is embedded compressed, since it makes up most of the file.
"""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

from ltrp_bench.results.leaderboard.build import DEFAULT, LeaderboardOptions, Progress, build_leaderboard
from ltrp_bench.results.leaderboard.category_groups import OWN_SPLITS, LabelSets, Notice, regroup
from ltrp_bench.results.report.page_data import ReportSource, report_data
from ltrp_bench.results.schema.atomic_io import atomic_write
from ltrp_bench.results.schema.record import ResultsError
from ltrp_bench.results.schema.redaction import here
from ltrp_bench.results.store.run_store import ReadOnceStore


def write_report(
    root: Path,
    out: Path,
    options: LeaderboardOptions = DEFAULT,
    *,
    label_sets: LabelSets = OWN_SPLITS,
    notice: Notice = lambda line: None,
    progress: Progress = iter,
    with_paths: bool = False,
) -> int:
    """Write the report of a run folder; returns the size of the file in bytes.

    Args:
        root: a folder that `run --out` made.
        out: the HTML file.
        options: options of the leaderboard in the report.
        label_sets: knowledge of label sets, `tasks.splits.label_sets`.
        notice: called with one line for each thing that is missing.
        progress: wraps the records while they are resampled.
        with_paths: also show the paths of commands and the names of machines.

    Raises:
        ResultsError: the folder has no finished cell, something stored is damaged, or the file cannot be written.
    """
    store, groups = regroup(ReadOnceStore(root), options.unseen_by, label_sets, notice, narrow_as=options.narrow_as)
    records = store.read_cells()
    if not records:
        raise ResultsError(f"{root} holds no finished cell to report; `ltrp-bench run --out {root}` adds cells")
    leaderboard = build_leaderboard(records, store, options, groups=groups, notice=notice, progress=progress)
    redaction = None if with_paths else here()
    title = root.resolve().name
    source = ReportSource(store, records, leaderboard, redaction)
    page = render(source, title if redaction is None else redaction.names(title)).encode()
    atomic_write(out, page)
    return len(page)


def render(source: ReportSource, title: str) -> str:
    """Text of the HTML page."""
    from jinja2 import Environment, PackageLoader

    environment = Environment(loader=PackageLoader("ltrp_bench.results.report", "."), autoescape=True)
    folder = Path(__file__).parent
    return environment.get_template("report.html.j2").render(
        title=title,
        data=_embed(report_data(source)),
        style=(folder / "report.css").read_text(encoding="utf-8"),
        script="\n".join((folder / name).read_text(encoding="utf-8") for name in ("report_base.js", "report.js")),
        plotly=_plotly(),
    )


def _embed(data: Any) -> str:
    """JSON for a script element, with escapes so that no tag can be opened or closed in it."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _plotly() -> str:
    """Plotly's script as base64 of gzip; the page decompresses it."""
    from plotly.offline import get_plotlyjs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()
