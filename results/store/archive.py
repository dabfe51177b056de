"""Export and import of results as one zip archive.

The archive has the files of a run folder that make up results (records, rows, resampling summaries, provenance, images
and ranks of the gallery), their labels and latencies, and `manifest.json` with the SHA-256 of each of them. An import
is all or nothing: the checksums, each record's own checksum and fingerprint, and the rows and summary of each record
are checked first. A cell that is here already becomes a replicate if its numbers agree
(`cell_replicates`).

Provenance and labels are redacted (`schema.redaction`) unless asked otherwise; the run folder keeps them whole.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import stat
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ltrp_bench.results.schema.atomic_io import atomic_write
from ltrp_bench.results.schema.damage import damaged, read_member
from ltrp_bench.results.schema.image_rows import Images
from ltrp_bench.results.schema.record import CellRecord, ResultsError, canonical_json
from ltrp_bench.results.schema.redaction import Redaction, here
from ltrp_bench.results.store.cell_replicates import TOLERANCE, disagreement, replicate_store, spread
from ltrp_bench.results.store.gallery import FOLDER as GALLERY
from ltrp_bench.results.store.labels import FILE as LABELS
from ltrp_bench.results.store.labels import Labels, add_labels, read_labels
from ltrp_bench.results.store.latency import FOLDER as LATENCY
from ltrp_bench.results.store.latency import add_latencies, read_latencies
from ltrp_bench.results.store.run_store import REPLICATES, RunStore
from ltrp_bench.results.store.shared_files import check_private, redacted_labels, shared_bytes

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"

_HEX: Final = "[0-9a-f]"
_CELL_PARTS: Final = ("records", "evidence", "provenance", "cells")
"""Folders of a cell's files. The record comes last, so that a killed import leaves the cell unfinished."""

_ALLOWED: Final = re.compile(
    rf"(({REPLICATES}/{_HEX}{{64}}/{_HEX}{{16}}/)?"
    rf"(records/{_HEX}{{64}}\.parquet|evidence/{_HEX}{{64}}\.npz|(provenance|cells)/{_HEX}{{64}}\.json)"
    rf"|{re.escape(LABELS)}|{LATENCY}/{_HEX}{{16}}\.json|{GALLERY}/{_HEX}{{8}}/(pictures\.json|\d\d\.webp|{_HEX}{{8}}-\d{{1,19}}\.npz))"
)
_SUFFIX: Final = {"records": ".parquet", "evidence": ".npz", "provenance": ".json", "cells": ".json"}
_OF_NO_CELL: Final = (LABELS, f"{LATENCY}/")
"""Beginnings of the names of files that are added to those that are there, instead of moved."""

_MAX_BYTES: Final = 64 * 2**30
"""Maximum unpacked size of an archive."""

_DATE: Final = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Imported:
    """Fingerprints of imported cells.

    Attributes:
        new: cells that the run folder did not have.
        known: cells that it had, with the same numbers.
        replicates: cells that it had from another machine, with numbers that differ by rounding.
        spread: largest difference of a headline metric among these and the cells that were there.
    """

    new: tuple[str, ...]
    known: tuple[str, ...]
    replicates: tuple[str, ...] = ()
    spread: float = 0.0


@dataclass(frozen=True)
class _Cell:
    """A cell of an archive.

    Attributes:
        record: its record.
        source: folder that it was unpacked to.
        target: folder that it goes to, or is in already.
        known: True if it is there already.
    """

    record: CellRecord
    source: RunStore
    target: RunStore
    known: bool


