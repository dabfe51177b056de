"""Per-image rows: types, checksums and Parquet files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from ltrp_bench.results.schema.image_rows import (
    footer,
    from_chunk,
    from_parquet,
    normalise_rows,
    rows_digest,
    to_chunk,
    to_parquet,
)
from ltrp_bench.results.schema.record import ResultsError

SCHEMA = {"category": "string", "score": "float64", "n": "int64", "raw": "binary"}
IMAGES: dict[str, list[dict[str, Any]]] = {
    "b": [{"category": "dog", "score": 0.1, "n": 2**60, "raw": b"\x00\xff"}],
    "a": [],
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.parquet"
    path.write_bytes(to_parquet(IMAGES, SCHEMA, {"fingerprint": "f"}))
    return path


def test_rows_come_back_in_order(file: Path) -> None:
    images, meta = from_parquet(file)
    assert images == IMAGES and list(images) == ["b", "a"]
    assert meta == footer(file) == {"fingerprint": "f", "rows_sha256": rows_digest(IMAGES)}
    assert file.read_bytes() == to_parquet(IMAGES, SCHEMA, {"fingerprint": "f"}, rows_digest(IMAGES))


def test_the_digest_depends_on_ids_order_and_values() -> None:
    base = rows_digest({"a": [], "b": []})
    assert base == rows_digest({"a": [], "b": []})
    others = [rows_digest({"b": [], "a": []}), rows_digest({"a": []}), rows_digest({"a": [], "b": [{"x": 1}]})]
    assert len({base, *others}) == 4
    assert rows_digest({"a": [{"x": math.nan, "y": b"\xff"}]}) == rows_digest({"a": [{"y": b"\xff", "x": math.nan}]})


def test_damaged_files(file: Path, tmp_path: Path) -> None:
    whole = file.read_bytes()
    with pytest.raises(ResultsError, match=r"none\.parquet is missing; repeat the run to evaluate the cell again"):
        footer(tmp_path / "none.parquet")
    file.write_bytes(whole[:-10])
    for read in (footer, from_parquet):
        with pytest.raises(ResultsError, match=r"rows\.parquet is truncated or damaged; delete it"):
            read(file)
    file.write_bytes(whole)
    table = pq.read_table(file)
    pq.write_table(table.slice(0, 1), file)  # the footer stays
    with pytest.raises(ResultsError, match="its rows do not match their checksum"):
        from_parquet(file)
    pq.write_table(table.replace_schema_metadata({}), file)
    with pytest.raises(ResultsError, match=r"rows\.parquet is not a file of ltrp-bench"):
        footer(file)


def test_chunks(tmp_path: Path) -> None:
    path = tmp_path / "chunk.parquet"
    path.write_bytes(to_chunk({"x": IMAGES, "y": {"b": [], "a": []}}, SCHEMA, {"skipped": []}))
    cells, meta = from_chunk(path, ["y", "z"])
    assert cells == {"y": {"b": [], "a": []}} and meta["skipped"] == []
    assert from_chunk(path, ["x"])[0] == {"x": IMAGES}
    pq.write_table(pq.read_table(path).slice(0, 3), path)
    assert from_chunk(path, ["x"])[0] == {"x": IMAGES}
    with pytest.raises(ResultsError, match="its rows do not match their checksum"):
        from_chunk(path, ["y"])


@pytest.mark.parametrize(
    "row",
    [
        {"category": "a", "score": 1.0, "n": 1},
        {"category": "a", "score": 1.0, "n": 1, "raw": b"", "extra": 1},
        {"category": "a", "score": None, "n": 1, "raw": b""},
        {"category": "a", "score": "high", "n": 1, "raw": b""},
    ],
)
def test_rows_that_do_not_fit_their_schema(row: dict[str, Any]) -> None:
    with pytest.raises(ResultsError, match="image 'x'"):
        normalise_rows([row], SCHEMA, "task 't', image 'x'")


def test_rows_are_normalised_to_plain_types() -> None:
    row = {"n": np.int32(3), "raw": bytearray(b"x"), "score": np.float32(0.1), "category": np.str_("a")}
    (out,) = normalise_rows([row], SCHEMA, "here")
    assert list(out) == list(SCHEMA)
    assert [type(value) for value in out.values()] == [str, float, int, bytes]
    assert out["score"] == float(np.float32(0.1))


def test_unknown_types_of_a_schema() -> None:
    with pytest.raises(ResultsError, match="task 't': the task's row_schema has the unknown type 'int8'"):
        normalise_rows([{"n": 1}], {"n": "int8"}, "task 't'")
