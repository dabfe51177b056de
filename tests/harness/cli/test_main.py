"""The command line: what it prints, where, and with which exit code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import toy_bench

from ltrp_bench.harness.cli import progress as cli_progress
from ltrp_bench.harness.cli.main import package_version, run_command
from ltrp_bench.harness.cli.progress import RunProgress
from ltrp_bench.selectors import registry as selector_registry
from ltrp_bench.tasks import registry as task_registry

HELPERS = Path(toy_bench.__file__).parent
Run = Callable[..., tuple[int, str, str]]


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


BASIC = ("run", "--selector", "plain", "--selector", "random", "--task", "toy-coverage", "--device", "cpu")
SHAPES = ("run", "--selector", "random", "--task", "shapes-coverage", "--device", "cpu")
SMALL = (*BASIC, "--task-option", "images=20")


def test_run_then_leaderboard_then_compare(run: Run, tmp_path: Path) -> None:
    code, out, err = run(*SMALL, "--keep-ratio", 0.25, "--keep-ratio", 0.5, "--seed", 0, "--seed", 1)
    assert code == 0, err
    assert "6 cells, 60 images measured now; results in runs" in err
    for word in ("toy-coverage", "plain", "random", "coverage", "seen", "unseen", "gap", "0.25", "±"):
        assert word in out
    provenance = json.loads(next((tmp_path / "runs" / "provenance").iterdir()).read_text())
    assert provenance["device"] == "cpu" and "torch" in provenance["versions"]

    code, out, err = run(*SMALL, "--keep-ratio", 0.25, "--keep-ratio", 0.5, "--seed", 0, "--seed", 1)
    assert code == 0 and "6 cells, 0 images measured now" in err

    code, out, err = run("leaderboard", "--csv", "table.csv")
    assert code == 0 and "plain" in out and "incomplete" not in out
    frame = pd.read_csv("table.csv")
    areas = ["auc 0.25-0.5"] * 2
    assert frame["ratios"].tolist() == ["0.25"] * 2 + ["0.5"] * 2 + areas and set(frame["seeds"]) == {1, 2}

    assert run("compare", "table.csv", "runs", "--tolerance", 0)[0] == 0
    frame.loc[frame["selector"] == "plain", "seen"] += 0.02
    frame.to_csv("better.csv", index=False)
    code, out, err = run("compare", "better.csv", "runs", "--out", "table.md")
    assert code == 1 and "**2 regressions**" in out and (tmp_path / "table.md").read_text() == out
    assert err.count("regression: toy-coverage (fill) plain at keep ratio 0.25: worse, seen fell by 0.02") == 1
    assert run("compare", "better.csv", "runs", "--tolerance", 0.03)[0] == 0
    code, out, err = run("compare", "table.csv", "better.csv")
    assert code == 0 and "better" in out


def test_an_incomplete_row_is_said_to_be(run: Run) -> None:
    assert run(*SMALL, "--keep-ratio", 0.5)[0] == 0
    assert run("run", "--selector", "plain", *SMALL[5:], "--keep-ratio", 0.25)[0] == 0
    code, out, _ = run("leaderboard", "runs")
    line = next(line for line in out.splitlines() if "random" in line and "0.25" in line)
    assert code == 0 and "incomplete: lacks keep ratio 0.25" in line


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("run",), 2, "Missing option '--selector'"),
        (("run", "--selector", "plain"), 2, "Missing option '--task'"),
        (("nonsense",), 2, "No such command 'nonsense'"),
        ((*BASIC, "--nonsense"), 2, "No such option"),
        ((*BASIC, "--keep-ratio", "1.5"), 2, "keep ratio 1.5 is not in (0, 1]"),
        ((*BASIC, "--keep-ratio", "half"), 2, "--keep-ratio"),
        ((*BASIC, "--seed", "-1"), 2, "seeds are whole numbers from 0 on"),
        ((*BASIC, "--seed", str(2**63)), 2, "below 2**63"),
        ((*BASIC, "--selector", "randm"), 2, "did you mean 'random'"),
        ((*BASIC, "--task", "toy-coverag"), 2, "did you mean 'toy-coverage'"),
        ((*BASIC, "--selector", "toy_bench:Nothing"), 2, "Nothing"),
        ((*BASIC, "--weights", "w.pt"), 2, "--weights w.pt: which selector is it for? write NAME=FILE (plain, random)"),
        ((*BASIC, "--weights", "plain=w.pt"), 1, "no file w.pt"),
        ((*BASIC, "--selector-option", "depth=3"), 2, "write NAME.key=value"),
        ((*BASIC, "--selector-option", "other.depth=3"), 2, "'other' is not in this run"),
        ((*BASIC, "--selector-option", "plain.depth=3"), 2, "its options: none"),
        ((*BASIC, "--task-option", "imagse=3"), 2, "none of the tasks in this run has such an option"),
        ((*BASIC, "--task-option", "toy-coverage.imagse=3"), 2, "its options: images, bad, pause"),
        ((*BASIC, "--task-option", "images"), 2, "write TASK.key=value or key=value"),
        ((*BASIC, "--data", "/nowhere"), 2, "--data: none of the tasks"),
        ((*BASIC, "--limit", "3"), 2, "--limit: none of the tasks"),
        ((*BASIC, "--limit", "0"), 2, "--limit"),
        ((*BASIC, "--narrow-as", "maybe"), 2, "write seen or unseen"),
        ((*BASIC, "--model-weights", "no.pth"), 1, "--model-weights no.pth: no such file"),
        ((*BASIC, "--device", "warp"), 2, "--device warp cannot be used here"),
        ((*BASIC, "--device", "meta"), 2, "--device meta: write auto, cpu, cuda"),
        ((*BASIC, "--task-option", "bad=3"), 2, "task 'toy-coverage' cannot be built with bad=3: 'int' object is not"),
        ((*SHAPES, "--task-option", "images=abc"), 2, "'shapes-coverage': images must be a whole number, got 'abc'"),
        ((*BASIC, "--selector-option", "random.patch_size=abc"), 2, "selector 'random': patch_size is a whole number"),
        ((*BASIC, "--selector-option", "random.patch_size=0"), 2, "patch_size is a whole number from 1 on, got 0"),
        ((*BASIC, "--task-option", "bad=[2]"), 1, "image toy 2 is corrupt"),
        (("run", "--selector", "toy_bench:BrokenSelector", *BASIC[5:]), 1, "NaN or infinite scores for image 'toy 0'"),
        (("leaderboard", "nowhere"), 1, "nowhere is not a folder"),
        (("compare", "a.csv", "b.csv"), 1, "a.csv does not exist"),
        (("compare", "a.csv", "b.csv", "--tolerance", "-1"), 2, "--tolerance"),
        (("list", "categories", "nowhere"), 2, "nowhere"),
    ],
)
def test_errors_are_one_line(run: Run, arguments: tuple[str, ...], code: int, message: str) -> None:
    got, out, err = run(*arguments)
    lines = [line for line in err.splitlines() if line.startswith("ltrp-bench: ")]
    assert got == code and len(lines) == 1 and message in lines[0], err
    assert "Traceback" not in err and out == ""


def test_a_selector_from_a_file_here(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The README's way, and what an edit of the file must do: measure anew."""
    code = "import toy_bench\n\nclass Mine(toy_bench.PlainSelector):\n    pass\n"
    (tmp_path / "my_selector.py").write_text(code)
    monkeypatch.setattr(sys, "path", [*sys.path])
    line = ("run", "--selector", "my_selector:Mine", *SMALL[5:], "--keep-ratio", 0.5)
    for text, measured in ((code, 20), (code, 0), (code + "# edited\n", 20)):
        (tmp_path / "my_selector.py").write_text(text)
        got, out, err = run(*line)
        assert got == 0 and "my_selector:Mine" in out
        assert f"1 cells, {measured} images measured now" in err


