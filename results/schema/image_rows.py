"""Per-image rows: checked against the task's columns, digested, and turned into Parquet and back."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ltrp_bench.results.schema.record import ResultsError, canonical_json
from ltrp_bench.results.schema.rows import Row

Images = dict[str, list[Row]]
"""image id -> its rows (one an object or a detection; none is fine), in the data set's order."""

Schema = Mapping[str, str]
"""column -> "int64" | "float64" | "string" | "binary"."""

_CAST: Final[dict[str, Callable[[Any], Any]]] = {
    "int64": int,
    "float64": float,
    "string": str,
    "binary": bytes,
}
_ARROW: Final[dict[str, pa.DataType]] = {
    "int64": pa.int64(),
    "float64": pa.float64(),
    "string": pa.string(),
    "binary": pa.binary(),
}
_META: Final = b"ltrp_bench"


def normalise_rows(rows: Sequence[Mapping[str, Any]], schema: Schema, where: str) -> list[Row]:
    """`rows` with exactly the columns of `schema`, in its order and with its types.

    What is summed up in one go and what is read back after an interruption are then the same values.

    Raises:
        ResultsError: if a row has other columns, or a value that is not of its column's type.
    """
    out: list[Row] = []
    for row in rows:
        if row.keys() != schema.keys():
            odd = sorted(row.keys() ^ schema.keys())
            raise ResultsError(f"{where}: a row's columns differ from the task's row_schema in {odd}")
        try:
            out.append({key: _CAST[kind](row[key]) for key, kind in schema.items()})
        except (TypeError, ValueError, OverflowError) as error:
            raise ResultsError(f"{where}: a row's value does not fit the row_schema: {error}") from error
        except KeyError as error:
            raise ResultsError(f"{where}: row_schema has the unknown type {error}") from error
    return out


def rows_digest(images: Mapping[str, Sequence[Row]]) -> str:
    """Hex SHA-256 over ids and rows in order; of the content, so independent of Parquet's version."""
    hasher = hashlib.sha256()
    for image_id, rows in images.items():
        hasher.update(json.dumps([image_id, rows], sort_keys=True, default=bytes.hex).encode() + b"\n")
    return hasher.hexdigest()


def to_parquet(
    images: Mapping[str, Sequence[Row]], schema: Schema, meta: Mapping[str, Any], checksum: str | None = None
) -> bytes:
    """Parquet bytes: one row an image (`image_id`, `rows`: list of struct); `meta` and the digest in the footer.

    `checksum` is `rows_digest(images)` where the caller has it already.
    """
    columns = {
        "image_id": pa.array(list(images), pa.string()),
        "rows": pa.array(list(images.values()), _rows_type(schema)),
    }
    return _encode(columns, {**meta, "rows_sha256": checksum or rows_digest(images)})


def from_parquet(path: Path) -> tuple[Images, dict[str, Any]]:
    """Read what `to_parquet` wrote; digest checked.

    Raises:
        ResultsError: if the file is missing, cut short or altered.
    """
    table, meta = _read(path)
    images: Images = dict(zip(table["image_id"].to_pylist(), table["rows"].to_pylist(), strict=True))
    if rows_digest(images) != meta.get("rows_sha256"):
        raise ResultsError(f"{path} was altered: its rows do not match their checksum; delete it, run again")
    return images, meta


def footer(path: Path) -> dict[str, Any]:
    """Only the `meta` of a Parquet file: quick, and still fails for a missing or truncated file.

    Raises:
        ResultsError: as `from_parquet`.
    """
    try:
        return _meta_of(pq.read_schema(path).metadata, path)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error


def to_chunk(cells: Mapping[str, Mapping[str, Sequence[Row]]], schema: Schema, meta: Mapping[str, Any]) -> bytes:
    """Parquet bytes of one chunk of images for several cells (fingerprint -> images)."""
    flat = [(cell, image, rows) for cell, images in cells.items() for image, rows in images.items()]
    columns = {
        "cell": pa.array([cell for cell, _, _ in flat], pa.string()),
        "image_id": pa.array([image for _, image, _ in flat], pa.string()),
        "rows": pa.array([rows for _, _, rows in flat], _rows_type(schema)),
    }
    digests = {cell: rows_digest(images) for cell, images in cells.items()}
    return _encode(columns, {**meta, "cells": digests})


def from_chunk(path: Path, wanted: Collection[str]) -> tuple[dict[str, Images], dict[str, Any]]:
    """Those of the `wanted` cells that the chunk holds; each one's digest checked.

    Raises:
        ResultsError: as `from_parquet`.
    """
    table, meta = _read(path)
    cells: dict[str, Images] = {}
    for cell, stored in meta["cells"].items():
        if cell in wanted:
            part = table.filter(pc.equal(table["cell"], cell))
            cells[cell] = dict(zip(part["image_id"].to_pylist(), part["rows"].to_pylist(), strict=True))
            if rows_digest(cells[cell]) != stored:
                raise ResultsError(f"{path} was altered: its rows do not match their checksum")
    return cells, meta


def _rows_type(schema: Schema) -> pa.DataType:
    return pa.list_(pa.struct([pa.field(name, _ARROW[kind]) for name, kind in schema.items()]))


def _encode(columns: Mapping[str, pa.Array], meta: Mapping[str, Any]) -> bytes:
    table = pa.table(dict(columns)).replace_schema_metadata({_META: canonical_json(dict(meta)).encode()})
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _read(path: Path) -> tuple[pa.Table, dict[str, Any]]:
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error
    return table, _meta_of(table.schema.metadata, path)


def _meta_of(metadata: Mapping[bytes, bytes] | None, path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((metadata or {})[_META]))
    except (KeyError, ValueError) as error:
        raise ResultsError(f"{path} is no file of ltrp-bench; delete it and run again") from error


def _unreadable(path: Path, error: Exception) -> ResultsError:
    if isinstance(error, FileNotFoundError):
        return ResultsError(f"{path} is missing; start the run again to measure the cell anew")
    return ResultsError(f"{path} is cut short or damaged; delete it and start the run again")
