"""Files of latencies: one for each setting, merged by key, refused if damaged."""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ltrp_bench.results.schema.record import CellRecord, ResultsError
from ltrp_bench.results.store.archive import export, import_archive
from ltrp_bench.results.store.latency import (
    Latencies,
    LatencyEntry,
    LatencySetting,
    Times,
    add_latencies,
    read_latencies,
)
from ltrp_bench.results.store.run_store import RunStore

SETTING = LatencySetting(device="cpu", cpu="A CPU (AVX2)", threads=1, clock="wall", versions={"torch": "2.15"})
GPU = replace(SETTING, device="cuda (A GPU)")


def _entry(selector: str, ms: float, batch: int = 1, ratio: float = 0.25) -> LatencyEntry:
    times = Times(ms, 2 * ms)
    return LatencyEntry(task_id="t", selector_id=selector, keep_ratio=ratio, batch=batch, turns=30, selector=times)


def _latencies(*entries: LatencyEntry, setting: LatencySetting = SETTING, day: int = 1) -> Latencies:
    return Latencies(setting, f"2026-11-0{day}T00:00:00+00:00", entries)


def test_latencies_are_read_as_they_were_written(tmp_path: Path) -> None:
    entry = replace(_entry("a", 1.25), whole=Times(10.0, 11.0), model=Times(3.0, 4.0), both=Times(4.5, 5.0))
    add_latencies(RunStore(tmp_path), [_latencies(entry)])
    assert read_latencies(tmp_path) == [_latencies(entry)]
    (file,) = (tmp_path / "latency").iterdir()
    assert file.name == SETTING.file and "whole" in file.read_text() and str(tmp_path) not in file.read_text()


def test_a_folder_without_latencies_has_none(tmp_path: Path) -> None:
    assert read_latencies(tmp_path) == []


def test_newer_ones_replace_those_of_equal_key(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    add_latencies(store, [_latencies(_entry("a", 1.0), _entry("b", 2.0), _entry("a", 3.0, batch=8))])
    add_latencies(store, [_latencies(_entry("a", 5.0), day=2)])
    (found,) = read_latencies(tmp_path)
    assert [(one.selector_id, one.batch, one.selector) for one in found.entries] == [
        ("a", 1, Times(5.0, 10.0)),
        ("a", 8, Times(3.0, 6.0)),
        ("b", 1, Times(2.0, 4.0)),
    ]
    assert found.measured.startswith("2026-11-02")


def test_kept_ones_win_where_asked_for(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    add_latencies(store, [_latencies(_entry("a", 1.0))])
    add_latencies(store, [_latencies(_entry("a", 5.0), _entry("b", 5.0))], keep=True)
    assert [one.selector for one in read_latencies(tmp_path)[0].entries] == [Times(1.0, 2.0), Times(5.0, 10.0)]


def test_settings_have_files_of_their_own_the_last_measured_first(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    others = [GPU, replace(SETTING, threads=2), replace(SETTING, clock="cpu"), replace(SETTING, versions={})]
    add_latencies(store, [_latencies(setting=SETTING, day=9), *(_latencies(setting=one) for one in others)])
    found = read_latencies(tmp_path)
    assert len(found) == 5 and found[0].setting == SETTING


def test_texts_of_settings() -> None:
    assert SETTING.text == "cpu, A CPU (AVX2), 1 thread" and GPU.text == "cuda (A GPU)"
    assert replace(SETTING, threads=2, clock="cpu").text == "cpu, A CPU (AVX2), 2 threads, processor time"


def _measured(record: CellRecord) -> LatencyEntry:
    ids = {"task_id": record.task.identity.short, "selector_id": record.selector.identity.short}
    return replace(_entry("", 1.0), **ids)


def test_archives_carry_the_latencies_of_their_cells(tmp_path: Path, world: Any, other_world: Any) -> None:
    good, bad = (_measured(world.cell(name, 0.25, 0.6)) for name in ("good", "bad"))
    add_latencies(world.store, [_latencies(good, bad), _latencies(bad, setting=GPU)])
    export(world.store.root, tmp_path / "a.zip", selectors=["good"])
    slower = replace(good, selector=Times(9.0, 9.0))
    for here in ((), (slower,)):  # what is there is kept
        add_latencies(other_world.store, [_latencies(*here)] if here else [])
        import_archive(tmp_path / "a.zip", other_world.store.root)
        assert [one.entries for one in read_latencies(other_world.store.root)] == [here or (good,)]


def test_an_archive_with_damaged_latencies_is_refused(tmp_path: Path, world: Any, other_world: Any) -> None:
    add_latencies(world.store, [_latencies(_measured(world.cell("good", 0.25, 0.6)))])
    export(world.store.root, tmp_path / "a.zip")
    name = f"latency/{SETTING.file}"
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        files = {one: archive.read(one) for one in archive.namelist()}
    files[name] = b"[]"
    manifest = json.loads(files["manifest.json"])
    manifest["files"][name] = hashlib.sha256(b"[]").hexdigest()
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        for one, data in {**files, "manifest.json": json.dumps(manifest).encode()}.items():
            archive.writestr(one, data)
    with pytest.raises(ResultsError, match=rf"b.zip is refused, nothing was imported: {name} is damaged"):
        import_archive(tmp_path / "b.zip", other_world.store.root)
    assert not list(other_world.store.root.glob("cells/*"))


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"format": 1, "setting": {}, "measured": "", "entries": []}'])
def test_a_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    (tmp_path / "latency").mkdir()
    (tmp_path / "latency" / SETTING.file).write_text(damage)
    with pytest.raises(ResultsError, match=rf"latency/{SETTING.file} is damaged \(\w+\); delete it"):
        read_latencies(tmp_path)


def test_a_file_of_a_later_release_is_refused(tmp_path: Path) -> None:
    content = {**json.loads(_latencies().to_json()), "format": 2}
    with pytest.raises(ResultsError, match="x.json has format 2; this release reads 1"):
        Latencies.from_json(json.dumps(content), "x.json")