def test_debug_shows_where(run: Run) -> None:
    code, _, err = run(*BASIC, "--task-option", "bad=[2]", "--debug")
    assert code == 1 and "Traceback" in err and err.splitlines()[-1].startswith("ltrp-bench: ")


def test_bad_images_are_counted_and_named(run: Run) -> None:
    code, out, err = run(*SMALL, "--task-option", "bad=[2]", "--skip-bad-images")
    assert code == 0 and "1 unreadable image left out: toy 2 of toy-coverage (image toy 2 is corrupt)\n" in err
    assert "1 images left out" in out
    code, _, err = run(*SMALL, "--task-option", "bad=[2, 7]", "--skip-bad-images", "--out", "other")
    assert "2 unreadable images left out: toy 2 of toy-coverage (image toy 2 is corrupt), toy 7 of toy-coverage" in err
    # Without the option, the same images stop the run again.
    code, _, err = run(*SMALL, "--task-option", "bad=[2]")
    assert code == 1 and err.count("ltrp-bench: ") == 1 and "image toy 2 is corrupt" in err


def test_an_altered_record_is_one_line(run: Run, tmp_path: Path) -> None:
    assert run(*SMALL)[0] == 0
    cell = sorted((tmp_path / "runs" / "cells").iterdir())[0]
    cell.write_text(cell.read_text().replace("coverage", "coverag3"))
    for arguments in (("leaderboard",), SMALL):
        code, _, err = run(*arguments)
        assert code == 1 and "was altered" in err and err.count("ltrp-bench: ") == 1


