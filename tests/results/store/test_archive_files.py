"""What an archive holds, file by file, and how its files are put in place."""

from __future__ import annotations

import hashlib
import json
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ltrp_bench.results.schema.record import ResultsError
from ltrp_bench.results.store import archive
from ltrp_bench.results.store.archive import export, import_archive
from ltrp_bench.results.store.gallery import Thumbnail, write_images, write_ranks
from ltrp_bench.results.store.run_store import RunStore


@pytest.fixture
def small(world: Any) -> Any:
    """One cell with a gallery."""
    record = world.cell("ltrp", 0.25, 0.6)
    task, selector = record.task.identity.short, record.selector.identity.short
    write_images(world.store, task, [Thumbnail("a", 2, 2, b"webp")])
    write_ranks(world.store, task, selector, 0, {"a": np.zeros((1, 1), np.int32)})
    # Of other cells and tasks.
    write_ranks(world.store, task, selector, 1, {"a": np.zeros((1, 1), np.int32)})
    write_ranks(world.store, task, "0123abcd", 0, {"a": np.zeros((1, 1), np.int32)})
    write_images(world.store, "0123abcd", [Thumbnail("a", 2, 2, b"other")])
    world.record, world.gallery = record, f"gallery/{task}"
    return world


def _written(path: Path, files: dict[str, bytes], manifest: Any = None) -> Path:
    """An archive of these files, with their checksums."""
    own = {"format": 1, "files": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}}
    with zipfile.ZipFile(path, "w") as out:
        for name, data in files.items():
            out.writestr(name, data)
        out.writestr("manifest.json", json.dumps({**own, **(manifest or {})}))
    return path


def test_files_of_an_archive(small: Any, tmp_path: Path) -> None:
    assert export(small.store.root, tmp_path / "a.zip", with_paths=True) == 1
    one = small.record.fingerprint
    names = [
        f"cells/{one}.json",
        f"evidence/{one}.npz",
        f"{small.gallery}/00.webp",
        f"{small.gallery}/pictures.json",
        f"{small.gallery}/{small.record.selector.identity.short}-0.npz",
        f"provenance/{one}.json",
        f"records/{one}.parquet",
    ]
    with zipfile.ZipFile(tmp_path / "a.zip") as held:
        infos = {info.filename: info for info in held.infolist()}
        assert list(infos) == [*sorted(names), "manifest.json"]
        for name in names:
            assert held.read(name) == (small.store.root / name).read_bytes()
        assert json.loads(held.read("manifest.json")) == {
            "format": 1,
            "cells": 1,
            "files": {name: hashlib.sha256(held.read(name)).hexdigest() for name in names},
        }
    # The same bytes at any time and for any user; what is compressed already is stored as it is.
    assert {info.date_time for info in infos.values()} == {(1980, 1, 1, 0, 0, 0)}
    assert {info.external_attr for info in infos.values()} == {0o644 << 16}
    kinds = {name.rpartition(".")[2]: info.compress_type for name, info in infos.items()}
    stored = dict.fromkeys(("npz", "webp", "parquet"), zipfile.ZIP_STORED)
    assert kinds == {"json": zipfile.ZIP_DEFLATED, **stored}


def test_cells_of_some_tasks_and_selectors(world: Any, tmp_path: Path) -> None:
    for selector in ("evit.shapes0", "evit.a.b", "ltrp"):
        for task in ("one", "two"):
            world.cell(selector, 0.25, 0.6, summary=False, task=task)
    cells: list[tuple[Any, int]] = [
        ({"selectors": ["evit"]}, 4),
        ({"selectors": ["evit.a.b"]}, 2),
        ({"selectors": ["evit.a", "ltrp"]}, 2),
        ({"tasks": ["one"], "selectors": ["evit", "ltrp"]}, 3),
        ({"tasks": ["one", "two"]}, 6),
    ]
    for options, count in cells:
        assert export(world.store.root, tmp_path / "a.zip", **options) == count


