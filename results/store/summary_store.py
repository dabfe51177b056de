"""Evidence on disk: one npz a cell, bound to the cell's rows by their checksum."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from ltrp_bench.results.schema.record import CellRecord, ResultsError, canonical_json, digest
from ltrp_bench.results.statistics.bootstrap import drawn_digest
from ltrp_bench.results.summaries.registry import GROUPS, Evidence, read

_META: Final = "meta"
_CLOSE: Final = 1e-9
"""How far a metric may be from the record's; sums are taken in another order."""


def to_npz(arrays: Mapping[str, Any], rows_sha256: str) -> bytes:
    """The file's bytes, equal for equal evidence.

    Args:
        arrays: as a task's `evidence` makes them: arrays by name, and "meta".
        rows_sha256: of the cell's rows, see `CellRecord.records_sha256`.
    """
    named = {name: np.asarray(value) for name, value in arrays.items() if name != _META}
    meta = {"evidence": arrays[_META], "rows_sha256": rows_sha256, "sha256": _checksum(named, arrays[_META])}
    buffer = io.BytesIO()
    text = np.frombuffer(canonical_json(meta).encode(), np.uint8)
    np.savez_compressed(buffer, allow_pickle=False, **{_META: text}, **named)
    return buffer.getvalue()


def from_npz(path: Path, record: CellRecord) -> Evidence:
    """What `to_npz` wrote, if it is that of `record`.

    Raises:
        ResultsError: missing, cut short, altered, another cell's, or its metrics are not the record's.
    """
    hint = "delete it and start the same run again, which renews it from the cell's rows"
    try:
        with np.load(path, allow_pickle=False) as held:
            arrays = {name: held[name] for name in held.files}
        meta = json.loads(arrays.pop(_META).tobytes())
        inner, rows, checksum = meta["evidence"], meta["rows_sha256"], meta["sha256"]
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ResultsError(f"{path} is missing, cut short or no evidence ({type(error).__name__}); {hint}") from error
    if _checksum(arrays, inner) != checksum:
        raise ResultsError(f"{path} was altered: it does not match its checksum; {hint}")
    if rows != record.records_sha256:
        raise ResultsError(f"{path} does not belong to the rows of its cell; {hint}")
    evidence = read({**arrays, _META: inner}, str(path))
    if set(record.skipped) & set(evidence.images) or len(evidence.images) != record.images:
        raise ResultsError(f"{path} is of other images than its cell; {hint}")
    ones = np.ones((1, len(evidence.images)), np.uint8)
    headline = record.task.headline
    if headline in evidence.metrics:
        found = evidence.all_values([(headline, group) for group in GROUPS], ones)
        for group in GROUPS:
            here, there = float(found[headline, group][0]), record.value(headline, group)
            if not (abs(here - there) <= _CLOSE or (here != here and there != there)):
                raise ResultsError(f"{path}: {headline} of {group} is {here}, but {there} in its record; {hint}")
    return evidence


def _checksum(arrays: Mapping[str, np.ndarray], meta: Any) -> str:
    return digest([meta, {name: drawn_digest(array) for name, array in arrays.items()}])