def test_ctrl_c_keeps_what_is_finished(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: RunProgress, images: int, worked: bool) -> None:
        if list((tmp_path / "runs").glob("cells/*.json")):
            raise KeyboardInterrupt

    monkeypatch.setattr(RunProgress, "advance", interrupt)
    code, _, err = run(*SMALL)
    assert code == 130
    assert "interrupted: 3 finished cells are kept in runs; the same command goes on from there" in err


def test_a_fault_of_the_program(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("ltrp_bench.harness.evaluation.plan.plan", fail)
    code, _, err = run(*SMALL)
    assert code == 1 and "ZeroDivisionError: division by zero (a fault of the program; --debug" in err


def test_lists(run: Run) -> None:
    code, out, _ = run("list", "selectors")
    assert code == 0 and re.search(r"^random +ltrp_bench", out, re.M) and "package.module:Class" in out
    code, out, _ = run("list", "tasks")
    assert code == 0 and re.search(r"^toy-coverage +toy_bench:ToyTask", out, re.M)
    code, out, _ = run("list", "categories")
    assert code == 0 and "80 categories" in out and re.search(r"^giraffe +unseen", out, re.M)
    assert run("--version")[1] == f"ltrp-bench {package_version()}\n"


def test_doctor_tells_what_it_finds(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data" / "mine" / "images").mkdir(parents=True)
    (tmp_path / "data" / "mine" / "instances.json").write_text("{}")
    code, out, _ = run("doctor")
    assert code == 0
    for word in ("python ", "torch ", "cpu, ", "mmcv ops", "selectors: ", "COCO in one folder: data/mine"):
        assert word in out


def test_light_commands_do_not_load_torch() -> None:
    script = (
        "import sys\nfrom ltrp_bench.harness.cli.main import run_command\n"
        "for line in (['--help'], ['run', '--help'], ['train', '--help'], ['list', 'tasks'],\n"
        "             ['list', 'selectors'], ['list', 'categories'],\n"
        "             ['leaderboard', 'nowhere'], ['compare', 'a', 'b']):\n"
        "    run_command(line)\n"
        "heavy = {'torch', 'mmdet', 'mmengine', 'timm', 'matplotlib'} & sys.modules.keys()\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-300:]


def test_a_closed_pipe_is_no_fault(toy_installed: Path, tmp_path: Path) -> None:
    program = "from ltrp_bench.harness.cli.main import main; main()"
    command = f'{sys.executable} -c "{program}" list categories | true'
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=tmp_path, env={**os.environ})
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr


def test_plain_progress_tells_rate_and_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(float(second) for second in range(0, 1000, 20))
    monkeypatch.setattr(cli_progress.time, "monotonic", lambda: next(clock))
    with RunProgress(live=False) as progress:
        progress.start(1000)
        progress.current("ltrp on shapes-det, seed 0")
        progress.advance(500, worked=True)
        progress.notice("something [odd]")
    err = capsys.readouterr().err
    assert "0/1000 images · ltrp on shapes-det, seed 0" in err
    assert re.search(r"500/1000 images · ltrp on shapes-det, seed 0 · [\d.]+ images/s · about \d+:\d\d left", err)
    assert "note: something [odd]" in err and progress.worked == 500
