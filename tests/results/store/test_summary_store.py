"""Resampling summaries on disk: equal bytes for equal summaries; damaged and foreign ones are rejected."""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ltrp_bench.results.leaderboard.build import load_leaderboard
from ltrp_bench.results.schema.record import ResultsError, digest
from ltrp_bench.results.store.summary_store import from_npz, to_npz

HINT = "delete it and start the same run again, which renews it from the cell's rows"


def _resaved(data: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    with np.load(io.BytesIO(data)) as held:
        arrays = dict(held)
    change(arrays)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def test_equal_summaries_have_equal_bytes(world: Any) -> None:
    record = world.cell("ltrp", 0.5, 0.5)
    path = world.store.summary_path(record.fingerprint)
    first = path.read_bytes()
    world.cell("ltrp", 0.5, 0.5)
    assert path.read_bytes() == first
    summary = world.store.read_summary(record)
    assert summary is not None and list(summary.images) == world.images
    assert summary.measured("coverage", "seen") == pytest.approx(record.value("coverage", "seen"), abs=1e-12)
    # A cell that is measured again without a summary loses the old one.
    world.cell("ltrp", 0.5, 0.5, summary=False)
    assert world.store.read_summary(record) is None


def _value(arrays: dict[str, Any]) -> None:
    arrays["values"] = arrays["values"] * 0.5


def _pickle(arrays: dict[str, Any]) -> None:
    arrays["values"] = np.array([{"a": 1}], dtype=object)


def _meta(arrays: dict[str, Any]) -> None:
    arrays["meta"] = np.frombuffer(b"[]", np.uint8)


def _type(arrays: dict[str, Any]) -> None:
    arrays["image"] = arrays["image"].view(np.uint64 if arrays["image"].itemsize == 8 else np.uint32)


def _shape(arrays: dict[str, Any]) -> None:
    arrays["values"] = arrays["values"].T


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_value, "was altered: it does not match its checksum"),
        (_type, "was altered: it does not match its checksum"),
        (_shape, "was altered: it does not match its checksum"),
        (_pickle, r"is missing, cut short or no resampling summary \(ValueError\)"),
        (_meta, r"is missing, cut short or no resampling summary \(TypeError\)"),
    ],
)
def test_changes_are_found(world: Any, change: Callable[[dict[str, Any]], None], message: str) -> None:
    record = world.cell("ltrp", 0.5, 0.5)
    path = world.store.summary_path(record.fingerprint)
    path.write_bytes(_resaved(path.read_bytes(), change))
    with pytest.raises(ResultsError, match=message) as caught:
        world.store.read_summary(record)
    assert str(caught.value).startswith(f"{path} ") and str(caught.value).endswith(f"; {HINT}")


def test_damage_and_other_cells(world: Any, tmp_path: Path) -> None:
    record = world.cell("ltrp", 0.5, 0.5)
    path = world.store.summary_path(record.fingerprint)
    data = path.read_bytes()
    for broken in (b"", data[:50], data[:-30]):
        path.write_bytes(broken)
        with pytest.raises(ResultsError, match="cut short or no resampling summary"):
            from_npz(path, record)
    path.write_bytes(data)
    with pytest.raises(ResultsError, match="does not belong to the rows"):
        from_npz(path, replace(record, records_sha256="0" * 64))
    with pytest.raises(ResultsError, match="differ from those of its cell"):
        from_npz(path, replace(record, images=3))
    # A summary with valid checksums, but with other metrics than the record.
    halved = [replace(m, value=m.value / 2) for m in record.metrics]
    with pytest.raises(ResultsError, match=rf"^{path}: coverage of all is .* in its record; {HINT}$"):
        from_npz(path, replace(record, metrics=tuple(halved)))
    with pytest.raises(ResultsError, match="^the task's resampling summary .*kind {.*} in its meta"):
        to_npz({"meta": {"kind": {1, 2}}}, "x")


def _array_sha256(array: np.ndarray) -> str:
    """Hex SHA-256 of type and shape as JSON without spaces, followed by the bytes."""
    head = json.dumps([str(array.dtype), list(array.shape)], separators=(",", ":"))
    return hashlib.sha256(head.encode() + array.tobytes()).hexdigest()


def test_the_stored_form(world: Any) -> None:
    """The file as another program would write it."""
    record = world.cell("ltrp", 0.5, 0.5)
    path = world.store.summary_path(record.fingerprint)
    with np.load(path) as held:
        arrays = dict(held)
    meta = json.loads(arrays.pop("meta").tobytes())
    checksum = digest([meta["evidence"], {name: _array_sha256(array) for name, array in arrays.items()}])
    assert meta == {"evidence": meta["evidence"], "rows_sha256": record.records_sha256, "sha256": checksum}
    assert meta["evidence"]["kind"] == "means" and meta["evidence"]["images"] == world.images
    # With checksums that are right, a malformed summary is still found, and the message names the file.
    del meta["evidence"]["groups"]["seen"]
    meta["sha256"] = digest([meta["evidence"], {name: _array_sha256(array) for name, array in arrays.items()}])
    np.savez(path, meta=np.frombuffer(json.dumps(meta).encode(), np.uint8), **arrays)
    with pytest.raises(ResultsError, match=f"{path} .*groups"):
        from_npz(path, record)


def test_undefined_values_agree_with_undefined_values_only(world: Any) -> None:
    record = world.cell("ltrp", 0.5, 0.5)
    path, summary = world.store.summary_path(record.fingerprint), world.store.read_summary(record)
    empty = replace(summary, groups={**summary.groups, "unseen": ()})
    undefined = [
        replace(m, value=math.nan) if (m.metric, m.group, m.category) == ("coverage", "unseen", None) else m
        for m in record.metrics
    ]
    unmeasured = replace(record, metrics=tuple(undefined))
    path.write_bytes(to_npz(empty, record.records_sha256))
    assert math.isnan(from_npz(path, unmeasured).measured("coverage", "unseen"))
    with pytest.raises(ResultsError, match=r"coverage of unseen is nan, but 0\.\d+ in its record"):
        from_npz(path, record)
    path.write_bytes(to_npz(summary, record.records_sha256))
    with pytest.raises(ResultsError, match=r"coverage of unseen is 0\.\d+, but nan in its record"):
        from_npz(path, unmeasured)


def test_the_summary_of_another_cell_is_rejected(world: Any) -> None:
    one, other = world.cell("good", 0.5, 0.6), world.cell("bad", 0.5, 0.1)
    data = world.store.summary_path(one.fingerprint).read_bytes()
    world.store.summary_path(other.fingerprint).write_bytes(data)
    with pytest.raises(ResultsError, match="does not belong to the rows of its cell"):
        load_leaderboard(world.store.root)
    # Bound to its own rows, but with the other cell's values.
    world.store.write_summary(other, world.store.read_summary(one))
    with pytest.raises(ResultsError, match=r"coverage of all is .* in its record"):
        load_leaderboard(world.store.root)
    with pytest.raises(ResultsError, match="not a valid 'means' resampling summary: meta/groups"):
        world.store.write_summary(other, {"meta": {"kind": "means"}, "values": np.zeros(1)})
