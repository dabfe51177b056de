"""Content of the report: everything that the page shows of a run folder, as plain JSON."""

from __future__ import annotations

import base64
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from ltrp_bench.results.leaderboard.build import Leaderboard
from ltrp_bench.results.leaderboard.exposure_text import few_text, note_places, split_text
from ltrp_bench.results.leaderboard.roles import SelectorRoles
from ltrp_bench.results.leaderboard.rows import by_rank
from ltrp_bench.results.leaderboard.table_notes import table_notes
from ltrp_bench.results.report.findings import findings
from ltrp_bench.results.report.page_costs import task_costs
from ltrp_bench.results.report.style import legend_order, style_of
from ltrp_bench.results.schema.record import CellRecord
from ltrp_bench.results.schema.redaction import Redaction
from ltrp_bench.results.store.gallery import Gallery, agreement, read_gallery
from ltrp_bench.results.store.run_store import RunStore

_WHOLE: Final = ("retention_all", "retention_seen", "retention_unseen", "gap_from_whole")
"""Columns of comparisons with the whole image."""

SHOWN: Final = (
    *("task", "task_id", "reduction", "metric", "keep_ratio", "ratios", "selector", "selector_id", "supervision"),
    *("all", "all_low", "all_high", "seen", "seen_low", "seen_high", "unseen", "unseen_low", "unseen_high"),
    *("gap", "gap_low", "gap_high", "gap_adjusted", "gap_adjusted_low", "gap_adjusted_high"),
    *(f"{name}{end}" for name in _WHOLE for end in ("", "_low", "_high")),
    *("rank", "rank_last", "unseen_rank", "unseen_rank_last", "break_even_random", "break_even_downsample"),
    *("break_even_random_range", "break_even_downsample_range"),
    *("selector_ms", "selector_gflops", "images_per_second", "machine", "seeds", "images", "complete", "missing"),
    *("latency_both_ms", "latency_both_ms_p90", "break_even_time_b1", "break_even_time_b1_range"),
    "fingerprints",
)
"""Columns of the leaderboard that the page has."""

EXTREMES: Final = 5
"""Number of best and of worst categories that are listed."""

AGREEMENT_RATIOS: Final = (0.1, 0.25, 0.5)

_DIGITS: Final = 5

Ranks = Mapping[str, np.ndarray]
"""Image id -> [gh, gw] rank of each patch."""


@dataclass(frozen=True)
class ReportSource:
    """Input of a report.

    Attributes:
        store: where the records are.
        records: cells of the report.
        leaderboard: their leaderboard.
        redaction: what the page must not say of this machine; None to say everything.
        with_findings: False leaves out the sentences about the leaderboard, where it has only some of the rows.
        labs: fingerprint -> names of the archives that hold the cell, in a site.
    """

    store: RunStore
    records: Sequence[CellRecord]
    leaderboard: Leaderboard
    redaction: Redaction | None = None
    with_findings: bool = True
    labs: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def text(self, text: str) -> str:
        """Text as the page may show it."""
        return text if self.redaction is None else self.redaction.text(text)

    def json(self, value: Any) -> str:
        """JSON text of an identity as the page may show it."""
        return json.dumps(value if self.redaction is None else self.redaction.json(value), indent=1)


def report_data(source: ReportSource) -> dict[str, Any]:
    """Content of the page, as plain JSON.

    Texts that many cells have in common are stored once, in "shared"; cells refer to them by index. Rows of exposed
    selectors refer to the notes of their task in the same way.
    """
    frame, roles = source.leaderboard.frame, source.leaderboard.roles
    shared: dict[str, int] = {}
    rows = sorted(({str(name): value for name, value in row.items()} for row in frame.to_dict("records")), key=by_rank)
    tasks: list[dict[str, Any]] = []
    notes: dict[int, int | None] = {}
    for key in _task_keys(frame):
        own = [i for i, row in enumerate(rows) if (row["task"], row["task_id"], row["reduction"]) == key]
        part = [rows[i] for i in own]
        task = {**_task(source, key), "label": source.text(_label(part[0], "task")), **_table_texts(part)}
        headline = {i: row for i, row in zip(own, part, strict=True) if row["metric"] == task["metric"]}
        tasks.append({**task, "costs": task_costs(headline, roles)})
        notes |= zip(own, note_places(part), strict=True)
    return {
        "columns": [*SHOWN, "note"],
        "rows": [[*(_json_value(row.get(name)) for name in SHOWN), notes[i]] for i, row in enumerate(rows)],
        "tasks": tasks,
        "labels": {str(row["selector_id"]): source.text(label) for row in rows if (label := _label(row, "selector"))},
        "styles": {name: _style(name) for name in legend_order(frame["selector"], roles)},
        "cells": {r.short_fingerprint: _cell(source, r, shared) for r in source.records},
        "shared": list(shared),
        "findings": list(findings(rows, roles)) if source.with_findings else [],
        "intervals": any(_json_value(row.get(name)) is not None for row in rows for name in ("all_low", "gap_low")),
    }


def _label(row: Mapping[str, Any], what: str) -> str:
    """Name of a row's task or selector where it is another one than the registry's."""
    shown = str(row.get(f"{what}_name") or "")
    return "" if shown == row[what] else shown


def _task_keys(frame: pd.DataFrame) -> list[tuple[str, str, str]]:
    keys = frame[["task", "task_id", "reduction"]].drop_duplicates().sort_values(["task", "task_id", "reduction"])
    return [(str(a), str(b), str(c)) for a, b, c in keys.itertuples(index=False)]


