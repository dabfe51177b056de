"""The run folder: damage is found, and equal cells have equal bytes."""

from __future__ import annotations

import json
import math
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ltrp_bench.results.schema.image_rows import rows_digest
from ltrp_bench.results.schema.record import CellRecord, ResultsError
from ltrp_bench.results.store.run_store import ReadOnceStore, RunStore

MakeRecord = Callable[..., CellRecord]
SCHEMA = {"category": "string", "score": "float64", "n": "int64", "raw": "binary"}
IMAGES: dict[str, list[dict[str, Any]]] = {
    "b": [
        {"category": "dog", "score": 0.1, "n": 2**60, "raw": b"\x00\xff"},
        {"category": "", "score": math.nan, "n": -1, "raw": b""},
    ],
    "a": [],
}


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    store = RunStore(tmp_path / "runs")
    store.prepare()
    return store


def test_a_cell_comes_back(store: RunStore, make_record: MakeRecord) -> None:
    record = store.write_cell(make_record(), IMAGES, SCHEMA, {"machine": "here"})
    assert record.records_sha256 == rows_digest(IMAGES)
    assert store.finished(record.fingerprint) == record and store.read_cells() == [record]
    images = store.read_images(record.fingerprint)
    assert list(images) == ["b", "a"] and rows_digest(images) == rows_digest(IMAGES)
    table = pq.read_table(store.rows_path(record.fingerprint))
    assert table.column_names == ["image_id", "rows"] and table.num_rows == 2
    provenance = store.root / "provenance" / f"{record.fingerprint}.json"
    assert json.loads(provenance.read_text()) == {"machine": "here"}


def test_equal_cells_have_equal_bytes(tmp_path: Path, make_record: MakeRecord) -> None:
    contents = []
    for name in ("one", "two"):
        store = RunStore(tmp_path / name)
        record = store.write_cell(make_record(), IMAGES, SCHEMA, {"time": name})
        contents.append(
            (store.cell_path(record.fingerprint).read_bytes(), store.rows_path(record.fingerprint).read_bytes())
        )
    assert contents[0] == contents[1]


def test_a_missing_cell_is_not_finished(store: RunStore, make_record: MakeRecord) -> None:
    assert store.finished(make_record().fingerprint) is None
    assert store.read_cells() == []


@pytest.mark.parametrize("damage", ["truncate", "alter", "remove", "swap", "not utf-8"])
def test_damage_is_one_clear_line(store: RunStore, make_record: MakeRecord, damage: str) -> None:
    first = store.write_cell(make_record(), IMAGES, SCHEMA, {})
    other = store.write_cell(make_record(seed=1), {"c": []}, SCHEMA, {})
    cell, rows = store.cell_path(first.fingerprint), store.rows_path(first.fingerprint)
    if damage == "truncate":
        rows.write_bytes(rows.read_bytes()[:-30])
    elif damage == "alter":
        cell.write_text(cell.read_text().replace("0.6", "0.9"))
    elif damage == "remove":
        rows.unlink()
    elif damage == "swap":
        rows.write_bytes(store.rows_path(other.fingerprint).read_bytes())
    else:
        cell.write_bytes(b"\xff\xfe")
    with pytest.raises(ResultsError) as caught:
        store.finished(first.fingerprint)
    assert "\n" not in str(caught.value)
    assert first.fingerprint in str(caught.value)


def test_the_record_of_another_cell_is_rejected(store: RunStore, make_record: MakeRecord) -> None:
    first = store.write_cell(make_record(), IMAGES, SCHEMA, {})
    other = make_record(seed=1)
    store.cell_path(other.fingerprint).write_bytes(store.cell_path(first.fingerprint).read_bytes())
    with pytest.raises(ResultsError, match=r"holds the record of another cell \("):
        store.read_cells()


def test_altered_rows_are_found(store: RunStore, make_record: MakeRecord) -> None:
    record = store.write_cell(make_record(), IMAGES, SCHEMA, {})
    path = store.rows_path(record.fingerprint)
    table = pq.read_table(path)
    # The footer, and with it the checksum, stays; one image is missing.
    pq.write_table(table.slice(0, 1), path)
    with pytest.raises(ResultsError, match="was altered: its rows do not match their checksum"):
        store.read_images(record.fingerprint)


def test_chunks_hold_several_cells(store: RunStore) -> None:
    store.write_chunk("g", (0, 3), {"x": IMAGES, "y": {"b": [], "a": []}}, SCHEMA, {"c": "corrupt"})
    held = store.read_chunk("g", (0, 3), ["y", "z"])
    assert held == ({"y": {"b": [], "a": []}}, {"c": "corrupt"})
    both = store.read_chunk("g", (0, 3), ["x", "y"])
    assert both is not None and rows_digest(both[0]["x"]) == rows_digest(IMAGES)
    assert store.read_chunk("g", (3, 6), ["x"]) is None
    store.chunk_path("g", 0, 3).write_bytes(b"PAR1 nonsense")
    assert store.read_chunk("g", (0, 3), ["x"]) is None
    store.drop_chunks("g")
    assert not (store.root / "partial" / "g").exists()


def test_a_chunk_of_unreadable_images_only(store: RunStore) -> None:
    store.write_chunk("g", (0, 1), {"x": {}}, SCHEMA, {"c": "corrupt"})
    assert store.read_chunk("g", (0, 1), ["x"]) == ({"x": {}}, {"c": "corrupt"})


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(ResultsError, match="cannot be created"):
        RunStore(tmp_path / "runs").prepare()
    with pytest.raises(ResultsError, match="is not a folder"):
        RunStore(tmp_path / "runs").read_cells()


def test_files_of_killed_processes_are_removed(store: RunStore) -> None:
    host = socket.gethostname()
    dead, alive = store.tmp / f".x.json.{host}.999999999.ab.tmp", store.tmp / f".x.json.{host}.{os.getpid()}.ab.tmp"
    elsewhere = store.tmp / ".x.json.elsewhere.999999999.ab.tmp"
    for path in (dead, alive, elsewhere):
        path.write_text("half")
    store.prepare()
    assert not dead.exists() and alive.exists() and elsewhere.exists()


def test_a_folder_that_is_only_read_reads_each_record_once(tmp_path: Path, make_record: MakeRecord) -> None:
    record = RunStore(tmp_path).write_cell(make_record(), {}, {"x": "int64"}, {})
    store = ReadOnceStore(tmp_path)
    assert store.read_cells() == [record]
    store.cell_path(record.fingerprint).write_text("damaged later")
    assert store.read_cells() == [record] and store.read_cell(record.fingerprint) is store.read_cells()[0]
    with pytest.raises(ResultsError, match="truncated"):
        RunStore(tmp_path).read_cells()