def test_records_are_put_in_place_last(
    small: Any, other_world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import that is killed leaves no record without its rows."""
    other_world.cell("ltrp", 0.25, 0.601)
    small.cell("ltrp", 0.5, 0.6)
    export(small.store.root, tmp_path / "a.zip")
    order: list[str] = []
    write = RunStore.write

    def noted(store: RunStore, path: Path, data: bytes, **options: Any) -> None:
        order.append(path.parent.name)
        write(store, path, data, **options)

    monkeypatch.setattr(RunStore, "write", noted)
    # Unpacked in the run folder, since the disk of temporary files may be small.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    done = import_archive(tmp_path / "a.zip", other_world.store.root)
    assert (len(done.new), len(done.replicates)) == (1, 1)
    assert len(order) == 8 + 3 and order[-2:] == ["cells", "cells"] and order.count("cells") == 2
    # Again there is nothing to write.
    order.clear()
    again = import_archive(tmp_path / "a.zip", other_world.store.root)
    assert order == [] and (len(again.known), again.replicates, again.spread) == (2, (), 0.0)


def test_what_is_there_already_is_kept(small: Any, other_world: Any, tmp_path: Path) -> None:
    """Provenance and gallery may differ; one line counts them."""
    root, store, lines = other_world.store.root, other_world.store, []  # type: ignore[var-annotated]
    export(small.store.root, tmp_path / "a.zip")
    done = import_archive(tmp_path / "a.zip", root, lines.append)
    assert done.new == (small.record.fingerprint,) and (done.known, done.spread, lines) == ((), 0.0, [])
    import_archive(tmp_path / "a.zip", root, lines.append)
    assert lines == []
    changed = [root / small.gallery / "00.webp", store.provenance_path(small.record.fingerprint)]
    for count, path in enumerate(changed, start=1):
        path.write_bytes(b"another")
        done = import_archive(tmp_path / "a.zip", root, lines.append)
        assert done.known == (small.record.fingerprint,) and not done.new
        assert [one.read_bytes() for one in changed[:count]] == [b"another"] * count
        end = "files of provenance or the gallery differ from those in the run folder, which were kept"
        assert lines.pop() == f"{count} {end}" and lines == []
    # A record that is written in another way, with the same content, is no difference.
    with zipfile.ZipFile(tmp_path / "a.zip") as held:
        files = {name: held.read(name) for name in held.namelist() if name != "manifest.json"}
    name = f"cells/{small.record.fingerprint}.json"
    files[name] = json.dumps(json.loads(files[name]), indent=3).encode()
    import_archive(_written(tmp_path / "b.zip", files), root, lines.append)
    assert lines == [f"2 {end}"]
    # What was lost is there again.
    changed[0].unlink()
    store.summary_path(small.record.fingerprint).unlink()
    import_archive(tmp_path / "a.zip", root)
    assert changed[0].read_bytes() == b"webp" and store.read_summary(small.record) is not None


def test_replicates_without_a_value_have_no_spread(small: Any, other_world: Any, tmp_path: Path) -> None:
    """The metric is undefined in both; another one differs by rounding."""
    for world, other in ((small, 0.5), (other_world, 0.6)):
        record = world.make("center", values=(float("nan"),) * 3)
        rows = tuple(replace(row, value=other) if row.metric == "other" else row for row in record.metrics)
        images: dict[str, list[Any]] = {str(number): [] for number in range(record.images)}
        world.store.write_cell(replace(record, metrics=rows), images, {"x": "int64"}, {})
    export(small.store.root, tmp_path / "a.zip", selectors=["center"])
    done = import_archive(tmp_path / "a.zip", other_world.store.root)
    assert len(done.replicates) == 1 and done.spread == 0.0


def test_refusals_say_what_is_wrong(small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, path, root = small.record.fingerprint, tmp_path / "a.zip", tmp_path / "new"
    refused = f"{path} is refused, nothing was imported:"

    def message() -> str:
        with pytest.raises(ResultsError) as caught:
            import_archive(path, root)
        assert not [file for file in root.rglob("*") if file.is_file()]
        return str(caught.value)

    assert message() == f"{path} does not exist; `ltrp-bench results export {path}` writes one"
    path.write_bytes(b"no zip")
    assert message() == f"{refused} it is truncated or not an archive of results (BadZipFile)"
    _written(path, {}, {"format": 2})
    assert message() == f"{refused} archive format 2; this release reads 1"
    files = {name: (small.store.root / name).read_bytes() for name in (f"records/{one}.parquet", f"cells/{one}.json")}
    _written(path, {**files, "records/x.parquet": b"", "extra/x": b""})
    assert message() == f"{refused} unexpected file 'records/x.parquet'"
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(_written(path, files), "a") as out:
        out.writestr(f"cells/{one}.json", b"twice")
    assert message() == f"{refused} a file name occurs twice"
    _written(path, {**files, f"cells/{one}.json": b"{}"})
    assert message().startswith(f"{refused} cells/{one}.json ")
    _written(path, {name: data for name, data in files.items() if "records" in name})
    assert message() == f"{refused} records/{one}.parquet belongs to no cell of the archive"
    _written(path, {name: data for name, data in files.items() if "cells" in name})
    assert message() == f"{refused} records/{one}.parquet is missing"
    _written(path, {**files, "labels.json": b"{"})
    assert message() == f"{refused} labels.json is damaged (JSONDecodeError)"
    # Unpacked sizes are known before anything is unpacked.
    with zipfile.ZipFile(_written(path, files)) as held:
        size = sum(info.file_size for info in held.infolist())
    monkeypatch.setattr(archive, "_MAX_BYTES", size - 1)
    assert message().startswith(f"{refused} it unpacks to more than")
    monkeypatch.setattr(archive, "_MAX_BYTES", size)
    assert import_archive(path, root).new == (one,)
    assert list((root / "tmp").iterdir()) == []


def test_a_cell_of_fewer_images_than_its_record_says(world: Any, tmp_path: Path) -> None:
    record = world.make("center")  # of ten images
    world.store.write_cell(record, {"a": [], "b": []}, {"x": "int64"}, {})
    with pytest.raises(ResultsError, match=f"^records/{record.fingerprint}.parquet holds 2 images, its record 10$"):
        export(world.store.root, tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()
