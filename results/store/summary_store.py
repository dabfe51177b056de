"""Resampling summaries on disk: one npz a cell, bound to the cell's rows by their checksum."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from ltrp_bench.results.schema.damage import damaged, read_npz
from ltrp_bench.results.schema.record import CellRecord, ResultsError, canonical_json, digest
from ltrp_bench.results.schema.rows import GROUPS
from ltrp_bench.results.summaries.base import ResamplingSummary
from ltrp_bench.results.summaries.registry import parse_summary

_META: Final = "meta"
_TOLERANCE: Final = 1e-9
"""Largest difference of a metric from the record's: sums are taken in another order."""


def to_npz(summary: ResamplingSummary | Mapping[str, Any], rows_sha256: str) -> bytes:
    """Bytes of the file, equal for equal summaries.

    Args:
        summary: a resampling summary, or its stored form.
        rows_sha256: checksum of the cell's rows, see `CellRecord.records_sha256`.

    Raises:
        ResultsError: if the stored form is malformed.
    """
    arrays = parse_summary(summary, "the task's resampling summary").to_arrays()
    about = arrays.pop(_META)
    meta = {"evidence": about, "rows_sha256": rows_sha256, "sha256": _checksum(arrays, about)}
    buffer = io.BytesIO()
    text = np.frombuffer(canonical_json(meta).encode(), np.uint8)
    np.savez_compressed(buffer, allow_pickle=False, **{_META: text}, **arrays)
    return buffer.getvalue()


def from_npz(path: Path, record: CellRecord) -> ResamplingSummary:
    """Read what `to_npz` wrote for the cell of `record`.

    Raises:
        ResultsError: if the file is missing, cut short, altered or another cell's, or its metrics are not the record's.
    """
    hint = "delete it and start the same run again, which renews it from the cell's rows"
    with damaged(
        lambda error: ResultsError(
            f"{path} is missing, cut short or no resampling summary ({type(error).__name__}); {hint}"
        )
    ):
        arrays = read_npz(path)
        meta = json.loads(arrays.pop(_META).tobytes())
        about, rows, checksum = meta["evidence"], meta["rows_sha256"], meta["sha256"]
        found = _checksum(arrays, about)
    if found != checksum:
        raise ResultsError(f"{path} was altered: it does not match its checksum; {hint}")
    if rows != record.records_sha256:
        raise ResultsError(f"{path} does not belong to the rows of its cell; {hint}")
    summary = parse_summary({**arrays, _META: about}, str(path))
    if set(record.skipped) & set(summary.images) or len(summary.images) != record.images:
        raise ResultsError(f"the images of {path} differ from those of its cell; {hint}")
    _check_headline(path, summary, record, hint)
    return summary


def _check_headline(path: Path, summary: ResamplingSummary, record: CellRecord, hint: str) -> None:
    """Raise ResultsError if the headline metric of the summary is not the record's."""
    headline = record.task.headline
    if headline not in summary.metrics:
        return
    ones = np.ones((1, len(summary.images)), np.uint8)
    found = summary.all_values([(headline, group) for group in GROUPS], ones)
    for group in GROUPS:
        here, there = float(found[headline, group][0]), record.value(headline, group)
        if not (abs(here - there) <= _TOLERANCE or (here != here and there != there)):
            raise ResultsError(f"{path}: {headline} of {group} is {here}, but {there} in its record; {hint}")


def _checksum(arrays: Mapping[str, np.ndarray], meta: Any) -> str:
    return digest([meta, {name: _array_digest(array) for name, array in arrays.items()}])


def _array_digest(values: np.ndarray) -> str:
    """Hex SHA-256 of an array's bytes, shape and dtype."""
    head = canonical_json([str(values.dtype), list(values.shape)]).encode()
    return hashlib.sha256(head + np.ascontiguousarray(values).tobytes()).hexdigest()
