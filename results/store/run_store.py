"""The run folder: finished and unfinished cells on disk.

Layout of a run folder (`--out`, by default `runs/`):

    cells/<fingerprint>.json         the record; written last, so a cell with a record is finished
    records/<fingerprint>.parquet    one row per image: image_id and the list of the task's rows
    evidence/<fingerprint>.npz       resampling summary, for intervals (summary_store.py)
    bootstrap/<fingerprint>.npz      cached bootstrap estimates (replicates.py)
    provenance/<fingerprint>.json    time, machine, versions and cost; not part of the result
    replicates/<fingerprint>/<digest>/    the same cell measured elsewhere: the four files above (cell_replicates.py)
    partial/<group>/<first>-<end>.parquet   finished chunks of unfinished cells
    gallery/                         images and ranks for the report (gallery.py)
    latency/                         measured latencies (latency.py)
    labels.json                      labels of selectors and tasks (labels.py)
    sweep.yaml, sweep.<n>.yaml       the sweep of the last run and earlier ones (harness/sweeps/stored.py)
    scores/                          cached scores (harness/evaluation/score_cache.py)
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
from ltrp_bench.results.schema.damage import damaged
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

REPLICATES: Final = "replicates"
"""Folder of the replicates of cells."""

_CELL: Final = re.compile(r"[0-9a-f]{64}\.json")


class RunStore:
    """Cells of one run folder. Several processes may use it at once, and each may be killed at any time.

    Files are written under a temporary name and renamed, and equal cells have equal bytes, so two processes may write
    the same cell. `lock` lets several processes share the work of one run.

    Args:
        root: the run folder.

    Attributes:
        root: the run folder.
        tmp: folder of unfinished files.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tmp = root / "tmp"

    def prepare(self) -> None:
        """Create the folder, and remove files left by killed processes. Raises ResultsError if it cannot be created."""
        try:
            self.tmp.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ResultsError(f"the folder {self.root} cannot be created: {error.strerror}") from error
        remove_stale(self.tmp)

    def cell_path(self, fingerprint: str) -> Path:
        """File of a cell's record."""
        return self.root / "cells" / f"{fingerprint}.json"

    def rows_path(self, fingerprint: str) -> Path:
        """File of a cell's per-image rows."""
        return self.root / "records" / f"{fingerprint}.parquet"

    def summary_path(self, fingerprint: str) -> Path:
        """File of a cell's resampling summary; some tasks have none."""
        return self.root / "evidence" / f"{fingerprint}.npz"

    def provenance_path(self, fingerprint: str) -> Path:
        """File of a cell's provenance."""
        return self.root / "provenance" / f"{fingerprint}.json"

    def write(self, path: Path, data: bytes, *, sync: bool = True) -> None:
        """Write a file of the run folder atomically; `sync` as in `atomic_write`.

        Raises:
            ResultsError: the disk is full, or the folder cannot be written.
        """
        atomic_write(path, data, self.tmp, sync=sync)

    # -- finished cells

    def finished(self, fingerprint: str) -> CellRecord | None:
        """Record of a cell if it is finished, else None.

        Raises:
            ResultsError: the record or the file of its rows was altered, truncated or removed.
        """
        if not self.cell_path(fingerprint).exists():
            return None
        record = self.read_cell(fingerprint)
        path = self.rows_path(fingerprint)
        if footer(path).get("rows_sha256") != record.records_sha256:
            raise ResultsError(
                f"{path} was altered: it does not belong to the record of its cell; delete both and run again"
            )
        return record

    def write_cell(
        self,
        record: CellRecord,
        images: Mapping[str, Sequence[Row]],
        schema: Schema,
        provenance: Mapping[str, Any],
        summary: ResamplingSummary | Mapping[str, Any] | None = None,
    ) -> CellRecord:
        """Store a finished cell. The record is written last, so that a killed process leaves the cell unfinished.

        Args:
            record: the record; `records_sha256` is filled in here.
            images: image id -> normalised rows, in the order of the data set.
            schema: the task's `row_schema`.
            provenance: time, machine, versions and cost; plain JSON.
            summary: what `Task.resampling_summary` returned; None if the task has none.

        Returns:
            The stored record.
        """
        record = replace(record, records_sha256=rows_digest(images))
        fingerprint = record.fingerprint
        rows = to_parquet(images, schema, {"fingerprint": fingerprint}, record.records_sha256)
        self.write(self.rows_path(fingerprint), rows)
        self.write(self.provenance_path(fingerprint), provenance_bytes(provenance))
        # An existing summary may belong to older rows.
        self.summary_path(fingerprint).unlink(missing_ok=True)
        self.write_summary(record, summary)
        self.write(self.cell_path(fingerprint), record.to_json().encode())
        return record

    def write_summary(self, record: CellRecord, summary: ResamplingSummary | Mapping[str, Any] | None) -> None:
        """Store the resampling summary of a stored cell; None stores nothing."""
        if summary is not None:
            self.write(self.summary_path(record.fingerprint), to_npz(summary, record.records_sha256))

    def read_summary(self, record: CellRecord) -> ResamplingSummary | None:
        """Resampling summary of a finished cell, checked against its record; None if there is none.

        Raises:
            ResultsError: the summary is damaged or does not belong to the record.
        """
        path = self.summary_path(record.fingerprint)
        return from_npz(path, record) if path.exists() else None

    def groups_key(self, record: CellRecord) -> str:
        """Text that names the groups of a cell's summary where they are not those of the run; else empty."""
        return ""

    def read_provenance(self, fingerprint: str) -> dict[str, Any]:
        """Provenance of a cell; empty if it is missing or damaged."""
        try:
            found = json.loads(self.provenance_path(fingerprint).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def read_cell(self, fingerprint: str) -> CellRecord:
        """Record of a cell. Raises ResultsError if it is missing, altered, truncated, or belongs to another cell."""
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
        """Records of all finished cells, sorted by fingerprint.

        Raises:
            ResultsError: the folder does not exist, or a record is damaged.
        """
        if not self.root.is_dir():
            raise ResultsError(f"{self.root} is not a folder; `ltrp-bench run --out {self.root}` creates it")
        names = sorted(path.name for path in (self.root / "cells").glob("*.json"))
        return [self.read_cell(name.removesuffix(".json")) for name in names if _CELL.fullmatch(name)]

    def replicates(self, fingerprint: str) -> list[RunStore]:
        """The replicates of a cell, each as a run folder with this cell only, in a fixed order."""
        folder = self.root / REPLICATES / fingerprint
        stores = [RunStore(path) for path in sorted(folder.iterdir())] if folder.is_dir() else []
        return [one for one in stores if one.cell_path(fingerprint).exists()]

    def read_images(self, fingerprint: str) -> Images:
        """Image id -> rows of a finished cell, checked against its record.

        Raises:
            ResultsError: the rows are missing, damaged, or do not belong to the record.
        """
        record = self.read_cell(fingerprint)
        images, meta = from_parquet(self.rows_path(fingerprint))
        if meta.get("rows_sha256") != record.records_sha256:
            raise ResultsError(f"{self.rows_path(fingerprint)} does not belong to the record of its cell")
        return images

    # -- finished chunks of unfinished cells

    def chunk_path(self, group: str, first: int, end: int) -> Path:
        """File of images `first` to `end` - 1 of a group of cells (one selector, task and seed)."""
        return self.root / "partial" / group / f"{first:08d}-{end:08d}.parquet"

    def write_chunk(
        self,
        group: str,
        span: tuple[int, int],
        cells: Mapping[str, Mapping[str, Sequence[Row]]],
        schema: Schema,
        skipped: Mapping[str, str],
    ) -> None:
        """Store a chunk of rows for several cells.

        Args:
            group: name of the group of cells.
            span: first image, and last image + 1.
            cells: fingerprint -> image id -> rows.
            schema: the task's `row_schema`.
            skipped: image id -> reason why the image was skipped.
        """
        data = to_chunk(cells, schema, {"skipped": list(skipped.items())})
        self.write(self.chunk_path(group, *span), data, sync=False)

    def read_chunk(
        self, group: str, span: tuple[int, int], wanted: Collection[str] | None = None
    ) -> tuple[dict[str, Images], dict[str, str]] | None:
        """Rows of a chunk.

        Args:
            group: name of the group of cells.
            span: first image, and last image + 1.
            wanted: fingerprints of the cells to read; None for all.

        Returns:
            Fingerprint -> image id -> rows, for those of the wanted cells that the chunk has; and image id -> reason
            for skipped images. None if the chunk is missing or damaged, so that it is measured again.
        """
        path = self.chunk_path(group, *span)
        if not path.exists():
            return None
        try:
            cells, meta = from_chunk(path, wanted)
            with damaged(lambda error: ResultsError(f"{path} is damaged ({type(error).__name__})")):
                return cells, {str(key): str(reason) for key, reason in meta["skipped"]}
        except ResultsError:
            return None

    def drop_chunks(self, group: str) -> None:
        """Remove the chunks of a group of which every cell is finished; others hold work of another run."""
        folder = self.root / "partial" / group
        chunks = list(folder.glob("*.parquet"))
        done = [path for path in chunks if self._all_finished(path)]
        if len(done) == len(chunks):
            shutil.rmtree(folder, ignore_errors=True)
        for path in done:
            path.unlink(missing_ok=True)

    def _all_finished(self, chunk: Path) -> bool:
        try:
            cells = list(footer(chunk)["cells"])
        except (ResultsError, KeyError, TypeError):
            return True  # it is damaged, or another process has removed it
        return all(self.cell_path(cell).exists() for cell in cells)

    @contextlib.contextmanager
    def lock(self, group: str, wait: bool) -> Iterator[bool]:
        """Context that locks a group against other processes; yields False if it is locked and `wait` is False."""
        with exclusive(self.root / "partial" / f"{group}.lock", wait) as held:
            yield held


def provenance_bytes(provenance: Mapping[str, Any]) -> bytes:
    """Content of a file of provenance."""
    return (json.dumps(provenance, sort_keys=True, indent=1) + "\n").encode()


class ReadOnceStore(RunStore):
    """A run folder for commands that only read it: each record is read from its file once."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._read: dict[str, CellRecord] = {}

    def read_cell(self, fingerprint: str) -> CellRecord:
        """`RunStore.read_cell`, as the file was when it was read first."""
        if fingerprint not in self._read:
            self._read[fingerprint] = super().read_cell(fingerprint)
        return self._read[fingerprint]
