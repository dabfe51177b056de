"""Whatever is killed, full or removed: nothing that was finished is lost, and the same run ends with the same bytes.

`pytest --runslow --kills N tests/harness/evaluation/test_endurance.py` kills N processes instead of 100.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
import toy_bench as toy

from ltrp_bench.results.schema.atomic_io import disk_error
from ltrp_bench.results.schema.record import ResultsError
from ltrp_bench.results.store.run_store import RunStore

SMALL = 100
"""Images: two spans, so that a run takes a fraction of a second."""


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("reference")
    _sweep(out)
    return toy.contents(out)


def _sweep(out: Path, progress: toy.Recorder | None = None) -> None:
    toy.sweep(out, progress, toy.toy_groups(toy.ToyTask(SMALL), ratios=(0.25,)), workers=0)


def _start(out: Path) -> int:
    """Process id of a fork that runs the sweep: torch is imported already, so that kills hit the run itself."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            _sweep(out)
            code = 0
        finally:
            os._exit(code)
    return pid


def _ended(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.slow
def test_killed_at_random_moments(reference: dict[str, bytes], tmp_path: Path, pytestconfig: pytest.Config) -> None:
    moments, kills, runs = random.Random(0), 0, 0
    while kills < pytestconfig.getoption("--kills"):
        out = tmp_path / f"run{runs}"
        runs += 1
        while True:
            pid = _start(out)
            time.sleep(moments.uniform(0.0, 0.5))
            os.kill(pid, signal.SIGKILL)
            code = _ended(pid)
            kills += code == -signal.SIGKILL
            if code == 0 or kills >= pytestconfig.getoption("--kills"):
                break
        _sweep(out)
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
        os.kill(both[0], signal.SIGKILL)
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
            _sweep(tmp_path)
    assert len(refused) == 1 and str(refused[0]) in str(caught.value)
    _sweep(tmp_path)
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
        _sweep(out, _Removing(out))
    _sweep(out)
    assert toy.contents(out) == reference


def test_a_clock_that_is_set_back_changes_nothing(
    reference: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        _sweep(tmp_path, toy.Recorder(interrupt_after=2))
    now = time.time()
    for path in tmp_path.rglob("*"):
        os.utime(path, (now + 86400, now + 86400))  # as if it had been written tomorrow
    monkeypatch.setattr(time, "time", lambda: now - 86400)
    recorder = toy.Recorder()
    _sweep(tmp_path, recorder)
    assert recorder.worked < recorder.total and toy.contents(tmp_path) == reference
