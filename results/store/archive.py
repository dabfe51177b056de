"""Export and import of results as one zip archive.

The archive has the files of a run folder that make up results (records, rows, resampling summaries, provenance, images
and ranks of the gallery), and `manifest.json` with the SHA-256 of each of them. An import is all or nothing: the
checksums, each record's own checksum and fingerprint, and the rows and summary of each record are checked first.
"""

from __future__ import annotations

import hashlib
import json
import re
import stat
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ltrp_bench.results.schema.atomic_io import atomic_write
from ltrp_bench.results.schema.damage import damaged, read_member
from ltrp_bench.results.schema.record import CellRecord, ResultsError, canonical_json
from ltrp_bench.results.store.gallery import FOLDER as GALLERY
from ltrp_bench.results.store.run_store import RunStore

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"

_HEX: Final = "[0-9a-f]"
_CELL_PARTS: Final = ("records", "evidence", "provenance", "cells")
"""Folders of a cell's files. The record comes last, so that a killed import leaves the cell unfinished."""

_ALLOWED: Final = re.compile(
    rf"(records/{_HEX}{{64}}\.parquet|evidence/{_HEX}{{64}}\.npz|(provenance|cells)/{_HEX}{{64}}\.json"
    rf"|{GALLERY}/{_HEX}{{8}}/(pictures\.json|\d\d\.webp|{_HEX}{{8}}-\d{{1,19}}\.npz))"
)
_SUFFIX: Final = {"records": ".parquet", "evidence": ".npz", "provenance": ".json", "cells": ".json"}
_MAX_BYTES: Final = 64 * 2**30
"""Maximum unpacked size of an archive."""

_DATE: Final = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Imported:
    """Fingerprints of imported cells: those that are new in the run folder, and those that were there already."""

    new: tuple[str, ...]
    known: tuple[str, ...]


def export(
    root: Path,
    out: Path,
    tasks: Iterable[str] = (),
    selectors: Iterable[str] = (),
    with_gallery: bool = True,
) -> int:
    """Write finished cells of a run folder to an archive; equal cells give equal bytes.

    Args:
        root: a folder that `run --out` made.
        out: the archive.
        tasks, selectors: names of those to export; empty exports all. "evit" also stands for "evit.shapes0".
        with_gallery: also export the gallery of the tasks.

    Returns:
        Number of exported cells.

    Raises:
        ResultsError: no cell matches, a cell is damaged, or the archive cannot be written.
    """
    store = RunStore(root)
    wanted_tasks, wanted = set(tasks), set(selectors)
    records = [
        r
        for r in store.read_cells()
        if (not wanted_tasks or r.task.name in wanted_tasks)
        and (not wanted or r.selector.name in wanted or r.selector.name.partition(".")[0] in wanted)
    ]
    if not records:
        raise ResultsError(f"{root} holds no finished cell of these tasks and selectors")
    for record in records:
        _check_cell(store, record)
    names = sorted(set(_files(store, records, with_gallery)))
    manifest: dict[str, Any] = {"format": FORMAT, "cells": len(records), "files": {}}
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name in names:
                data = (root / name).read_bytes()
                manifest["files"][name] = hashlib.sha256(data).hexdigest()
                archive.writestr(_entry(name), data)
            archive.writestr(_entry(MANIFEST), canonical_json(manifest).encode())
        file.seek(0)
        atomic_write(out, file.read())
    return len(records)


def _entry(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _DATE)
    # Parquet and npz are compressed already; JSON is small.
    info.compress_type = zipfile.ZIP_DEFLATED if name.endswith(".json") else zipfile.ZIP_STORED
    info.external_attr = 0o644 << 16
    return info


def _files(store: RunStore, records: Iterable[CellRecord], with_gallery: bool) -> Iterator[str]:
    for record in records:
        for part in _CELL_PARTS:
            name = f"{part}/{record.fingerprint}{_SUFFIX[part]}"
            if (store.root / name).exists():
                yield name
        folder = store.root / GALLERY / record.task.identity.short
        if with_gallery and folder.is_dir():
            own = [*folder.glob("*.webp"), *folder.glob("pictures.json")]
            own += folder.glob(f"{record.selector.identity.short}-{record.seed}.npz")
            yield from (str(path.relative_to(store.root)) for path in own)


def import_archive(path: Path, root: Path, notice: Callable[[str], None] = lambda line: None) -> Imported:
    """Import all cells of an archive into a run folder, or none.

    Args:
        path: an archive that `export` wrote.
        root: the run folder; made if needed.
        notice: called with a line about files that differ here and were kept (provenance, gallery).

    Raises:
        ResultsError: the archive is damaged, was altered, or has files that do not belong in it; or a cell differs from
            the one with the same fingerprint in the run folder.
    """
    store = RunStore(root)
    store.prepare()
    with tempfile.TemporaryDirectory(dir=store.tmp, prefix="import.") as temporary:
        staging = RunStore(Path(temporary))
        names = _unpack(path, staging.root)
        try:
            records = staging.read_cells()
            for record in records:
                _check_cell(staging, record)
            cells = {record.fingerprint for record in records}
            if orphans := sorted(n for n in names if not n.startswith(GALLERY) and Path(n).stem not in cells):
                raise ResultsError(f"{orphans[0]} belongs to no cell of the archive")
        except ResultsError as error:
            text = str(error).replace(f"{staging.root}/", "").partition("; ")[0]
            raise ResultsError(f"{path} is refused, nothing was imported: {text}") from error
        known = [r for r in records if store.cell_path(r.fingerprint).exists()]
        for record in known:
            if store.read_cell(record.fingerprint) != record:
                raise ResultsError(
                    f"{path} is refused, nothing was imported: its cell {record.fingerprint[:16]} "
                    f"({record.selector.name} on {record.task.name}) has the same fingerprint as one in {root}, but "
                    "other values"
                )
        _move(names, staging, store, {r.fingerprint for r in known}, notice)
    new = [r.fingerprint for r in records if r not in known]
    return Imported(tuple(new), tuple(r.fingerprint for r in known))


def _check_cell(store: RunStore, record: CellRecord) -> None:
    """Read the rows and the resampling summary of a record. Raises ResultsError if they do not belong to it."""
    images = store.read_images(record.fingerprint)
    if len(images) != record.images:
        raise ResultsError(
            f"records/{record.fingerprint}.parquet holds {len(images)} images, its record {record.images}"
        )
    store.read_summary(record)


def _unpack(path: Path, to: Path) -> list[str]:
    """Unpack an archive, and return the names of its files. Raises ResultsError unless it is valid."""
    refused = f"{path} is refused, nothing was imported:"
    if not path.exists():
        raise ResultsError(f"{path} does not exist; `ltrp-bench results export {path}` writes one")
    with (
        damaged(
            lambda error: ResultsError(
                f"{refused} it is truncated or not an archive of results ({type(error).__name__})"
            )
        ),
        zipfile.ZipFile(path) as archive,
    ):
        entries = {info.filename: info for info in archive.infolist()}
        manifest = json.loads(archive.read(MANIFEST))
        if manifest["format"] != FORMAT:
            raise ResultsError(f"{refused} archive format {manifest['format']}; this release reads {FORMAT}")
        files = {str(name): str(checksum) for name, checksum in manifest["files"].items()}
        odd = sorted(entries.keys() ^ {*files, MANIFEST})
        odd += [name for name in files if not _ALLOWED.fullmatch(name)]
        odd += [name for name, info in entries.items() if stat.S_ISLNK(info.external_attr >> 16)]
        if odd or len(entries) != len(archive.infolist()):
            raise ResultsError(
                f"{refused} unexpected file {odd[0]!r}" if odd else f"{refused} a file name occurs twice"
            )
        if sum(info.file_size for info in entries.values()) > _MAX_BYTES:
            raise ResultsError(f"{refused} it unpacks to more than {_MAX_BYTES >> 30} GiB")
        for name, checksum in files.items():
            data = read_member(archive, entries[name])
            if hashlib.sha256(data).hexdigest() != checksum:
                raise ResultsError(f"{refused} {name} was altered: it does not match the manifest's checksum")
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            (to / name).write_bytes(data)
    return list(files)


def _move(
    names: Iterable[str], staging: RunStore, store: RunStore, known: set[str], notice: Callable[[str], None]
) -> None:
    """Move files into the run folder, records last. Existing files are kept."""
    kept = 0
    for name in sorted(names, key=lambda one: (one.startswith("cells/"), one)):
        there = store.root / name
        own = Path(name).stem in known
        if own and there.exists():
            kept += not name.startswith("cells/") and there.read_bytes() != (staging.root / name).read_bytes()
        elif there.exists() and name.startswith(f"{GALLERY}/"):
            kept += there.read_bytes() != (staging.root / name).read_bytes()
        else:
            store.write(there, (staging.root / name).read_bytes())
    if kept:
        notice(f"{kept} files of provenance or the gallery differ from those in the run folder, which were kept")
