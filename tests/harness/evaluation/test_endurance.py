"""Whatever is killed, full or removed: nothing that was finished is lost, and the same run ends with the same bytes.

`pytest --runslow --kills N tests/harness/evaluation/test_endurance.py` kills N processes instead of 100.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import random
import shutil
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import toy_bench as toy

from ltrp_bench.results.schema.atomic_io import disk_error
from ltrp_bench.results.schema.record import ResultsError
from ltrp_bench.results.store.run_store import RunStore

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["toy_bench"])


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("reference")
    toy.small_sweep(out)
    return toy.contents(out)


def _start(out: Path) -> BaseProcess:
    """A process that runs the sweep. It is forked from one that has imported torch, so that kills hit the run itself.

    A fork of this process might hang: the threads of libraries that other tests have used do not survive it.
    """
    process = CONTEXT.Process(target=toy.small_sweep, args=(out,))
    process.start()
    return process


def _ended(process: BaseProcess) -> int:
    process.join()
    assert process.exitcode is not None
    return process.exitcode


@pytest.mark.slow
def test_killed_at_random_moments(reference: dict[str, bytes], tmp_path: Path, pytestconfig: pytest.Config) -> None:
    moments, kills, runs = random.Random(0), 0, 0
    while kills < pytestconfig.getoption("--kills"):
        out = tmp_path / f"run{runs}"
        runs += 1
        while True:
            process = _start(out)
            time.sleep(moments.uniform(0.0, 0.5))
            process.kill()
            code = _ended(process)
            kills += code == -signal.SIGKILL
            if code == 0 or kills >= pytestconfig.getoption("--kills"):
                break
        toy.small_sweep(out)
        assert toy.contents(out) == reference
        assert not list((out / "tmp").iterdir())
        shutil.rmtree(out)
    assert kills >= pytestconfig.getoption("--kills")


@pytest.mark.slow
def test_two_drivers_of_one_folder_of_which_one_is_killed(reference: dict[str, bytes], tmp_path: Path) -> None:
    moments = random.Random(1)
    for number in range(10):
        out = tmp_path / str(number)
        both = [_start(out), _start(out)]
        time.sleep(moments.uniform(0.0, 0.5))
        both[0].kill()
        assert _ended(both[0]) in (0, -signal.SIGKILL)
        assert _ended(both[1]) == 0
        assert toy.contents(out) == reference


@pytest.mark.parametrize("folder", ["scores", "gallery", "partial", "records", "provenance", "cells"])
def test_a_full_disk_at_each_kind_of_write(
    reference: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    write, refused = RunStore.write, []

    def full(self: RunStore, path: Path, data: bytes, *, sync: bool = True) -> None:
        if path.relative_to(tmp_path).parts[0] == folder:
            refused.append(path)
            raise disk_error(path, OSError(errno.ENOSPC, "No space left on device"))
        write(self, path, data, sync=sync)

    with monkeypatch.context() as patch:
        patch.setattr(RunStore, "write", full)
        with pytest.raises(ResultsError, match="the disk is full: .* finished cells are kept") as caught:
            toy.small_sweep(tmp_path)
    assert len(refused) == 1 and str(refused[0]) in str(caught.value)
    toy.small_sweep(tmp_path)
    assert toy.contents(tmp_path) == reference


class _Removing(toy.Recorder):
    """Removes the run's folder after the first span."""

    def __init__(self, out: Path) -> None:
        super().__init__()
        self._out = out

    def advance(self, key: str, images: int, seconds: float | None) -> None:
        super().advance(key, images, seconds)
        if self.spans == 1:
            shutil.rmtree(self._out)


def test_a_folder_that_is_removed_under_a_run(reference: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "runs"
    with pytest.raises(ResultsError, match="went missing during the run; start the same command again"):
        toy.small_sweep(out, _Removing(out))
    toy.small_sweep(out)
    assert toy.contents(out) == reference


def test_a_clock_that_is_set_back_changes_nothing(
    reference: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        toy.small_sweep(tmp_path, toy.Recorder(interrupt_after=2))
    now = time.time()
    for path in tmp_path.rglob("*"):
        os.utime(path, (now + 86400, now + 86400))  # as if it had been written tomorrow
    monkeypatch.setattr(time, "time", lambda: now - 86400)
    recorder = toy.Recorder()
    toy.small_sweep(tmp_path, recorder)
    assert recorder.worked < recorder.total and toy.contents(tmp_path) == reference
