"""Drivers and workers of several processes killed at random moments: the same bytes, and no worker outlives its driver.

`pytest --runslow --kills N` kills N / 50 processes here; nodes of a Ray cluster are killed in test_ray_cluster.py.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import toy_bench as toy
import two_workers

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["two_workers"])


def _group_of(leader: int) -> list[int]:
    """Processes of a process group, without its leader and without those that have ended."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != leader:
            try:
                state, _, group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            except OSError:
                continue
            if int(group) == leader and state != "Z":
                found.append(int(entry.name))
    return sorted(found)


def _workers(leader: int) -> list[int]:
    """Workers of a driver: what the servers of its group have forked."""
    own = _group_of(leader)
    parents = {pid: int((Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[1]) for pid in own}
    return [pid for pid, parent in parents.items() if parent in own]


def _kill_one(process: BaseProcess, moments: random.Random, out: Path) -> str | None:
    """Kill the driver or, half of the time, a worker, once a further span is on disk; what it was, None if too late."""
    assert process.pid is not None
    held = set(out.glob("partial/*/*.parquet"))
    while process.is_alive() and not set(out.glob("partial/*/*.parquet")) - held:
        time.sleep(0.02)
    time.sleep(moments.uniform(0.0, 0.5))
    try:
        workers = _workers(process.pid) if moments.random() < 0.5 else []
        victim = moments.choice(workers) if workers else process.pid
        os.kill(victim, signal.SIGKILL)
    except OSError:
        return None
    return "driver" if victim == process.pid else "worker"


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    out = tmp_path_factory.mktemp("reference")
    two_workers.drive_alone(out)
    return toy.contents(out)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds workers in /proc")
def test_drivers_and_workers_killed_at_random(
    reference: Mapping[str, bytes], tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    moments, killed, runs = random.Random(3), dict.fromkeys(("driver", "worker"), 0), 0
    while sum(killed.values()) < max(2, pytestconfig.getoption("--kills") // 50):
        out, runs = tmp_path / str(runs), runs + 1
        while True:
            process = CONTEXT.Process(target=two_workers.drive, args=(out,))
            process.start()
            victim = _kill_one(process, moments, out)
            process.join()
            if victim is not None and (victim == "worker" or process.exitcode == -signal.SIGKILL):
                killed[victim] += 1
            assert process.exitcode == 0 or victim == "driver"
            assert process.pid is not None
            _await_end_of(process.pid)
            if process.exitcode == 0:
                break
        assert toy.contents(out) == reference
    assert all(killed.values()), killed


def _await_end_of(leader: int) -> None:
    """Wait until all workers of a driver that has ended are gone; fail after a minute."""
    end = time.monotonic() + 60
    while left := _group_of(leader):
        if time.monotonic() > end:
            pytest.fail(f"{len(left)} processes outlived their driver")
        time.sleep(0.05)
