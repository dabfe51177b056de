"""What a sweep would do: cells that are done, work that is left, its time and disk space. Nothing is written."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from ltrp_bench.harness.evaluation.cell_writer import CellWriter
from ltrp_bench.harness.evaluation.environment import cpu_threads, device_name
from ltrp_bench.harness.evaluation.execution.serial_executor import SerialExecutor
from ltrp_bench.harness.evaluation.execution.span_work import SpanBatch, SpanResult, SpanWork
from ltrp_bench.harness.evaluation.loading import SpanLoading
from ltrp_bench.harness.evaluation.options import SweepOptions
from ltrp_bench.harness.evaluation.plan import Cell, CellGroup, by_task
from ltrp_bench.harness.evaluation.score_cache import ScoreCache
from ltrp_bench.results.schema.image_rows import to_chunk
from ltrp_bench.results.schema.record import CellRecord
from ltrp_bench.results.store.run_store import RunStore

TRIED: Final = 4
"""Images on which costs are measured that no finished cell tells."""

CELL_BYTES: Final = 8192
"""Record and provenance of a cell, about."""


@dataclass(frozen=True, kw_only=True)
class GroupForecast:
    """State of the cells of one selector, task and seed, and what is left to do.

    Attributes:
        group: the cells.
        done: keep ratios of finished cells.
        open: keep ratios of the others.
        images: images of each cell.
        held: images of the open cells, summed over them, whose rows are on disk.
        left: images that at least one open cell lacks.
        scored: images whose scores are cached.
        seconds: time of what is left, in one process; without reading the images.
        tried: True if it was measured on a few images, False if it follows from finished cells.
        bytes: disk space of what is left.
    """

    group: CellGroup
    done: tuple[float, ...]
    open: tuple[float, ...]
    images: int
    held: int
    left: int
    scored: int
    seconds: float
    tried: bool
    bytes: float


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a sweep would do.

    Attributes:
        groups: one a group, in the order of the plan.
        reading: seconds in which the images that are left are read, once for all groups of a task.
    """

    groups: Sequence[GroupForecast]
    reading: float

    @property
    def seconds(self) -> float:
        """Time of all that is left, in one process."""
        return self.reading + sum(one.seconds for one in self.groups)


@dataclass(frozen=True, kw_only=True)
class _Costs:
    """Milliseconds of an image, and bytes of an image and cell."""

    selector_ms: float
    model_ms: Mapping[float, float]
    bytes: float
    tried: bool

    def model_at(self, ratio: float) -> float:
        """Milliseconds of the model at a keep ratio; those of other ratios where it is not known."""
        return self.model_ms.get(ratio, statistics.fmean(self.model_ms.values()) if self.model_ms else 0.0)


def forecast(groups: Sequence[CellGroup], store: RunStore, options: SweepOptions) -> Forecast:
    """Forecast a sweep.

    Args:
        groups: as returned by `plan.plan`.
        store: folder of the results, which need not exist.
        options: options of the sweep.

    Raises:
        ResultsError: a damaged record. BenchError: a selector or a task fails on the images that are tried.
    """
    records = store.read_cells() if (store.root / "cells").is_dir() else []
    found, reading = [], 0.0
    for own in by_task(groups, lambda group: group):
        writers = [CellWriter(group, store, skip_unreadable=options.skip_bad_images) for group in own]
        missing = [writer.missing() for writer in writers]
        most = max(sum(end - first for first, end in spans) for spans in missing)
        patches = 0
        if most:
            task = own[0].task
            SpanLoading(task.task, (0, 1), None, True).result()  # warms up
            span = (1, 1 + TRIED) if task.images > TRIED else (0, task.images)
            began = time.perf_counter()
            loaded = SpanLoading(task.task, span, None, True).result()
            reading += most * (time.perf_counter() - began) / (span[1] - span[0])
            patches = max((gh * gw for gh, gw in loaded.grids), default=0)
        for group, writer, spans in zip(own, writers, missing, strict=True):
            parts = [(end - first, cells) for (first, end), cells in spans.items()]
            found.append(_group_forecast(group, writer, parts, patches, store, options, records))
    return Forecast(groups=found, reading=reading)


