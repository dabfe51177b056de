"""The run folder: damage is found, and equal cells have equal bytes."""

from __future__ import annotations

import json
import math
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ltrp_bench.results.schema.image_rows import _encode, rows_digest, to_chunk
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


def test_the_layout_of_the_folder(world: Any) -> None:
    """As the guide of the run folder has it: others read these files, and older versions wrote them."""
    store, root = world.store, world.store.root
    one = world.cell("ltrp", 0.5, 0.5).fingerprint
    store.write_chunk("g", (0, 16), {}, SCHEMA, {})
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()) == [
        f"cells/{one}.json",
        f"evidence/{one}.npz",
        "partial/g/00000000-00000016.parquet",
        f"provenance/{one}.json",
        f"records/{one}.parquet",
    ]
    assert store.tmp == root / "tmp" and store.tmp.is_dir()  # unfinished files are made there
    assert (
        pq.read_schema(store.rows_path(one)).metadata[b"ltrp_bench"]
        == json.dumps(
            {"fingerprint": one, "rows_sha256": store.read_cell(one).records_sha256}, separators=(",", ":")
        ).encode()
    )


def test_provenance(store: RunStore, make_record: MakeRecord) -> None:
    record = store.write_cell(make_record(), IMAGES, SCHEMA, {"time": 1.5, "machine": {"name": "here"}})
    path = store.provenance_path(record.fingerprint)
    # Sorted and indented, so that differences of two runs can be read.
    assert path.read_text() == '{\n "machine": {\n  "name": "here"\n },\n "time": 1.5\n}\n'
    assert store.read_provenance(record.fingerprint) == {"time": 1.5, "machine": {"name": "here"}}
    # It is no part of the result: what cannot be read is as good as absent.
    for damage in (b"[1]", b"{", b"\xff\xfe", b"[" * 100_000):
        path.write_bytes(damage)
        assert store.read_provenance(record.fingerprint) == {}
    path.unlink()
    assert store.read_provenance(record.fingerprint) == {}


def test_summaries_follow_their_cell(world: Any) -> None:
    store, record = world.store, world.cell("ltrp", 0.5, 0.5)
    other = world.cell("random", 0.5, 0.3)
    summary = store.read_summary(record)
    assert summary.measured("coverage", "all") == pytest.approx(record.value("coverage", "all"))
    assert store.groups_key(record) == ""
    # A cell that is measured again without a summary loses the old one; others keep theirs.
    world.cell("ltrp", 0.5, 0.5, summary=False)
    assert store.read_summary(record) is None and store.read_summary(other) is not None
    store.write_summary(record, None)
    assert store.read_summary(record) is None
    store.write_summary(record, summary)
    assert list(store.read_summary(record).images) == world.images


def test_replicates_are_listed_in_order(store: RunStore, make_record: MakeRecord) -> None:
    record = make_record()
    assert store.replicates(record.fingerprint) == []
    folder = store.root / "replicates" / record.fingerprint
    for name in ("c", "a", "b"):
        RunStore(folder / name).write_cell(record, IMAGES, SCHEMA, {})
    (folder / "0" / "records").mkdir(parents=True)  # of an import that was killed
    assert [one.root for one in store.replicates(record.fingerprint)] == [folder / name for name in "abc"]
    assert store.replicates(make_record(seed=1).fingerprint) == []


def test_only_chunks_are_written_without_waiting_for_the_disk(
    store: RunStore, make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[int] = []
    monkeypatch.setattr(os, "fsync", waits.append)
    store.write_chunk("g", (0, 1), {}, SCHEMA, {})
    assert not waits
    store.write_cell(make_record(), IMAGES, SCHEMA, {})
    assert len(waits) == 3  # rows, provenance and record


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


def test_all_cells_of_a_chunk(store: RunStore) -> None:
    cells = {"x": {"a": []}, "y": {"a": []}}
    store.write_chunk("g", (0, 1), cells, SCHEMA, {"c": "corrupt", "b": "empty"})
    held = store.read_chunk("g", (0, 1))
    assert held == (cells, {"c": "corrupt", "b": "empty"}) and list(held[1]) == ["c", "b"]


@pytest.mark.parametrize("skipped", [{}, {"skipped": 3}, {"skipped": [["c"]]}])
def test_a_chunk_without_its_skipped_images_is_measured_again(store: RunStore, skipped: dict[str, Any]) -> None:
    store.write(store.chunk_path("g", 0, 1), to_chunk({"x": {"a": []}}, SCHEMA, skipped))
    assert store.read_chunk("g", (0, 1), ["x"]) is None


def test_chunks_of_unfinished_cells_stay(store: RunStore, make_record: MakeRecord) -> None:
    done = [store.write_cell(make_record(seed=seed), IMAGES, SCHEMA, {}).fingerprint for seed in (0, 1)]
    for first, names in enumerate((done, [done[0], "unfinished"], ["unfinished"])):
        store.write_chunk("g", (first, first + 1), {name: {"a": []} for name in names}, SCHEMA, {})
    # Damaged chunks are of no use to anyone.
    damaged = [store.chunk_path("g", first, first + 1) for first in (3, 4, 5)]
    damaged[0].write_bytes(b"PAR1 nonsense")
    damaged[1].write_bytes(store.rows_path(done[0]).read_bytes())  # names no cells
    damaged[2].write_bytes(_encode({"cell": pa.array(["x"])}, {"cells": 3}))
    store.drop_chunks("g")
    folder = store.root / "partial" / "g"
    assert sorted(path.name for path in folder.iterdir()) == [
        *("00000001-00000002.parquet", "00000002-00000003.parquet")
    ]
    store.drop_chunks("absent")  # another process has removed them


def test_chunks_of_finished_cells_go_with_their_folder(store: RunStore, make_record: MakeRecord) -> None:
    done = store.write_cell(make_record(), IMAGES, SCHEMA, {}).fingerprint
    store.write_chunk("g", (0, 1), {done: {"a": []}}, SCHEMA, {})
    store.write_chunk("h", (0, 1), {done: {"a": []}}, SCHEMA, {})
    (store.root / "partial" / "g" / "left by a killed process").touch()
    store.drop_chunks("g")
    assert [path.name for path in (store.root / "partial").iterdir()] == ["h"]


def test_one_process_at_a_time_holds_a_lock(store: RunStore) -> None:
    with store.lock("g", wait=False) as first, store.lock("g", wait=False) as second, store.lock("h", True) as other:
        assert (first, second, other) == (True, False, True)
    assert (store.root / "partial" / "g.lock").exists()
    with store.lock("g", wait=False) as again:
        assert again


def test_other_files_beside_records_are_no_cells(store: RunStore, make_record: MakeRecord) -> None:
    records = [store.write_cell(make_record(seed=seed), IMAGES, SCHEMA, {}) for seed in range(3)]
    (store.root / "cells" / "notes.json").write_text("{}")
    assert store.read_cells() == sorted(records, key=lambda one: one.fingerprint)


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