def _table_texts(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Texts about the table of a task."""
    return {"split": split_text(rows), "few": few_text(rows), "notes": table_notes(rows)}


def _style(name: str) -> dict[str, str]:
    style = style_of(name)
    dash = ",".join(f"{2 * part:g}px" for part in style.dash) or "solid"
    return {"light": style.color("light"), "dark": style.color("dark"), "symbol": style.symbol, "dash": dash}


def _task(source: ReportSource, key: tuple[str, str, str]) -> dict[str, Any]:
    task, task_id, reduction = key
    own = [r for r in source.records if (r.task.name, r.task.identity.short, r.reduction) == (task, task_id, reduction)]
    gallery = read_gallery(source.store, task_id)
    roles = source.leaderboard.roles
    ranking = [r.selector for r in own if not roles.keeps_every_patch(r.selector.name)]
    names = {selector.identity.short: selector.name for selector in ranking}
    label = str(own[0].task.identity.value.get("label_set", ""))
    return {
        "task": task,
        "task_id": task_id,
        "reduction": reduction,
        "metric": own[0].task.headline,
        "label_set": label,
        "categories": _extremes(own),
        "agreement": _agreement(gallery, names, roles),
        "gallery": _gallery(source, gallery, names),
    }


def _extremes(records: Sequence[CellRecord]) -> list[dict[str, Any]]:
    """Best and worst categories by the headline metric, for each selector and keep ratio (first seed)."""
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
                "cell": record.short_fingerprint,
                "best": [_rounded(row) for row in best],
                "worst": [_rounded(row) for row in worst],
            }
        )
    return out


def _category_metric(record: CellRecord) -> str:
    """Name of the headline metric for single categories: AP for mAP, IoU for mIoU, else the same."""
    by_category = {row.metric for row in record.metrics if row.category is not None}
    headline = record.task.headline
    return headline if headline in by_category else headline.removeprefix("m")


def _rounded(row: tuple[str, float, str, int]) -> list[Any]:
    return [row[0], round(row[1], 4), row[2], row[3]]


def _agreement(gallery: Gallery, names: Mapping[str, str], roles: SelectorRoles) -> list[dict[str, Any]]:
    """Matrix of the mean IoU of the kept patches between selectors, for each of `AGREEMENT_RATIOS`."""
    ranks = _first_seed_ranks(gallery, names, roles)
    if len(ranks) < 2:
        return []
    return [
        {
            "keep_ratio": ratio,
            "selectors": [names[selector_id] for selector_id in ranks],
            "ids": list(ranks),
            "images": len(next(iter(ranks.values()))),
            "matrix": [[_json_value(agreement(a, b, ratio)) for b in ranks.values()] for a in ranks.values()],
        }
        for ratio in AGREEMENT_RATIOS
    ]


def _first_seed_ranks(gallery: Gallery, names: Mapping[str, str], roles: SelectorRoles) -> dict[str, Ranks]:
    """Selector id -> ranks of its first seed, in the order of legends."""
    first: dict[str, Ranks] = {}
    for selector_id, seed in sorted(gallery.ranks):
        if selector_id in names:
            first.setdefault(selector_id, gallery.ranks[selector_id, seed])
    order = legend_order((names[selector_id] for selector_id in first), roles)
    return {key: first[key] for key in sorted(first, key=lambda key: (order.index(names[key]), key))}


def _gallery(source: ReportSource, gallery: Gallery, names: Mapping[str, str]) -> dict[str, Any] | None:
    if not gallery.images:
        return None
    by_selector = _first_seed_ranks(gallery, names, source.leaderboard.roles)
    images = []
    for image in gallery.images:
        ranks = {key: one[image.image_id] for key, one in by_selector.items() if image.image_id in one}
        images.append(
            {
                "id": source.text(image.image_id),
                "width": image.width,
                "height": image.height,
                "src": "data:image/webp;base64," + base64.b64encode(image.webp).decode(),
                "ranks": {key: {"grid": list(one.shape), "ranks": one.ravel().tolist()} for key, one in ranks.items()},
            }
        )
    return {"selectors": [[key, names[key]] for key in by_selector], "images": images}


def _cell(source: ReportSource, record: CellRecord, shared: dict[str, int]) -> dict[str, Any]:
    """Details of a cell; adds its long texts to `shared` and refers to them by index."""

    def index(text: str) -> int:
        return shared.setdefault(text, len(shared))

    provenance = source.store.read_provenance(record.fingerprint)
    if source.redaction is not None:
        provenance = source.redaction.provenance(provenance)
    versions = provenance.get("versions")
    return {
        "fingerprint": record.fingerprint,
        "labs": ", ".join(source.labs.get(record.fingerprint, ())),
        "seed": record.seed,
        "images": record.images,
        "skipped": len(record.skipped),
        "command": index(_command(provenance.get("command"))),
        "finished": str(provenance.get("finished", "")),
        "machine": str(provenance.get("machine", "")),
        "device": str(provenance.get("device", "")),
        "versions": index(", ".join(f"{k} {v}" for k, v in versions.items()) if isinstance(versions, Mapping) else ""),
        "selector": index(source.json(record.selector.identity.value)),
        "task": index(source.json(record.task.identity.value)),
    }


def _command(argv: Any) -> str:
    """The command line, with the name of the program instead of its path."""
    if not isinstance(argv, Sequence) or isinstance(argv, str) or not argv:
        return ""
    return shlex.join([Path(str(argv[0])).name, *(str(part) for part in argv[1:])])


def _json_value(value: Any) -> Any:
    """Value for JSON: null for NaN, "inf" for infinity, rounded floats, Python numbers for NumPy's."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return "inf" if math.isinf(value) else round(value, _DIGITS)
    return value