def _group_forecast(
    group: CellGroup,
    writer: CellWriter,
    parts: Sequence[tuple[int, tuple[Cell, ...]]],
    patches: int,
    store: RunStore,
    options: SweepOptions,
    records: Sequence[CellRecord],
) -> GroupForecast:
    pending, images = writer.pending, group.task.images
    left = sum(count for count, _ in parts)
    to_measure = sum(count * len(cells) for count, cells in parts)
    scored = min(images, ScoreCache(store, group, lambda line: None).spans() * len(range(*writer.spans[0])))
    seconds = space = 0.0
    tried = False
    if parts:
        costs = _known_costs(group, store, options, records) or _tried_costs(group, pending, store, options)
        to_score = min(left, images - scored)
        milliseconds = costs.selector_ms * to_score
        milliseconds += sum(count * costs.model_at(cell.keep_ratio) for count, cells in parts for cell in cells)
        seconds, tried = milliseconds / 1000, costs.tried
        space = costs.bytes * to_measure + 4.0 * patches * to_score
    return GroupForecast(
        group=group,
        done=tuple(cell.keep_ratio for cell in group.cells if cell not in pending),
        open=tuple(cell.keep_ratio for cell in pending),
        images=images,
        held=images * len(pending) - to_measure,
        left=left,
        scored=scored,
        seconds=seconds,
        tried=tried,
        bytes=space + (CELL_BYTES * len(pending) if parts else 0),
    )


def _known_costs(
    group: CellGroup, store: RunStore, options: SweepOptions, records: Sequence[CellRecord]
) -> _Costs | None:
    """Costs of finished cells of the selector on the task, measured here on this device; None if there are none."""
    scores, models, sizes = [], {}, []
    for record in records:
        if record.selector.identity != group.selector.info.identity or record.task.name != group.task.info.name:
            continue
        about = store.read_provenance(record.fingerprint)
        cost = about.get("cost") or {}
        here = (about.get("machine"), about.get("device")) == (platform.node(), device_name(options.device))
        if not here or cost.get("selector_ms") is None or not record.images:
            continue
        scores.append(float(cost["selector_ms"]))
        models[record.keep_ratio] = float(cost.get("model_ms") or 0.0)
        files = (store.rows_path(record.fingerprint), store.summary_path(record.fingerprint))
        sizes.append(sum(_size(file) for file in files) / record.images)
    if not scores:
        return None
    return _Costs(selector_ms=statistics.median(scores), model_ms=models, bytes=statistics.fmean(sizes), tried=False)


def _tried_costs(group: CellGroup, cells: tuple[Cell, ...], store: RunStore, options: SweepOptions) -> _Costs:
    """Costs of a few images that are evaluated now; the second time counts, since the first one warms up."""
    span = (0, min(TRIED, group.task.images))
    work = SpanWork(group=group, span=span, cells=cells)
    batch = SpanBatch(task=group.task, span=span, works=[work])
    result: SpanResult | None = None
    with cpu_threads(options.threads), SerialExecutor(store, replace(options, workers=0)) as executor:
        for _ in range(2):
            ((_, result),) = list(executor.run([batch], lambda label: None, lambda: 0))
    assert result is not None
    scores = result.costs.scores
    images = max(1, span[1] - len(result.unreadable))
    size = len(to_chunk(result.rows, group.task.task.row_schema, {})) / images / max(1, len(cells))
    return _Costs(
        selector_ms=0.0 if scores is None else scores.ms,
        model_ms={cell.keep_ratio: result.costs.model_ms.get(cell.fingerprint, 0.0) for cell in cells},
        bytes=size,
        tried=True,
    )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
