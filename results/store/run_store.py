"""Where finished and half-finished cells lie on disk, and how they come to be there whole.

Layout under one folder (`--out`, default `runs/`):

    cells/<fingerprint>.json         the record; written last: where it is, the cell is done
    records/<fingerprint>.parquet    one row an image: image_id and the list of the task's rows
    evidence/<fingerprint>.npz       what its metrics can be resampled from (evidence_store.py)
    bootstrap/<fingerprint>.npz      cache of its metrics under the draws (replicates.py)
    provenance/<fingerprint>.json    when, where, with which versions: no part of the result
    partial/<group>/<first>-<end>.parquet   finished chunks of unfinished cells
    gallery/                         images and ranks for the report (gallery.py)
    scores/                          cache of scores (harness/evaluation/score_cache.py)
    tmp/                             unfinished files
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from ltrp_bench.results.schema.atomic_io import atomic_write, exclusive, remove_stale
from ltrp_bench.results.schema.image_rows import (
    Images,
    Schema,
    footer,
    from_chunk,
    from_parquet,
    rows_digest,
    to_chunk,
    to_parquet,
)
from ltrp_bench.results.schema.record import CellRecord, ResultsError
from ltrp_bench.results.schema.rows import Row
from ltrp_bench.results.store.summary_store import from_npz, to_npz
from ltrp_bench.results.summaries.base import ResamplingSummary

_CELL: Final = re.compile(r"[0-9a-f]{64}\.json")


class RunStore:
    """All cells under one folder; safe for several processes, and for a kill at any moment.

    Every file is written beside and renamed, and equal cells have equal bytes: two writers of one cell do
    no harm. `lock` lets several processes share the work of one run.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tmp = root / "tmp"

    def prepare(self) -> None:
        """Make the folder; clear what killed processes left. Raises ResultsError if it cannot be made."""
        try:
            self.tmp.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ResultsError(f"{self.root} cannot be made a folder: {error.strerror}") from error
        remove_stale(self.tmp)

    def cell_path(self, fingerprint: str) -> Path:
        """The record's file."""
        return self.root / "cells" / f"{fingerprint}.json"

    def rows_path(self, fingerprint: str) -> Path:
        """The per-image rows' file."""
        return self.root / "records" / f"{fingerprint}.parquet"

    def evidence_path(self, fingerprint: str) -> Path:
        """The evidence's file; tasks without evidence leave none."""
        return self.root / "evidence" / f"{fingerprint}.npz"

    def provenance_path(self, fingerprint: str) -> Path:
        """The file of when, where and how a cell was measured."""
        return self.root / "provenance" / f"{fingerprint}.json"

    def write(self, path: Path, data: bytes) -> None:
        """Write any file of the store whole or not at all. Raises ResultsError for a full disk."""
        atomic_write(path, data, self.tmp)

    # -- finished cells

    def finished(self, fingerprint: str) -> CellRecord | None:
        """The record if the cell is done, else None.

        Raises:
            ResultsError: if its record or its per-image file was altered, cut short or removed.
        """
        if not self.cell_path(fingerprint).exists():
            return None
        record = self.read_cell(fingerprint)
        path = self.rows_path(fingerprint)
        if footer(path).get("rows_sha256") != record.records_sha256:
            raise ResultsError(
                f"{path} was altered: it does not belong to its cell's record; delete both and run again"
            )
        return record

    def write_cell(
        self,
        record: CellRecord,
        images: Mapping[str, Sequence[Row]],
        schema: Schema,
        provenance: Mapping[str, Any],
        evidence: ResamplingSummary | Mapping[str, Any] | None = None,
    ) -> CellRecord:
        """Store a finished cell; the record comes last, so that a kill before leaves the cell unfinished.

        Args:
            record: its `records_sha256` is filled in here.
            images: normalised rows of each image, in the data set's order.
            schema: the task's `row_schema`.
            provenance: when, where and with what it was made; plain JSON.
            evidence: as the task's `evidence` makes it; None of a task without.

        Returns:
            The record as stored.
        """
        record = replace(record, records_sha256=rows_digest(images))
        fingerprint = record.fingerprint
        rows = to_parquet(images, schema, {"fingerprint": fingerprint}, record.records_sha256)
        self.write(self.rows_path(fingerprint), rows)
        text = json.dumps(provenance, sort_keys=True, indent=1) + "\n"
        self.write(self.provenance_path(fingerprint), text.encode())
        # What lies there may be of older rows.
        self.evidence_path(fingerprint).unlink(missing_ok=True)
        self.write_evidence(record, evidence)
        self.write(self.cell_path(fingerprint), record.to_json().encode())
        return record

    def write_evidence(self, record: CellRecord, evidence: ResamplingSummary | Mapping[str, Any] | None) -> None:
        """Store a cell's evidence beside it; nothing if there is none. `record` is as stored."""
        if evidence is not None:
            self.write(self.evidence_path(record.fingerprint), to_npz(evidence, record.records_sha256))

    def read_evidence(self, record: CellRecord) -> ResamplingSummary | None:
        """A finished cell's evidence, checked against the record; None if there is none. Raises ResultsError."""
        path = self.evidence_path(record.fingerprint)
        return from_npz(path, record) if path.exists() else None

    def read_provenance(self, fingerprint: str) -> dict[str, Any]:
        """When, where and how a cell was measured; empty if that is not known any more."""
        try:
            found = json.loads(self.provenance_path(fingerprint).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def read_cell(self, fingerprint: str) -> CellRecord:
        """The record; ResultsError if it is missing, altered, cut short or another cell's."""
        path = self.cell_path(fingerprint)
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ResultsError(f"{path} is damaged; delete it and run again") from error
        except OSError as error:
            raise ResultsError(f"{path} cannot be read: {error.strerror}") from error
        record = CellRecord.from_json(text, str(path))
        if record.fingerprint != fingerprint:
            raise ResultsError(f"{path} holds the record of another cell ({record.fingerprint[:16]})")
        return record

    def read_cells(self) -> list[CellRecord]:
        """Every finished cell, by fingerprint. Raises ResultsError if the folder or a record is bad."""
        folder = self.root / "cells"
        if not self.root.is_dir():
            raise ResultsError(f"{self.root} is no folder; `ltrp-bench run --out {self.root}` makes one")
        names = sorted(path.name for path in folder.glob("*.json")) if folder.is_dir() else []
        return [self.read_cell(name.removesuffix(".json")) for name in names if _CELL.fullmatch(name)]

    def read_images(self, fingerprint: str) -> Images:
        """The per-image rows of a finished cell, checked against the record. Raises ResultsError."""
        record = self.read_cell(fingerprint)
        images, meta = from_parquet(self.rows_path(fingerprint))
        if meta["rows_sha256"] != record.records_sha256:
            raise ResultsError(f"{self.rows_path(fingerprint)} does not belong to its cell's record")
        return images

    # -- finished chunks of unfinished cells

    def chunk_path(self, group: str, first: int, end: int) -> Path:
        """File of the images `first` to `end` - 1 of a group of cells (one selector, task and seed)."""
        return self.root / "partial" / group / f"{first:08d}-{end:08d}.parquet"

    def write_chunk(
        self,
        group: str,
        span: tuple[int, int],
        cells: Mapping[str, Mapping[str, Sequence[Row]]],
        schema: Schema,
        skipped: Mapping[str, str],
    ) -> None:
        """Store the rows of one chunk for several cells; `skipped` is image id -> why it was left out."""
        data = to_chunk(cells, schema, {"skipped": list(skipped.items())})
        self.write(self.chunk_path(group, *span), data)

    def read_chunk(
        self, group: str, span: tuple[int, int], wanted: Collection[str]
    ) -> tuple[dict[str, Images], dict[str, str]] | None:
        """Rows of the `wanted` cells as far as the chunk holds them, and what was left out, id -> why.

        None if there is no such chunk or it is damaged: it is only work to be done again.
        """
        path = self.chunk_path(group, *span)
        if not path.exists():
            return None
        try:
            cells, meta = from_chunk(path, wanted)
        except (ResultsError, KeyError):
            return None
        return cells, {str(key): str(why) for key, why in meta["skipped"]}

    def drop_chunks(self, group: str) -> None:
        """Remove a group's chunks once its cells are stored."""
        shutil.rmtree(self.root / "partial" / group, ignore_errors=True)

    @contextlib.contextmanager
    def lock(self, group: str, wait: bool) -> Iterator[bool]:
        """Keep other processes off a group; gives False if one has it and `wait` is off."""
        with exclusive(self.root / "partial" / f"{group}.lock", wait) as held:
            yield held
