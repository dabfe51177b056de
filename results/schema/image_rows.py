"""Per-image rows: checks against the task's columns, checksums, and Parquet files."""

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

from ltrp_bench.results.schema.damage import damaged
from ltrp_bench.results.schema.record import ResultsError, canonical_json
from ltrp_bench.results.schema.rows import Row

Images = dict[str, list[Row]]
"""Image id -> rows (one per object or detection, possibly none), in the order of the data set."""

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
    """Rows with exactly the columns of `schema`, in its order and with its types.

    Metrics are thus computed from the same values whether rows come from memory or, after an interruption, from disk.

    Args:
        rows: rows of one image.
        schema: the task's `row_schema`.
        where: the image, for messages.

    Raises:
        ResultsError: a row has other columns, or a value does not fit the type of its column.
    """
    out: list[Row] = []
    for row in rows:
        if row.keys() != schema.keys():
            odd = sorted(row.keys() ^ schema.keys())
            raise ResultsError(f"{where}: the columns of a row differ from the task's row_schema in {odd}")
        try:
            out.append({key: _CAST[kind](row[key]) for key, kind in schema.items()})
        except (TypeError, ValueError, OverflowError) as error:
            raise ResultsError(f"{where}: a value does not fit the task's row_schema: {error}") from error
        except KeyError as error:
            raise ResultsError(f"{where}: the task's row_schema has the unknown type {error}") from error
    return out


def rows_digest(images: Mapping[str, Sequence[Row]]) -> str:
    """Hex SHA-256 of image ids and rows in order; independent of the version of Parquet."""
    hasher = hashlib.sha256()
    for image_id, rows in images.items():
        hasher.update(json.dumps([image_id, rows], sort_keys=True, default=bytes.hex).encode() + b"\n")
    return hasher.hexdigest()


def to_parquet(
    images: Mapping[str, Sequence[Row]], schema: Schema, meta: Mapping[str, Any], checksum: str | None = None
) -> bytes:
    """Parquet file with one row per image: `image_id` and `rows`, a list of structs.

    Args:
        images: image id -> rows.
        schema: types of the columns.
        meta: plain JSON for the footer; the checksum of the rows is added.
        checksum: `rows_digest(images)`, if it is known already.
    """
    columns = {
        "image_id": pa.array(list(images), pa.string()),
        "rows": pa.array(list(images.values()), _rows_type(schema)),
    }
    return _encode(columns, {**meta, "rows_sha256": checksum or rows_digest(images)})


def from_parquet(path: Path) -> tuple[Images, dict[str, Any]]:
    """Rows and footer of a file that `to_parquet` wrote.

    Raises:
        ResultsError: the file is missing, truncated or altered.
    """
    table, meta = _read(path)
    with damaged(lambda error: _unreadable(path, error)):
        images: Images = dict(zip(table["image_id"].to_pylist(), table["rows"].to_pylist(), strict=True))
        found = rows_digest(images)
    if found != meta.get("rows_sha256"):
        raise ResultsError(f"{path} was altered: its rows do not match their checksum; delete it and run again")
    return images, meta


def footer(path: Path) -> dict[str, Any]:
    """Footer of a Parquet file, without reading its rows.

    Raises:
        ResultsError: the file is missing or truncated.
    """
    with damaged(lambda error: _unreadable(path, error)):
        return _meta_of(pq.read_schema(path).metadata, path)


def to_chunk(cells: Mapping[str, Mapping[str, Sequence[Row]]], schema: Schema, meta: Mapping[str, Any]) -> bytes:
    """Parquet file with a chunk of images of several cells (fingerprint -> image id -> rows)."""
    flat = [(cell, image, rows) for cell, images in cells.items() for image, rows in images.items()]
    columns = {
        "cell": pa.array([cell for cell, _, _ in flat], pa.string()),
        "image_id": pa.array([image for _, image, _ in flat], pa.string()),
        "rows": pa.array([rows for _, _, rows in flat], _rows_type(schema)),
    }
    digests = {cell: rows_digest(images) for cell, images in cells.items()}
    return _encode(columns, {**meta, "cells": digests})


def from_chunk(path: Path, wanted: Collection[str] | None) -> tuple[dict[str, Images], dict[str, Any]]:
    """Rows of the `wanted` cells (None: of all) that a chunk has, by fingerprint, and the footer.

    Raises:
        ResultsError: the file is missing, truncated or altered.
    """
    table, meta = _read(path)
    cells: dict[str, Images] = {}
    with damaged(lambda error: _unreadable(path, error)):
        for cell, stored in meta["cells"].items():
            if wanted is not None and cell not in wanted:
                continue
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
    with damaged(lambda error: _unreadable(path, error)):
        table = pq.read_table(path)
    return table, _meta_of(table.schema.metadata, path)


def _meta_of(metadata: Mapping[bytes, bytes] | None, path: Path) -> dict[str, Any]:
    with damaged(lambda error: ResultsError(f"{path} is not a file of ltrp-bench; delete it and run again")):
        return dict(json.loads((metadata or {})[_META]))


def _unreadable(path: Path, error: Exception) -> ResultsError:
    if isinstance(error, FileNotFoundError):
        return ResultsError(f"{path} is missing; repeat the run to evaluate the cell again")
    return ResultsError(f"{path} is truncated or damaged; delete it and start the run again")
