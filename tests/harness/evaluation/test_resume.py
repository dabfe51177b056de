"""A run that is interrupted anywhere and started again ends with the same bytes."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import toy_bench as toy

from ltrp_bench.results.schema.record import ResultsError
from ltrp_bench.results.store.run_store import RunStore


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("reference")
    toy.sweep(out)
    return toy.contents(out)


def test_a_run_stores_every_cell_and_leaves_nothing_else(reference: dict[str, bytes], tmp_path: Path) -> None:
    records = toy.sweep(tmp_path)
    # net 2, random 2 x 2 seeds, oracle 2, full 1, plain 2
    assert len(records) == 11 and len(reference) == 22
    assert not list((tmp_path / "tmp").iterdir())
    assert not [path for path in (tmp_path / "partial").iterdir() if path.is_dir()]


@pytest.mark.parametrize("spans", range(0, 18, 2))
def test_interrupted_after_any_span(reference: dict[str, bytes], tmp_path: Path, spans: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        toy.sweep(tmp_path, toy.Recorder(interrupt_after=spans))
    again = toy.Recorder()
    toy.sweep(tmp_path, again)
    assert toy.contents(tmp_path) == reference
    # 6 groups of 150 images in spans of 64; the interrupt came after the span was stored.
    assert again.done == again.total == 900
    finished = sum(([64] * 12 + [22] * 6)[: spans + 1])  # all groups take a span before the next one begins
    assert again.worked == 900 - finished


def test_interrupted_over_and_over(reference: dict[str, bytes], tmp_path: Path) -> None:
    for _ in range(18):
        with pytest.raises(KeyboardInterrupt):
            toy.sweep(tmp_path, toy.Recorder(interrupt_after=0))
    recorder = toy.Recorder()
    toy.sweep(tmp_path, recorder)
    assert recorder.worked == 0
    assert toy.contents(tmp_path) == reference


def test_other_keep_ratios_after_an_interrupt(reference: dict[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        toy.sweep(tmp_path, toy.Recorder(interrupt_after=1), groups=toy.toy_groups(ratios=(0.5,)))
    toy.sweep(tmp_path)
    assert toy.contents(tmp_path) == reference


def test_a_second_run_does_nothing(tmp_path: Path) -> None:
    toy.sweep(tmp_path)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json")}
    recorder = toy.Recorder()
    toy.sweep(tmp_path, recorder)
    assert recorder.worked == 0 and recorder.done == recorder.total
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json")} == times


def test_a_damaged_span_is_measured_again(reference: dict[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        toy.sweep(tmp_path, toy.Recorder(interrupt_after=1))
    files = sorted((tmp_path / "partial").rglob("*.parquet"))
    assert len(files) == 2
    files[0].write_bytes(files[0].read_bytes()[:-20])
    recorder = toy.Recorder()
    toy.sweep(tmp_path, recorder)
    assert recorder.worked == 900 - 64
    assert toy.contents(tmp_path) == reference


def test_an_altered_record_stops_the_run(tmp_path: Path) -> None:
    record = toy.sweep(tmp_path)[0]
    path = RunStore(tmp_path).rows_path(record.fingerprint)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ResultsError, match="truncated or damaged") as caught:
        toy.sweep(tmp_path)
    assert "\n" not in str(caught.value) and path.name in str(caught.value)


def test_a_full_disk_keeps_finished_cells(
    reference: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = 0

    def fsync(_: int) -> None:
        nonlocal written
        written += 1
        if written > 24:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(ResultsError, match="disk is full") as caught:
            toy.sweep(tmp_path)
    assert "\n" not in str(caught.value)
    assert RunStore(tmp_path).read_cells()
    assert not list((tmp_path / "tmp").iterdir())
    toy.sweep(tmp_path)
    assert toy.contents(tmp_path) == reference


def _start(out: Path) -> subprocess.Popen[bytes]:
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, str(Path(toy.__file__)), str(out)], env=env)


def test_two_processes_share_one_folder(tmp_path: Path) -> None:
    both = [_start(tmp_path / "shared") for _ in range(2)]
    assert [process.wait(timeout=300) for process in both] == [0, 0]
    toy.sweep(tmp_path / "alone", groups=toy.toy_groups(toy.ToyTask(400)))
    assert toy.contents(tmp_path / "shared") == toy.contents(tmp_path / "alone")


@pytest.mark.slow
def test_killed_five_times_at_random_moments(tmp_path: Path) -> None:
    toy.sweep(tmp_path / "whole", groups=toy.toy_groups(toy.ToyTask(400)))
    killed, kills, seconds = tmp_path / "killed", 0, random.Random(0)
    while kills < 5:
        process = _start(killed)
        # Importing torch takes seconds: wait for the first sign of work, then a random moment.
        before = _written(killed)
        while process.poll() is None and _written(killed) == before:
            time.sleep(0.02)
        time.sleep(seconds.uniform(0.0, 0.6))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        kills += 1
    assert _start(killed).wait(timeout=300) == 0
    assert toy.contents(killed) == toy.contents(tmp_path / "whole")
    assert not list((killed / "tmp").iterdir())


def _written(out: Path) -> int:
    return sum(1 for _ in out.rglob("*")) if out.exists() else 0
