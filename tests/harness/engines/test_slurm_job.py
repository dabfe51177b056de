"""What a job does, with stand-ins for SLURM's commands and for Ray."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="needs the extra ltrp-bench[cluster]")

from ltrp_bench.harness.engines.ray_nodes import NODE, RayNodes, per_node
from ltrp_bench.harness.engines.slurm_job import RaySweep

SRUN = """
    echo "$*" >>"$FAKE/srun.txt"
    for one in "$@"; do [[ $one == --output=* ]] && log=${one#--output=}; done
    case "$*" in *--nodelist=$BROKEN\\ *) echo no GPU >"$log"; exit 1 ;; esac
    echo Ray runtime started. >"$log"
    cat >/dev/null
    echo "$$ ended" >>"$FAKE/ended.txt"
"""
SCONTROL = """
    [[ $2 == hostnames ]] && printf 'n1\\nn2\\nn3\\n' || echo "NodeName=n1 NodeAddr=${FAKE_ADDRESS} Port=6818"
"""


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The environment of a job on three nodes; commands note in this folder how they were called."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "logs/7").mkdir(parents=True)
    for name, code in (("srun", SRUN), ("scontrol", SCONTROL)):
        (tmp_path / "bin" / name).write_text("#!/bin/bash\n" + textwrap.dedent(code))
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    for name, value in {
        "FAKE": str(tmp_path),
        "FAKE_ADDRESS": "127.0.0.1",
        "BROKEN": "none",
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NODELIST": "n[1-3]",
        "SLURM_JOB_CPUS_PER_NODE": "8,4(x2)",
        "SLURM_GPUS_PER_NODE": "a100:2",
        "SLURM_RESTART_COUNT": "1",
        "SUBMITIT_FOLDER": f"{tmp_path}/logs/%j",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # keeps Ray's addresses on this machine
        "RAY_AUTH_MODE": "",
        "RAY_AUTH_TOKEN": "",
        "LTRP_BENCH_RAY_START": "my-ray start",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    monkeypatch.setattr("ray._private.ray_constants.ENABLE_RAY_CLUSTER", False)
    return tmp_path


def test_numbers_of_each_node() -> None:
    assert per_node("8,4(x2)") == [8, 4, 4] and per_node("16(x3)") == [16] * 3 and per_node("1") == [1]


def test_every_node_gets_a_ray_with_its_own_resources(job: Path) -> None:
    nodes = RayNodes()
    address, token = nodes.start(), os.environ["RAY_AUTH_TOKEN"]
    nodes.stop()
    assert address.startswith("127.0.0.1:")
    calls = {
        line.split("--nodelist=")[1][:2]: line
        for line in (job / "srun.txt").read_text().splitlines()
        if "--nodelist" in line
    }
    head, *others = calls["n1"], calls["n2"], calls["n3"]
    assert (
        f"my-ray start --head --node-ip-address=127.0.0.1 --port={address.split(':')[1]} "
        in (job / "srun.txt").read_text()
    )
    assert "--cpus-per-task=8" in head
    assert all("--cpus-per-task=4" in other for other in others)
    text = (job / "srun.txt").read_text()
    assert text.count(f"my-ray start --address={address} --num-cpus=4 --num-gpus=2 ") == 2
    assert sorted(path.name for path in (job / "logs/7").iterdir()) == [f"ray_1_n{n}.log" for n in (1, 2, 3)]
    assert len((job / "ended.txt").read_text().splitlines()) == 3
    assert len(token) == 64


def test_a_node_without_ray_is_left_out(
    job: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BROKEN", "n2")
    nodes = RayNodes()
    nodes.start()
    nodes.stop()
    out = capsys.readouterr().out
    assert f"Ray does not start on n2, which gets no work: see {job}/logs/7/ray_1_n2.log" in out
    assert "Ray runs on n1, n3 after" in out


def test_without_ray_on_the_first_node_the_job_fails(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKEN", "n1")
    with pytest.raises(SystemExit) as end:
        RayNodes().start()
    assert end.value.code == 1 and not (job / "ended.txt").exists()


@pytest.mark.parametrize(
    ("arguments", "config", "message"),
    [
        (("--selector", "randm", "--task", "shapes-coverage"), None, "did you mean 'random'"),
        (("--limit", "5"), "tasks: [shapes-coverage]\nselectors: [randm]\n", "standard input:2: "),
    ],
)
def test_the_job_ends_with_the_exit_code_of_the_run(
    job: Path, capfd: pytest.CaptureFixture[str], arguments: tuple[str, ...], config: str | None, message: str
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as end:
            RaySweep(arguments, config)()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert end.value.code == 2 and message in capfd.readouterr().err
    assert len((job / "ended.txt").read_text().splitlines()) == 3


@pytest.mark.parametrize("how", ["SIGTERM", "checkpoint"])
def test_the_run_is_told_to_end(job: Path, how: str) -> None:
    """By SIGTERM, or by submitit before it puts the job into the queue again."""
    program = f"""
        import os, signal, subprocess, sys, threading, time
        from ltrp_bench.harness.engines import slurm_job
        code = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(143)); "
        code += "open('running', 'w').close(); time.sleep(60)"
        class Popen(subprocess.Popen):
            def __init__(self, command, **options):
                run = [sys.executable, "-c", code]
                super().__init__(run if "run" in command else command, **options)
        slurm_job.subprocess.Popen = Popen
        sweep = slurm_job.RaySweep(("--limit", "5"))
        def end():
            while not os.path.exists("running"):
                time.sleep(0.05)
            os.kill(os.getpid(), signal.{"SIGTERM" if how == "SIGTERM" else "SIGUSR2"})
        def requeue(*_):
            print(sweep.checkpoint().function.arguments)
            sys.exit(9)
        signal.signal(signal.SIGUSR2, requeue)
        threading.Thread(target=end, daemon=True).start()
        sweep()
    """
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], cwd=job, capture_output=True, text=True, timeout=100
    )
    assert time.monotonic() - began < 100
    assert done.returncode == (143 if how == "SIGTERM" else 9), done.stderr
    assert ("('--limit', '5')" in done.stdout) == (how == "checkpoint")
    assert len((job / "ended.txt").read_text().splitlines()) == 3


@pytest.mark.parametrize("how", ["end of input", "SIGTERM", "end of Ray"])
def test_a_nodes_files_are_removed(tmp_path: Path, how: str) -> None:
    folder = tmp_path / "ray"
    ray = "touch up; exec sleep 60" if how != "end of Ray" else "touch up"
    command = ["bash", "-c", NODE, "ray-node", str(folder), "bash", "-c", ray]
    with subprocess.Popen(command, stdin=subprocess.PIPE, cwd=tmp_path) as node:
        while not (tmp_path / "up").exists():
            time.sleep(0.02)
        if how == "SIGTERM":
            node.terminate()
        if how == "end of input":
            assert node.stdin is not None
            node.stdin.close()
        node.wait(100)
    assert not folder.exists()
