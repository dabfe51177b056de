"""A sweep on a real SLURM of three nodes on this machine, one of which is killed: the bytes of one process."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="needs the extra ltrp-bench[cluster]")
pytest.importorskip("submitit", reason="needs the extra ltrp-bench[cluster]")

SLOW = """
import os, time
from ltrp_bench.selectors.controls import CenterControl

class Slow(CenterControl):
    name = "slow"
    def _scores(self, images, context):
        first = os.environ.get("SLURM_RESTART_COUNT", "0") == "0"
        time.sleep(float(os.environ.get("PAUSE", "0")) if first else 0)
        return super()._scores(images, context)
"""
SWEEP = """
selectors: [random, slow_selectors:Slow]
tasks: [{name: shapes-coverage, limit: 400}]
keep_ratios: [0.25, 0.5]
engine: {name: local, jobs: 1}
"""


@pytest.fixture
def cluster(shared_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """`cluster("kill-node", "2")`: slurm.sh of a cluster that is up, whose commands are on the PATH."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        pytest.skip("a SLURM for tests needs root and Debian's packages")
    script = str(shared_dir / "cluster" / "slurm.sh")
    scratch = Path(f"/tmp/slurm-test-{os.getpid()}")  # sockets lie in it, and their paths must be short
    (scratch / "t").mkdir(parents=True)
    monkeypatch.setenv("TMPDIR", str(scratch / "t"))
    monkeypatch.setenv("SLURM_SCRATCH", str(scratch))

    def call(*arguments: str) -> str:
        return subprocess.run([script, *arguments], check=True, text=True, stdout=subprocess.PIPE).stdout

    try:
        up = subprocess.run([script, "up"], text=True, capture_output=True)
        if up.returncode:
            pytest.skip(f"no SLURM for tests here: {up.stderr.strip().splitlines()[-1]}")
        for name, value in re.findall(r"^export (\w+)=(\S+)", up.stdout, re.M):
            monkeypatch.setenv(name, value.replace(':"$PATH"', f"{os.pathsep}{os.environ['PATH']}"))
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
        # All nodes are this machine: Ray must keep to 127.0.0.1.
        monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        monkeypatch.setenv("LTRP_BENCH_RAY_START", f"{sys.executable} {shared_dir}/cluster/ray_cluster.py start")
        (tmp_path / "slow_selectors.py").write_text(SLOW)
        (tmp_path / "sweep.yaml").write_text(SWEEP)
        monkeypatch.chdir(tmp_path)
        yield call
    finally:
        call("down")
        shutil.rmtree(scratch, ignore_errors=True)


def _bench(*arguments: str) -> str:
    command = [sys.executable, "-m", "ltrp_bench.harness.cli.main", *arguments]
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout


def _submit(nodes: int, *arguments: str) -> str:
    """Submit a sweep into the folder `slurm-run`; returns the job's id."""
    job = ("--nodes", str(nodes), "--time", "30", "--config", "sweep.yaml", "--out", "slurm-run")
    return _bench("slurm", *job, *arguments).split()[1]


def _job(job: str) -> dict[str, str]:
    shown = subprocess.run(["scontrol", "-o", "show", "job", job], check=True, text=True, stdout=subprocess.PIPE).stdout
    return dict(re.findall(r"(\S+?)=(\S*)", shown))


def _until(what: str, done: Callable[[], bool], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, what
        time.sleep(0.3)


def _ended(job: str) -> Mapping[str, str]:
    _until(
        "the job ends", lambda: _job(job)["JobState"] in ("COMPLETED", "FAILED", "CANCELLED", "NODE_FAIL", "TIMEOUT")
    )
    return _job(job)


def _has_spans() -> bool:
    return bool(list(Path("slurm-run/partial").glob("*/*.parquet")))


def _serial() -> Mapping[str, bytes]:
    _bench("run", "--config", "sweep.yaml", "--engine", "serial", "--jobs", "1", "--out", "serial")
    return _contents("serial")


def _contents(out: str) -> Mapping[str, bytes]:
    files = [path for folder in ("cells", "records", "evidence") for path in sorted(Path(out, folder).rglob("*.*"))]
    assert len(files) >= 3 * 4
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def _evaluated(log: str) -> int:
    (count,) = re.findall(r"cells, (\d+) images evaluated now", log)
    return int(count)


@pytest.mark.slow
def test_a_job_whose_node_was_killed_goes_on_where_it_was(
    cluster: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAUSE", "0.4")  # the rest must outlast the time that SLURM takes to notice
    job = _submit(3)
    _until("first results", _has_spans)
    cluster("kill-node", "3")
    _until("SLURM notices", lambda: _job(job).get("Restarts") == "1")
    cluster("start-node", "3")
    end = _ended(job)
    log = Path(f"slurm/{job}/{job}_0_log.out").read_text()
    assert (end["JobState"], end["ExitCode"], end["Restarts"]) == ("COMPLETED", "0:0", "1"), log
    assert log.count("Ray runs on n1, n2, n3") == 2 and _evaluated(log) < 2 * 400
    monkeypatch.delenv("PAUSE")
    assert _contents("slurm-run") == _serial()


@pytest.mark.slow
def test_a_preempted_job_goes_on_where_it_was(cluster: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAUSE", "0.4")
    job = _submit(2)
    _until("first results", _has_spans)
    subprocess.run(["scancel", "--batch", "--signal=USR2", job], check=True)
    end = _ended(job)
    log = Path(f"slurm/{job}/{job}_0_log.out").read_text()
    assert (end["JobState"], end["ExitCode"], end["Restarts"]) == ("COMPLETED", "0:0", "1"), log
    assert "interrupted: 0 finished cells kept in slurm-run" in log and _evaluated(log) < 2 * 400
    assert "Traceback" not in log and not list(Path(os.environ["TMPDIR"]).glob("ray-*"))
    monkeypatch.delenv("PAUSE")
    assert _contents("slurm-run") == _serial()


@pytest.mark.slow
def test_the_job_fails_as_the_run_does(cluster: Callable[..., str]) -> None:
    end = _ended(_submit(1, "--task-option", "images=-1"))
    assert (end["JobState"], end["ExitCode"]) == ("FAILED", "2:0")
