"""Errors of any command: one line on stderr, and an exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import toy_bench
from command_lines import BASIC, SHAPES, SMALL, Run

from ltrp_bench.harness.cli.main import run_command
from ltrp_bench.harness.cli.terminal.version import version_line


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("run",), 2, "give at least one --selector; `ltrp-bench list selectors` shows them"),
        (("run", "--selector", "plain"), 2, "give at least one --task; `ltrp-bench list tasks` shows them"),
        (("nonsense",), 2, "No such command 'nonsense'. (ltrp-bench --help)"),
        (("train", "nonsense"), 2, "No such command 'nonsense'. (ltrp-bench train --help)"),
        ((*BASIC, "--nonsense"), 2, "No such option"),
        ((*BASIC, "--keep-ratio", "1.5"), 2, "keep ratio 1.5 is not in (0, 1]"),
        ((*BASIC, "--keep-ratio", "half"), 2, "'half' is not a valid number. (ltrp-bench run --help)"),
        ((*BASIC, "--keep-ratio", "25%"), 2, "'25%' is not a valid number; did you mean 0.25? (ltrp-bench run --help)"),
        ((*BASIC, "--seed", "-1"), 2, "seeds are integers from 0 to 2**63 - 1"),
        ((*BASIC, "--seed", str(2**63)), 2, "from 0 to 2**63 - 1"),
        ((*BASIC, "--selector", "randm"), 2, "did you mean 'random'"),
        (
            (*BASIC, "--selector", "deit"),
            2,
            "DeiT is a model, which methods take as weights, such as --weights evit",
        ),
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
        ((*BASIC, "--limit", "0"), 2, "(ltrp-bench run --help)"),
        ((*BASIC, "--narrow-as", "maybe"), 2, "'maybe' is not one of 'seen', 'unseen'"),
        ((*BASIC, "--model-weights", "no.pth"), 1, "--model-weights no.pth: no such file"),
        ((*BASIC, "--device", "warp"), 2, "--device warp cannot be used here"),
        ((*BASIC, "--device", "meta"), 2, "--device meta: write auto, cpu, cuda"),
        ((*BASIC, "--task-option", "bad=3"), 2, "task 'toy-coverage': bad must be a list of whole numbers, got 3"),
        ((*SHAPES, "--task-option", "images=abc"), 2, "'shapes-coverage': images must be a whole number, got 'abc'"),
        ((*BASIC, "--selector-option", "random.patch_size=abc"), 2, "'random': patch_size must be a whole number, got"),
        ((*BASIC, "--selector-option", "random.patch_size=0"), 2, "patch_size must be a whole number from 1 on, got 0"),
        ((*BASIC, "--task-option", "bad=[2]"), 1, "image toy 2 is corrupt"),
        (("run", "--selector", "toy_bench:BrokenSelector", *BASIC[5:]), 1, "NaN or infinite scores for image 'toy 0'"),
        (("leaderboard", "nowhere"), 1, "nowhere is not a folder"),
        (("leaderboard", "nowhere", "--interval", "t"), 2, "'t' is not one of 'bca', 'percentile'"),
        (("leaderboard", "nowhere", "--out", "x.xlsx"), 2, "x.xlsx: unknown table format"),
        (("power", "nowhere", "--difference", "-1"), 2, "the difference must be positive"),
        (("run", "--selector", "dinov2", *BASIC[5:]), 2, "selector 'dinov2' needs weights, and none ship: give a file"),
        (("plot", "runs", "--kind", "pie"), 2, "'pie' is not one of 'curves', 'gap', 'pareto'"),
        (("plot", "runs", "--format", "gif"), 2, "'gif' is not one of 'png', 'svg', 'pdf'"),
        (("plot", "nowhere"), 1, "nowhere is not a folder"),
        (("plot", "--csv", "nothing.csv"), 1, "nothing.csv does not exist"),
        (("report", "nowhere"), 1, "nowhere is not a folder"),
        (("compare", "a.csv", "b.csv", "--test", "other"), 2, "'other' is not one of 'auto', 'paired', 'tolerance'"),
        (("data", "export", "shapes", "--out", "x", "--split", "all"), 2, "'all' is not one of 'train', 'val', 'test'"),
        (("results", "import", "no.zip"), 1, "no.zip does not exist"),
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


@pytest.mark.parametrize("command", ["leaderboard", "plot", "report", "power"])
def test_an_empty_folder_is_a_failure_of_each_command_that_reads_results(run: Run, command: str) -> None:
    assert run("results", "export", ".")[0] == 1
    code, out, err = run(command, ".")
    assert (code, out) == (1, "") and err.startswith("ltrp-bench: . holds no finished cell; `ltrp-bench run "), err


@pytest.mark.parametrize("command", ["leaderboard", "plot"])
@pytest.mark.parametrize(
    ("flag", "value"), [("--task", "no"), ("--selector", "no"), ("--keep-ratio", "0.3"), ("--metric", "no")]
)
def test_a_name_or_ratio_that_is_not_in_the_results_is_a_usage_error(
    runs: Path, capsys: pytest.CaptureFixture[str], command: str, flag: str, value: str
) -> None:
    assert run_command([command, str(runs), flag, value, "--resamples", "100"]) == 2
    assert value in capsys.readouterr().err


def test_debug_shows_a_traceback(run: Run) -> None:
    code, _, err = run(*BASIC, "--task-option", "bad=[2]", "--debug")
    assert code == 1 and "Traceback" in err and err.splitlines()[-1].startswith("ltrp-bench: ")


def test_a_bug_is_reported_as_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("ltrp_bench.harness.sweeps.running.plan", fail)
    code, _, err = run(*SMALL)
    assert code == 1 and "ZeroDivisionError: division by zero (a bug in ltrp-bench; --debug" in err


def test_a_bug_of_a_third_party_task_is_reported_as_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: toy_bench.ToyTask, images: int = 150) -> None:
        raise ValueError("not the user's mistake")

    monkeypatch.setattr(toy_bench.ToyTask, "__init__", broken)
    code, out, err = run(*BASIC, "--task-option", "images=20")
    assert code == 1 and out == "" and "ValueError: not the user's mistake (a bug in ltrp-bench; --debug" in err


def test_version(run: Run) -> None:
    assert run("--version") == (0, f"{version_line()}\n", "")


def test_light_commands_do_not_load_torch() -> None:
    script = (
        "import sys\nfrom ltrp_bench.harness.cli.main import run_command\n"
        "for line in (['--help'], ['run', '--help'], ['train', '--help'], ['list', 'tasks'],\n"
        "             ['list', 'selectors'], ['list', 'categories'], ['slurm', '--help'],\n"
        "             ['leaderboard', 'nowhere'], ['compare', 'a', 'b']):\n"
        "    run_command(line)\n"
        "heavy = {'torch', 'mmdet', 'mmengine', 'timm', 'matplotlib'} & sys.modules.keys()\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-300:]


def test_a_closed_pipe_is_no_error(toy_installed: Path, tmp_path: Path) -> None:
    program = "from ltrp_bench.harness.cli.main import main; main()"
    command = f'{sys.executable} -c "{program}" list categories | true'
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=tmp_path, env={**os.environ})
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr
