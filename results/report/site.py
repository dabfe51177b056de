"""A static leaderboard of many labs' archives: an index, a page for each task and each selector, a submission guide.

The pages are reports (`html`) of a part of the rows; style and scripts are files that they share. Nothing is loaded
from elsewhere, so the folder works from a disk as from a server.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from ltrp_bench.results.leaderboard.build import DEFAULT, Leaderboard, LeaderboardOptions, Progress, build_leaderboard
from ltrp_bench.results.leaderboard.category_groups import OWN_SPLITS, LabelSets, Notice, regroup
from ltrp_bench.results.leaderboard.exposure_text import split_text
from ltrp_bench.results.report.findings import findings
from ltrp_bench.results.report.html import page_template, render, write_assets
from ltrp_bench.results.report.page_data import ReportSource
from ltrp_bench.results.report.submissions import Rules, Submission, gather
from ltrp_bench.results.schema.atomic_io import atomic_write
from ltrp_bench.results.schema.record import ResultsError
from ltrp_bench.results.schema.redaction import here
from ltrp_bench.results.store.run_store import ReadOnceStore

NAVIGATION: Final = (("All tasks and selectors", "index.html"), ("Submit results", "submit.html"))

Links = dict[str, str]
"""Text of a link -> file."""


@dataclass(frozen=True)
class _Site:
    """Everything that the pages show."""

    title: str
    source: ReportSource
    submissions: Sequence[Submission]


def build_site(
    archives: Sequence[Path],
    out: Path,
    rules: Rules,
    options: LeaderboardOptions = DEFAULT,
    *,
    title: str = "ltrp-bench",
    label_sets: LabelSets = OWN_SPLITS,
    notice: Notice = lambda line: None,
    progress: Progress = iter,
) -> list[Submission]:
    """Build the site of some archives.

    Args:
        archives: files that `results export` wrote.
        out: folder of the site; files of an earlier one are overwritten.
        rules: what archives must meet.
        options: options of the leaderboard.
        title: title of the pages.
        label_sets: knowledge of label sets, `tasks.splits.label_sets`.
        notice: called with one line for each thing that is missing.
        progress: wraps the records while they are resampled.

    Returns:
        The archives with what became of them. If all were left out, nothing is written.

    Raises:
        ResultsError: a file cannot be written.
    """
    with tempfile.TemporaryDirectory() as temporary:
        submissions = gather(archives, Path(temporary), rules)
        if not any(one.cells for one in submissions):
            return submissions
        store, groups = regroup(ReadOnceStore(Path(temporary)), options.unseen_by, label_sets, notice)
        records = store.read_cells()
        board = build_leaderboard(records, store, options, groups=groups, notice=notice, progress=progress)
        labs: dict[str, list[str]] = {}
        for one in submissions:
            for fingerprint in one.cells:
                labs.setdefault(fingerprint, []).append(one.name)
        source = ReportSource(store, records, board, here(), labs={key: tuple(names) for key, names in labs.items()})
        for name, page in _pages(_Site(title, source, submissions)):
            atomic_write(out / name, page.encode())
    write_assets(out / "assets")
    return submissions


def _pages(site: _Site) -> Iterator[tuple[str, str]]:
    """Name and text of each page."""
    frame = site.source.leaderboard.frame
    tasks: list[Mapping[str, Any]] = []
    for (task, task_id, reduction), rows in frame.groupby(["task", "task_id", "reduction"], sort=True):
        own = [{str(key): value for key, value in row.items()} for row in rows.to_dict("records")]
        shown = str(own[0].get("task_name") or task)
        name = f"task-{_slug(f'{task}-{reduction}-{task_id}')}.html"
        tasks.append({"name": shown, "reduction": reduction, "file": name, "rows": own, "split": split_text(own)})
        yield name, _page(site, rows.index, f"{shown} · {site.title}", whole=True)
    selectors: Links = {}
    for selector, rows in frame.groupby("selector", sort=True):
        name = f"selector-{_slug(str(selector))}.html"
        name = name if name not in selectors.values() else f"selector-{_slug(str(selector))}-{len(selectors)}.html"
        selectors[str(selector)] = name
        yield name, _page(site, rows.index, f"{selector} · {site.title}", whole=False)
    everything = [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]
    known = {
        "title": site.title,
        "findings": findings(everything, site.source.leaderboard.roles),
        "tasks": [{**one, "metric": one["rows"][0]["metric"], "leaders": _leaders(one["rows"])} for one in tasks],
        "selectors": selectors,
        "submissions": site.submissions,
        "cells": len(site.source.records),
        "site": NAVIGATION,
    }
    yield "index.html", page_template("site.html.j2").render(**known)
    yield "submit.html", page_template("submit.html.j2").render(title=site.title, site=NAVIGATION)


def _page(site: _Site, index: Any, title: str, *, whole: bool) -> str:
    """A report of some of the rows."""
    board = site.source.leaderboard
    frame = board.frame.loc[index].reset_index(drop=True)
    behind = {short for text in frame["fingerprints"] for short in str(text).split()}
    records = [record for record in site.source.records if record.short_fingerprint in behind]
    if not records:
        raise ResultsError(f"{title}: no cell is behind its rows")
    part = replace(
        site.source, records=records, leaderboard=Leaderboard(frame, board.pairs, board.roles), with_findings=whole
    )
    return render(part, title, site=NAVIGATION)


def _leaders(rows: Sequence[Mapping[str, Any]]) -> str:
    """Selectors of rank 1, tied ones together, each time with the keep ratios where they are."""
    names: dict[str, list[str]] = {}
    for row in rows:
        if row["rank"] == 1 and row["keep_ratio"] < 1:
            names.setdefault(str(row["ratios"]), []).append(str(row.get("selector_name") or row["selector"]))
    ratios: dict[str, list[str]] = {}
    for ratio, leaders in names.items():
        ratios.setdefault(", ".join(dict.fromkeys(leaders)), []).append(ratio)
    return "; ".join(f"{leaders} (keep ratio {', '.join(found)})" for leaders, found in ratios.items())


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-") or "unnamed"
