"""One file to share results by: an archive of cells whose every part is checksummed, and the way back.

A zip with `manifest.json`, which holds the SHA-256 of every other file, and the files of a run folder that make or
explain results: records, rows, evidence, provenance, and the gallery's images and ranks. Nothing is imported unless
all of it is sound: checksums, each record's own checksum and fingerprint, rows and evidence that belong to their
record.
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
from ltrp_bench.results.schema.record import CellRecord, ResultsError, canonical_json
from ltrp_bench.results.store.gallery import FOLDER as GALLERY
from ltrp_bench.results.store.run_store import RunStore

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"

_HEX: Final = "[0-9a-f]"
_CELL_PARTS: Final = ("records", "evidence", "provenance", "cells")
"""Folders of a cell's files; the record comes last, so that a kill on the way leaves the cell unfinished."""

_ALLOWED: Final = re.compile(
    rf"(records/{_HEX}{{64}}\.parquet|evidence/{_HEX}{{64}}\.npz|(provenance|cells)/{_HEX}{{64}}\.json"
    rf"|{GALLERY}/{_HEX}{{8}}/(pictures\.json|\d\d\.webp|{_HEX}{{8}}-\d{{1,19}}\.npz))"
)
_SUFFIX: Final = {"records": ".parquet", "evidence": ".npz", "provenance": ".json", "cells": ".json"}
_MOST: Final = 64 * 2**30
"""Bytes that an archive may unpack to."""

_DATE: Final = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Imported:
    """What an import did: cells that are new here, and cells that were here already, the same."""

    new: tuple[str, ...]
    known: tuple[str, ...]


def export(
    root: Path,
    out: Path,
    tasks: Iterable[str] = (),
    selectors: Iterable[str] = (),
    with_gallery: bool = True,
) -> int:
    """Write finished cells of a run folder to one archive; the same cells give the same bytes.

    Args:
        root: a folder that `run --out` made.
        out: the archive.
        tasks, selectors: names; only cells of these, all where none is named. "evit" stands for "evit.shapes0" too.
        with_gallery: images and ranks of the tasks as well.

    Returns:
        The number of cells.

    Raises:
        ResultsError: no such cell, a cell is damaged, or the archive cannot be written.
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
        raise ResultsError(f"{root} holds no finished cell of these tasks and selectors: nothing to export")
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
    """Bring the cells of an archive into a run folder, all or none.

    Args:
        path: what `export` wrote.
        root: the run folder; made if need be.
        notice: told what is there already in another form and left as it is (provenance, gallery).

    Raises:
        ResultsError: the archive is damaged, altered, or holds what it must not; or a cell of it differs from the one
            of the same fingerprint here.
    """
    store = RunStore(root)
    store.prepare()
    with tempfile.TemporaryDirectory(dir=store.tmp, prefix="import.") as temporary:
        aside = RunStore(Path(temporary))
        names = _unpack(path, aside.root)
        try:
            records = aside.read_cells()
            for record in records:
                _check_cell(aside, record)
            cells = {record.fingerprint for record in records}
            if lost := sorted(n for n in names if not n.startswith(GALLERY) and Path(n).stem not in cells):
                raise ResultsError(f"{lost[0]} is of no cell in the archive")
        except ResultsError as error:
            text = str(error).replace(f"{aside.root}/", "").partition("; ")[0]
            raise ResultsError(f"{path} is refused, nothing was imported: {text}") from error
        known = [r for r in records if store.cell_path(r.fingerprint).exists()]
        for record in known:
            if store.read_cell(record.fingerprint) != record:
                raise ResultsError(
                    f"{path} is refused, nothing was imported: its cell {record.fingerprint[:16]} "
                    f"({record.selector.name} on {record.task.name}) differs from the one in {root}: same fingerprint, "
                    "other numbers"
                )
        _move(names, aside, store, {r.fingerprint for r in known}, notice)
    new = [r.fingerprint for r in records if r not in known]
    return Imported(tuple(new), tuple(r.fingerprint for r in known))


def _check_cell(store: RunStore, record: CellRecord) -> None:
    """Rows and evidence that belong to the record; all read whole. Raises ResultsError."""
    images = store.read_images(record.fingerprint)
    if len(images) != record.images:
        raise ResultsError(
            f"records/{record.fingerprint}.parquet holds {len(images)} images, its record {record.images}"
        )
    store.read_evidence(record)


def _unpack(path: Path, to: Path) -> list[str]:
    """All files of a sound archive, by name; ResultsError for anything odd."""
    refused = f"{path} is refused, nothing was imported:"
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {info.filename: info for info in archive.infolist()}
            manifest = json.loads(archive.read(MANIFEST))
            if manifest["format"] != FORMAT:
                raise ResultsError(f"{refused} archive format {manifest['format']}; this release reads {FORMAT}")
            files = {str(name): str(checksum) for name, checksum in manifest["files"].items()}
            odd = sorted(entries.keys() ^ {*files, MANIFEST})
            odd += [name for name in files if not _ALLOWED.fullmatch(name)]
            odd += [name for name, info in entries.items() if stat.S_ISLNK(info.external_attr >> 16)]
            if odd or len(entries) != len(archive.infolist()):
                raise ResultsError(f"{refused} it holds {odd[0] if odd else 'a name twice'!r}, which is no part of one")
            if sum(info.file_size for info in entries.values()) > _MOST:
                raise ResultsError(f"{refused} it unpacks to more than {_MOST >> 30} GiB")
            for name, checksum in files.items():
                data = archive.read(name)
                if hashlib.sha256(data).hexdigest() != checksum:
                    raise ResultsError(f"{refused} {name} was altered: it does not match the manifest's checksum")
                (to / name).parent.mkdir(parents=True, exist_ok=True)
                (to / name).write_bytes(data)
    except FileNotFoundError as error:
        raise ResultsError(f"{path} is not there; `ltrp-bench results export {path}` writes one") from error
    except ResultsError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile, NotImplementedError) as error:
        raise ResultsError(f"{refused} it is cut short or no archive of results ({type(error).__name__})") from error
    return list(files)


def _move(
    names: Iterable[str], aside: RunStore, store: RunStore, known: set[str], notice: Callable[[str], None]
) -> None:
    """Everything else first, records last; what is here already stays."""
    kept = 0
    for name in sorted(names, key=lambda one: (one.startswith("cells/"), one)):
        there = store.root / name
        own = Path(name).stem in known
        if own and there.exists():
            kept += not name.startswith("cells/") and there.read_bytes() != (aside.root / name).read_bytes()
        elif there.exists() and name.startswith(f"{GALLERY}/"):
            kept += there.read_bytes() != (aside.root / name).read_bytes()
        else:
            store.write(there, (aside.root / name).read_bytes())
    if kept:
        notice(
            f"{kept} files that are no results (provenance, gallery) are here in another form and were left as they are"
        )
