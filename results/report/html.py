"""The report: everything that a run folder says, as one HTML file that needs no network.

What is shown is gathered here as plain JSON and drawn by `report.js` in the page (`report_base.js` has what its parts
share). Plotly comes from its own package, compressed, since it is the greater part of the file.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from ltrp_bench.results.leaderboard.aggregate import FULL
from ltrp_bench.results.leaderboard.build import DEFAULT, Board, BoardOptions, load_board
from ltrp_bench.results.report.style import in_order, look_of
from ltrp_bench.results.schema.atomic_io import atomic_write
from ltrp_bench.results.schema.record import CellRecord, ResultsError
from ltrp_bench.results.store.gallery import Gallery, agreement, read_gallery
from ltrp_bench.results.store.run_store import RunStore

SHOWN: Final = (
    *("task", "task_id", "reduction", "metric", "keep_ratio", "ratios", "selector", "selector_id", "supervision"),
    *("all", "all_low", "all_high", "seen", "seen_low", "seen_high", "unseen", "unseen_low", "unseen_high"),
    *("gap", "gap_low", "gap_high", "gap_adjusted", "gap_adjusted_low", "gap_adjusted_high"),
    *("rank", "rank_last", "unseen_rank", "unseen_rank_last", "break_even_random", "break_even_downsample"),
    *("selector_ms", "selector_gflops", "images_per_second", "machine", "seeds", "images", "complete", "missing"),
    "fingerprints",
)
"""Columns of the leaderboard that the page holds."""

EXTREMES: Final = 5
"""How many of the best and of the worst categories are listed."""

AGREEMENT_RATIOS: Final = (0.1, 0.25, 0.5)

_DIGITS: Final = 5


@dataclass(frozen=True)
class _Source:
    """What a page is made of."""

    store: RunStore
    records: Sequence[CellRecord]
    board: Board


def write_report(
    root: Path,
    out: Path,
    options: BoardOptions = DEFAULT,
    notice: Callable[[str], None] = lambda line: None,
    progress: Any = iter,
) -> int:
    """Write the report of a run folder; returns the file's size in bytes.

    Args:
        root: a folder that `run --out` made.
        out: the HTML file.
        options: of the leaderboard in it.
        notice: told, one line each, what is not there.
        progress: wraps the records while they are resampled.

    Raises:
        ResultsError: nothing to show, something stored is damaged, or the file cannot be written.
    """
    store = RunStore(root)
    records = store.read_cells()
    if not records:
        raise ResultsError(f"{root} holds no finished cell to report; `ltrp-bench run --out {root}` makes some")
    page = render(_Source(store, records, load_board(root, options, notice, progress)), root.resolve().name).encode()
    atomic_write(out, page)
    return len(page)


def render(source: _Source, title: str) -> str:
    """The page's text."""
    from jinja2 import Environment, PackageLoader

    environment = Environment(loader=PackageLoader("ltrp_bench.results.report", "."), autoescape=True)
    folder = Path(__file__).parent
    return environment.get_template("report.html.j2").render(
        title=title,
        data=_embed(gather(source)),
        style=(folder / "report.css").read_text(encoding="utf-8"),
        script="\n".join((folder / name).read_text(encoding="utf-8") for name in ("report_base.js", "report.js")),
        plotly=_plotly(),
    )


def gather(source: _Source) -> dict[str, Any]:
    """All that the page shows, as plain JSON."""
    frame = source.board.frame
    shown = set(frame["selector"])
    tasks = [_task(source, key) for key in _task_keys(frame)]
    shared: dict[str, int] = {}
    return {
        "columns": list(SHOWN),
        "rows": [[_plain(row[name]) for name in SHOWN] for row in frame.to_dict("records")],
        "tasks": tasks,
        "looks": {
            name: {page: look_of(name).on(page) for page in ("light", "dark")}
            | {"symbol": look_of(name).symbol, "dash": _dash(look_of(name).dash)}
            for name in in_order(shown)
        },
        "cells": {r.fingerprint[:16]: _cell(source.store, r, shared) for r in source.records},
        "shared": list(shared),
    }


def _task_keys(frame: pd.DataFrame) -> list[tuple[str, str, str]]:
    keys = frame[["task", "task_id", "reduction"]].drop_duplicates().sort_values(["task", "task_id", "reduction"])
    return [(str(a), str(b), str(c)) for a, b, c in keys.itertuples(index=False)]


def _task(source: _Source, key: tuple[str, str, str]) -> dict[str, Any]:
    task, task_id, reduction = key
    own = [r for r in source.records if (r.task.name, r.task.identity.short, r.reduction) == (task, task_id, reduction)]
    gallery = read_gallery(source.store, task_id)
    # `full` keeps every patch: it has no order to show.
    names = {r.selector.identity.short: r.selector.name for r in own if r.selector.name != FULL}
    label = str(own[0].task.identity.value.get("label_set", ""))
    return {
        "task": task,
        "task_id": task_id,
        "reduction": reduction,
        "metric": own[0].task.headline,
        "label_set": label,
        "categories": _extremes(own),
        "agreement": _agreement(gallery, names),
        "gallery": _gallery(gallery, names),
    }


