"""The HTML report of a run folder: one file that needs no network.

`page_data` collects the content as JSON, and the scripts of the page (`report*.js`) display it. Plotly comes from its
Python package and is embedded compressed, since it makes up most of the file.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ltrp_bench.results.leaderboard.build import DEFAULT, LeaderboardOptions, Progress, build_leaderboard
from ltrp_bench.results.leaderboard.category_groups import OWN_SPLITS, LabelSets, Notice, regroup
from ltrp_bench.results.report.page_data import ReportSource, report_data
from ltrp_bench.results.schema.atomic_io import atomic_write
from ltrp_bench.results.schema.record import ResultsError
from ltrp_bench.results.schema.redaction import here
from ltrp_bench.results.store.run_store import ReadOnceStore

if TYPE_CHECKING:
    from jinja2 import Template


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
        raise ResultsError(f"{root} holds no finished cell; `ltrp-bench run --out {root}` adds cells")
    leaderboard = build_leaderboard(records, store, options, groups=groups, notice=notice, progress=progress)
    redaction = None if with_paths else here()
    title = root.resolve().name
    source = ReportSource(store, records, leaderboard, redaction)
    page = render(source, title if redaction is None else redaction.names(title)).encode()
    atomic_write(out, page)
    return len(page)


def render(source: ReportSource, title: str, site: Sequence[tuple[str, str]] = ()) -> str:
    """Text of the HTML page.

    Args:
        source: what it shows.
        title: its title.
        site: text and file of links to other pages; if there are any, style and scripts are files of `write_assets`.
    """
    inside = {} if site else {"style": _text("report.css"), "script": _script(), "plotly": _packed(_plotly())}
    known = {"title": title, "data": _embed(report_data(source)), "site": site, "assets": "assets" if site else ""}
    return page_template("report.html.j2").render(**known, **inside)


def page_template(name: str) -> Template:
    """A page of this folder."""
    from jinja2 import Environment, PackageLoader

    environment = Environment(loader=PackageLoader("ltrp_bench.results.report", "."), autoescape=True)
    return environment.get_template(name)


def write_assets(folder: Path) -> None:
    """Write style and scripts that the pages of a site share; `theme.js` is for those that are no reports."""
    files = {"report.css": _text("report.css"), "report.js": _script(), "theme.js": _text("theme.js")}
    for name, text in {**files, "plotly.js": _plotly()}.items():
        atomic_write(folder / name, text.encode())


def _text(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _script() -> str:
    return "\n".join(map(_text, ("theme.js", "report_base.js", "report_pareto.js", "report.js")))


def _embed(data: Any) -> str:
    """JSON for a script element, with escapes so that no tag can be opened or closed in it."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def _packed(text: str) -> str:
    """A script as base64 of gzip, since it makes up most of the file; the page decompresses it."""
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()
