"""Last stage of a sweep: writes the rows of spans and, once a cell is complete, its record."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from ltrp_bench.harness.evaluation.loading import Span, spans
from ltrp_bench.harness.evaluation.plan import Cell, CellGroup
from ltrp_bench.results.schema.image_rows import Images
from ltrp_bench.results.schema.record import CellRecord, ResultsError, metric_rows
from ltrp_bench.results.store.run_store import RunStore
from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.base import Omission

SPAN_IMAGES: Final = 64
"""Images per span: the largest number of images of a group that must be repeated after a crash."""


class CellWriter:
    """Keeps the state of one group of cells on disk: which rows are there, and which cells are finished.

    Args:
        group: the cells.
        store: the run's folder.
        skip_unreadable: True if images may be left out. Otherwise results without some images count as unfinished.

    Attributes:
        pending: cells that are not finished.
    """

    def __init__(self, group: CellGroup, store: RunStore, *, skip_unreadable: bool) -> None:
        self._group, self._store, self._skip_unreadable = group, store, skip_unreadable
        self._task, self._key = group.task.task, group.key
        self.spans = spans(group.task.images, SPAN_IMAGES)
        self.pending = tuple(cell for cell in group.cells if not self._finished(cell))

    def _finished(self, cell: Cell) -> bool:
        record = self._store.finished(cell.fingerprint)
        return record is not None and (self._skip_unreadable or not record.skipped)

    def missing(self) -> dict[Span, tuple[Cell, ...]]:
        """Spans, in order, that lack rows of pending cells on disk, each with those cells."""
        found = {span: self._missing(span) for span in self.spans}
        return {span: cells for span, cells in found.items() if cells}

    def still_missing(self, span: Span) -> tuple[Cell, ...]:
        """The cells that `missing` says of a span now, when another process may have been at work."""
        self.pending = tuple(cell for cell in self.pending if not self._finished(cell))
        return self._missing(span)

    def _missing(self, span: Span) -> tuple[Cell, ...]:
        held = self._read(span, self.pending)
        if held is None or (held[1] and not self._skip_unreadable):
            return self.pending
        return tuple(cell for cell in self.pending if cell.fingerprint not in held[0])

    def write_span(self, span: Span, rows: Mapping[str, Images], unreadable: Mapping[str, str]) -> None:
        """Store a span's rows, beside those on disk of cells that were not measured now.

        Args:
            span: the images.
            rows: fingerprint of the cell -> rows of each image.
            unreadable: image id -> why the image could not be read.
        """
        merged: dict[str, Images] = {}
        held = self._store.read_chunk(self._key, span)
        if held is not None and held[1].keys() == unreadable.keys():
            merged.update(held[0])
        merged.update(rows)
        self._store.write_chunk(self._key, span, merged, self._task.row_schema, unreadable)

    def finish(self, provenance: Mapping[str, Any], cost: Callable[[str], Mapping[str, Any]]) -> None:
        """Finish every pending cell; all spans are on disk. What another process has finished meanwhile is kept.

        Args:
            provenance: plain JSON to store beside each record.
            cost: returns the cost of a cell by its fingerprint.
        """
        with self._store.lock(self._key, wait=True):
            for cell in self.pending:
                if not self._finished(cell):
                    self._finish(cell, {**provenance, "cost": cost(cell.fingerprint)})
            if self.pending:
                self._store.drop_chunks(self._key)
            self.pending = ()

    def _finish(self, cell: Cell, provenance: Mapping[str, Any]) -> None:
        """Compute a cell's metrics and resampling summary from its rows, and store its record.

        Rows are read back from disk, so that an interrupted run and an uninterrupted one end with the same bytes.

        Args:
            cell: a pending cell with rows of every span on disk.
            provenance: plain JSON to store beside the record; the selector's role, the skipped images and what
                was assumed are added.

        Raises:
            ResultsError: a span's file is gone. InputError: no image could be read, or ids are not unique.
        """
        images, skipped = self._collect(cell)
        record = CellRecord(
            fingerprint=cell.fingerprint,
            selector=self._group.selector.info,
            task=self._group.task.info,
            keep_ratio=cell.keep_ratio,
            seed=self._group.seed,
            reduction=self._task.reduction,
            images=len(images),
            skipped=tuple(skipped),
            metrics=metric_rows(self._task.compute_metrics(images)),
            records_sha256="",
        )
        # An older record of fewer images is removed first: if killed now, it would not match the new rows.
        self._store.cell_path(cell.fingerprint).unlink(missing_ok=True)
        summary = self._task.resampling_summary(images)
        selector = self._group.selector.selector
        about = {**provenance, "role": selector.role, "skipped": skipped}
        if assumed := [*selector.assumptions, *self._task.assumptions]:
            about["assumed"] = assumed
        if omitted := [omission.to_json() for omission in self._task.omissions(images)]:
            about["omitted"] = omitted
        if selector.keeps_every_patch:
            about["keeps_every_patch"] = True
        self._store.write_cell(record, images, self._task.row_schema, about, summary)

    def _collect(self, cell: Cell) -> tuple[Images, dict[str, str]]:
        """Rows of every image of a cell, and image id -> reason of those left out."""
        images: Images = {}
        skipped: dict[str, str] = {}
        name = self._task.name
        for first, end in self.spans:
            held = self._read((first, end), [cell])
            if held is None or cell.fingerprint not in held[0]:
                path = self._store.chunk_path(self._key, first, end)
                raise ResultsError(f"{path} went missing during the run; start the same command again")
            rows, unreadable = held[0][cell.fingerprint], held[1]
            if len(rows) + len(unreadable) != end - first or rows.keys() & images.keys():
                raise InputError(f"task {name!r} gives one image id to several images")
            images.update(rows)
            skipped.update(unreadable)
        if not images:
            raise InputError(f"task {name!r}: not one of its {len(skipped)} images could be read")
        return images, skipped

    def add_missing_summaries(self) -> None:
        """Store the resampling summaries of finished cells that have none (made by an older version, or deleted)."""
        for cell in self._group.cells:
            if cell not in self.pending and not self._store.summary_path(cell.fingerprint).exists():
                summary = self._task.resampling_summary(self._store.read_images(cell.fingerprint))
                self._store.write_summary(self._store.read_cell(cell.fingerprint), summary)

    def _read(self, span: Span, cells: Sequence[Cell]) -> tuple[dict[str, Images], dict[str, str]] | None:
        """Rows on disk of some cells, by fingerprint, and why images were left out; None if there are none."""
        return self._store.read_chunk(self._key, span, [cell.fingerprint for cell in cells])


def skip_reason(store: RunStore, record: CellRecord, image: str) -> str | None:
    """Reason why an image was left out of a finished cell; None if no reason was stored."""
    try:
        return str(store.read_provenance(record.fingerprint)["skipped"][image])
    except (KeyError, TypeError):
        return None


def measured(record: CellRecord) -> bool:
    """True if the headline metric of a cell has a value in any group."""
    return any(
        row.metric == record.task.headline and row.category is None and math.isfinite(row.value)
        for row in record.metrics
    )


def omission_lines(store: RunStore, records: Iterable[CellRecord]) -> list[str]:
    """Lines on what the tasks of finished cells changed and left out, each once; none of cells of older versions."""
    lines: dict[str, None] = {}
    for record in records:
        try:
            stored = store.read_provenance(record.fingerprint)["omitted"]
            found = [Omission.from_json(one).line for one in stored]
        except (KeyError, TypeError):
            continue
        lines.update(dict.fromkeys(f"{record.task.name}: {line}" for line in found))
    return list(lines)
