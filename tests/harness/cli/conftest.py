"""The command line in an empty folder, a toy distribution, and a finished run."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_lines import FINISHED, Run

from ltrp_bench.harness.cli.main import run_command
from ltrp_bench.selectors import registry as selector_registry
from ltrp_bench.tasks import registry as task_registry


@pytest.fixture(scope="module")
def toy_installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A distribution whose entry points name the toy task and a toy selector."""
    folder = tmp_path_factory.mktemp("installed")
    info = folder / "toy_bench-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-bench\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[ltrp_bench.tasks]\ntoy-coverage = toy_bench:ToyTask\n"
        "[ltrp_bench.selectors]\nplain = toy_bench:PlainSelector\n"
    )
    sys.path.insert(0, str(folder))
    _forget()
    yield folder
    sys.path.remove(str(folder))
    _forget()


def _forget() -> None:
    selector_registry._installed.cache_clear()
    task_registry._installed.cache_clear()


@pytest.fixture
def run(
    toy_installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """`run("leaderboard", ...)` in an empty folder -> (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, str]:
        code = run_command([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture(scope="package")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of four selectors on 12 images of `shapes-coverage` at keep ratios 0.25 and 0.5; copy before writing."""
    folder = tmp_path_factory.mktemp("finished") / "runs"
    assert run_command([*FINISHED, "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def runs(finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished run as `runs` in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished_run, tmp_path / "runs")
    return tmp_path / "runs"