def export(
    root: Path,
    out: Path,
    tasks: Iterable[str] = (),
    selectors: Iterable[str] = (),
    with_gallery: bool = True,
    *,
    with_paths: bool = False,
) -> int:
    """Write finished cells of a run folder to an archive; equal cells, labels and latencies give equal bytes.

    Args:
        root: a folder that `run --out` made.
        out: the archive.
        tasks, selectors: names of those to export; empty exports all. "evit" also stands for "evit.shapes0".
        with_gallery: also export the gallery of the tasks.
        with_paths: also export the paths of commands and the names of machines.

    Returns:
        Number of exported cells.

    Raises:
        ResultsError: no cell matches, a cell is damaged, a path is part of a fingerprint or an image's id, or the
            archive cannot be written.
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
        for one in (store, *store.replicates(record.fingerprint)):
            images = _check_cell(one, one.read_cell(record.fingerprint))
            if not with_paths:
                check_private(record, images)
    names = sorted(set(_files(store, records, with_gallery)))
    redaction = None if with_paths else here()
    contents: dict[str, bytes] = {}
    if (labels := read_labels(root).of(records)) != Labels():
        contents[LABELS] = (labels if redaction is None else redacted_labels(labels, redaction)).to_json()
    for latencies in read_latencies(root):
        if (own := latencies.of(records)).entries:
            contents[f"{LATENCY}/{own.setting.file}"] = own.to_json()
    manifest: dict[str, Any] = {"format": FORMAT, "cells": len(records), "files": {}}
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name in sorted([*names, *contents]):
                data = contents.get(name) or shared_bytes(root / name, redaction)
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
        for one in (store, *store.replicates(record.fingerprint)):
            paths = (one.root / part / f"{record.fingerprint}{_SUFFIX[part]}" for part in _CELL_PARTS)
            yield from (str(path.relative_to(store.root)) for path in paths if path.exists())
        folder = store.root / GALLERY / record.task.identity.short
        if with_gallery and folder.is_dir():
            own = [*folder.glob("*.webp"), *folder.glob("pictures.json")]
            own += folder.glob(f"{record.selector.identity.short}-{record.seed}.npz")
            yield from (str(path.relative_to(store.root)) for path in own)


def import_archive(
    path: Path, root: Path, notice: Callable[[str], None] = lambda line: None, tolerance: float = TOLERANCE
) -> Imported:
    """Import all cells of an archive into a run folder, or none.

    Args:
        path: an archive that `export` wrote.
        root: the run folder; made if needed.
        notice: called with a line about files that differ here and were kept (provenance, gallery).
        tolerance: largest difference of a cell from the one with the same fingerprint in the run folder, see
            `cell_replicates.disagreement`.

    Raises:
        ResultsError: the archive is damaged, was altered, or has files that do not belong in it; or a cell differs from
            the one with the same fingerprint in the run folder by more than the tolerance.
    """
    store = RunStore(root)
    store.prepare()
    with tempfile.TemporaryDirectory(dir=store.tmp, prefix="import.") as temporary:
        staging = RunStore(Path(temporary))
        names = _unpack(path, staging.root)
        try:
            found = list(_unpacked_cells(staging, names))
            labels = read_labels(staging.root)
            latencies = [one.of(record for _, record in found) for one in read_latencies(staging.root)]
        except ResultsError as error:
            text = str(error).replace(f"{staging.root}/", "").partition("; ")[0]
            raise ResultsError(f"{path} is refused, nothing was imported: {text}") from error
        first = {record.fingerprint: record for source, record in found if source is staging}
        cells = []
        for source, record in found:
            here = store.cell_path(record.fingerprint).exists()
            main = store.read_cell(record.fingerprint) if here else first[record.fingerprint]
            if text := disagreement(main, record, tolerance):
                raise ResultsError(
                    f"{path} is refused, nothing was imported: its cell {record.short_fingerprint} "
                    f"({record.selector.name} on {record.task.name}) has the same fingerprint as one in {root}, but "
                    f"other values: {text}, at keep ratio {record.keep_ratio:g}, seed {record.seed}; rounding may "
                    f"change it by {tolerance:g}"
                )
            target = store if record == main else replicate_store(store, record)
            cells.append(_Cell(record, source, target, target.cell_path(record.fingerprint).exists()))
        _move([name for name in names if not name.startswith(_OF_NO_CELL)], staging, store, cells, notice)
        add_labels(store, labels, keep=True)
        add_latencies(store, latencies, keep=True)
    return _imported(cells, store)


def _unpacked_cells(staging: RunStore, names: Iterable[str]) -> Iterator[tuple[RunStore, CellRecord]]:
    """Cells and replicates of an unpacked archive, checked. Raises ResultsError if one is damaged or incomplete."""
    found = [(staging, record) for record in staging.read_cells()]
    for _, record in list(found):
        found += [(one, one.read_cell(record.fingerprint)) for one in staging.replicates(record.fingerprint)]
    for source, record in found:
        _check_cell(source, record)
    owned = {(source.root, record.fingerprint) for source, record in found}
    for name in sorted(names):
        file = staging.root / name
        if not name.startswith((f"{GALLERY}/", *_OF_NO_CELL)) and (file.parent.parent, file.stem) not in owned:
            raise ResultsError(f"{name} belongs to no cell of the archive")
    return iter(found)


def _imported(cells: Sequence[_Cell], store: RunStore) -> Imported:
    new = [one for one in cells if not one.known]
    replicates = [one.record for one in new if one.target is not store]
    widths = [spread((store.read_cell(record.fingerprint), record), record.task.headline) for record in replicates]
    return Imported(
        tuple(one.record.fingerprint for one in new if one.target is store),
        tuple(one.record.fingerprint for one in cells if one.known),
        tuple(record.fingerprint for record in replicates),
        max((width for width in widths if not math.isnan(width)), default=0.0),
    )


def _same_content(there: Path, file: Path, redaction: Redaction) -> bool:
    """True if a file of an archive is what is there already, or what is shared of it."""
    return file.read_bytes() in (there.read_bytes(), shared_bytes(there, redaction))


def _check_cell(store: RunStore, record: CellRecord) -> Images:
    """Read the rows and the resampling summary of a record. Raises ResultsError if they do not belong to it."""
    images = store.read_images(record.fingerprint)
    if len(images) != record.images:
        raise ResultsError(
            f"records/{record.fingerprint}.parquet holds {len(images)} images, its record {record.images}"
        )
    store.read_summary(record)
    return images


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
    names: Iterable[str], staging: RunStore, store: RunStore, cells: Iterable[_Cell], notice: Callable[[str], None]
) -> None:
    """Move files into the run folder, records last. Existing files are kept."""
    owner = {(one.source.root, one.record.fingerprint): one for one in cells}
    kept, redaction = 0, here()
    for name in sorted(names, key=lambda one: (Path(one).parent.name == "cells", one)):
        file = staging.root / name
        if name.startswith(f"{GALLERY}/"):
            there, known = store.root / name, True
        else:
            cell = owner[file.parent.parent, file.stem]
            there, known = cell.target.root / file.parent.name / file.name, cell.known
        if known and there.exists():
            kept += file.parent.name != "cells" and not _same_content(there, file, redaction)
        else:
            store.write(there, file.read_bytes())
    if kept:
        notice(f"{kept} files of provenance or the gallery differ from those in the run folder, which were kept")