def _extremes(records: Sequence[CellRecord]) -> list[dict[str, Any]]:
    """Of each selector and keep ratio (its first seed) the best and the worst categories by the headline metric."""
    first: dict[tuple[str, str, float], CellRecord] = {}
    for record in sorted(records, key=lambda r: r.seed):
        first.setdefault((record.selector.name, record.selector.identity.short, record.keep_ratio), record)
    out = []
    for (name, selector_id, ratio), record in sorted(first.items()):
        metric = _category_metric(record)
        rows = [
            (str(row.category), row.value, row.group, row.n)
            for row in record.metrics
            if row.metric == metric and row.category is not None and not math.isnan(row.value)
        ]
        rows.sort(key=lambda row: (-row[1], row[0]))
        best, worst = rows[:EXTREMES], rows[EXTREMES:][-EXTREMES:]
        out.append(
            {
                "selector": name,
                "selector_id": selector_id,
                "keep_ratio": ratio,
                "metric": metric,
                "count": len(rows),
                "cell": record.fingerprint[:16],
                "best": [_rounded(row) for row in best],
                "worst": [_rounded(row) for row in worst],
            }
        )
    return out


def _category_metric(record: CellRecord) -> str:
    """The headline by category, or what stands for it there: AP for mAP, IoU for mIoU."""
    by_category = {row.metric for row in record.metrics if row.category is not None}
    headline = record.task.headline
    return headline if headline in by_category else headline.removeprefix("m")


def _rounded(row: tuple[str, float, str, int]) -> list[Any]:
    return [row[0], round(row[1], 4), row[2], row[3]]


def _agreement(gallery: Gallery, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """For each ratio a matrix of the mean IoU of kept patches between selectors, on the images that are kept."""
    held = {who: ranks for who, ranks in gallery.ranks.items() if who[0] in names}
    first: dict[str, tuple[str, int]] = {}
    for who in sorted(held):
        first.setdefault(who[0], who)
    if len(first) < 2:
        return []
    order = in_order(names[who] for who in first)
    ids = sorted(first, key=lambda who: (order.index(names[who]), who))
    out = []
    for ratio in AGREEMENT_RATIOS:
        matrix = [[agreement(held[first[a]], held[first[b]], ratio) for b in ids] for a in ids]
        out.append(
            {
                "keep_ratio": ratio,
                "selectors": [names[who] for who in ids],
                "images": len(held[first[ids[0]]]),
                "matrix": [[_plain(value) for value in row] for row in matrix],
            }
        )
    return out


def _gallery(gallery: Gallery, names: Mapping[str, str]) -> dict[str, Any] | None:
    if not gallery.images:
        return None
    first: dict[str, Mapping[str, Any]] = {}
    for selector_id, seed in sorted(gallery.ranks):
        if selector_id in names:
            first.setdefault(selector_id, gallery.ranks[selector_id, seed])
    order = in_order(names[who] for who in first)
    ids = sorted(first, key=lambda who: (order.index(names[who]), who))
    images: list[dict[str, Any]] = []
    for image in gallery.images:
        ranks = {who: first[who][image.image_id] for who in ids if image.image_id in first[who]}
        images.append(
            {
                "id": image.image_id,
                "width": image.width,
                "height": image.height,
                "src": "data:image/webp;base64," + base64.b64encode(image.webp).decode(),
                "ranks": {who: {"grid": list(one.shape), "places": one.ravel().tolist()} for who, one in ranks.items()},
            }
        )
    return {"selectors": [[who, names[who]] for who in ids], "images": images}


def _cell(store: RunStore, record: CellRecord, shared: dict[str, int]) -> dict[str, Any]:
    """What a number links to. Texts that many cells have in common are kept once: their numbers in `shared`."""

    def once(text: str) -> int:
        return shared.setdefault(text, len(shared))

    made = store.read_provenance(record.fingerprint)
    versions = made.get("versions")
    return {
        "fingerprint": record.fingerprint,
        "seed": record.seed,
        "images": record.images,
        "skipped": len(record.skipped),
        "command": once(_command(made.get("command"))),
        "finished": str(made.get("finished", "")),
        "machine": str(made.get("machine", "")),
        "device": str(made.get("device", "")),
        "versions": once(", ".join(f"{k} {v}" for k, v in versions.items()) if isinstance(versions, Mapping) else ""),
        "selector": once(json.dumps(record.selector.identity.value, indent=1)),
        "task": once(json.dumps(record.task.identity.value, indent=1)),
    }


def _command(argv: Any) -> str:
    """The command line, its program by name alone."""
    if not isinstance(argv, Sequence) or isinstance(argv, str) or not argv:
        return ""
    return shlex.join([Path(str(argv[0])).name, *(str(part) for part in argv[1:])])


def _plain(value: Any) -> Any:
    """For JSON: null for NaN, "inf" for infinity, few digits."""
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return "inf" if math.isinf(value) else round(value, _DIGITS)
    return value.item() if hasattr(value, "item") else value


def _dash(dash: Sequence[float]) -> str:
    return "solid" if not dash else ",".join(f"{2 * part:g}px" for part in dash)


def _embed(data: Any) -> str:
    """JSON that can stand inside a script element: no tag can be closed or opened in it."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _plotly() -> str:
    """Plotly's script, gzip and base64; the page unpacks it."""
    from plotly.offline import get_plotlyjs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()
