"""SIGTERM ends a run and keeps what is finished."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import toy_bench as toy
import typer

from ltrp_bench.harness.cli.terminal.termination import ends_on_sigterm


def test_sigterm_is_an_interruption_with_its_own_exit_code() -> None:
    seen = []

    def command() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        except KeyboardInterrupt:
            os.kill(os.getpid(), signal.SIGTERM)  # further ones change nothing
            seen.append("cleaned up")
            raise typer.Exit(130) from None

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(typer.Exit) as end:
        ends_on_sigterm(command)()
    assert end.value.exit_code == 143 and seen == ["cleaned up"]
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("error", [KeyboardInterrupt(), typer.Exit(130), typer.Exit(1)])
def test_other_ends_stay(error: BaseException) -> None:
    def command() -> None:
        raise error

    with pytest.raises(type(error)) as end:
        ends_on_sigterm(command)()
    assert end.value is error


SLOW = """
import time
from ltrp_bench.selectors.controls import CenterControl

class Slow(CenterControl):
    name = "slow"
    def _scores(self, images, context):
        time.sleep(0.01)
        return super()._scores(images, context)
"""


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["serial", "local", "ray"])
def test_a_run_that_is_told_to_end_goes_on_where_it_was(tmp_path: Path, engine: str) -> None:
    (tmp_path / "slow_selectors.py").write_text(SLOW)
    arguments = ("run", "--selector", "slow_selectors:Slow", "--task", "shapes-coverage", "--limit", "400")
    jobs = () if engine == "serial" else ("--jobs", "2")
    command = [sys.executable, "-m", "ltrp_bench.harness.cli.main", *arguments, "--keep-ratio", "0.5"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    run = subprocess.Popen(
        [*command, "--engine", engine, *jobs], cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True
    )
    while run.poll() is None and not list((tmp_path / "runs").glob("partial/*/*.parquet")):
        time.sleep(0.05)
    run.send_signal(signal.SIGTERM)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 143 and "interrupted: 0 finished cells kept in runs; repeat the command to resume" in err
    for out in ("runs", "anew"):
        again = subprocess.run([*command, "--out", out], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert again.returncode == 0
        if out == "runs":
            assert ", 400 images evaluated now" not in again.stderr
    assert toy.contents(tmp_path / "runs") == toy.contents(tmp_path / "anew")
