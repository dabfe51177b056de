"""`ltrp-bench run --config`: the same as with flags, which override it; stored, and run again from there."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import yaml
from command_lines import Run

FILE = """\
selectors:
  - random
  - name: random
    label: fine
    options: {patch_size: 4}
  - {name: evit, weights: $WEIGHTS}
tasks:
  - {name: shapes-coverage, options: {images: 9}}
  - {name: shapes-coverage, options: {fold: 1}, label: other}
keep_ratios: [.25, .5]
seeds: [0, 1]
limit: 6
full: false
out: from file
engine: {name: serial, device: cpu}
"""
SCRIPT = """
import sys
from ltrp_bench.harness.cli.main import run_command
code = run_command(sys.argv[1:])
heavy = {"torch", "pandas", "scipy", "timm"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else code)
"""


@pytest.fixture
def sweep_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from ltrp_bench.selectors.checkpoints import resolve

    monkeypatch.setenv("WEIGHTS", str(resolve("vit.shapes0")))
    file = tmp_path / "s.yaml"
    file.write_text(FILE)
    return file


def results(folder: Path) -> dict[str, bytes]:
    parts = ("cells", "records", "evidence", "scores")
    return {
        str(path.relative_to(folder)): b"" if part == "scores" else path.read_bytes()
        for part in parts
        for path in sorted((folder / part).rglob("*.*"))
    }


def test_a_file_and_flags_give_the_same_results(run: Run, sweep_file: Path, tmp_path: Path) -> None:
    code, _, err = run("run", "--config", sweep_file)
    assert code == 0, err
    # 2 tasks x 2 ratios x (2 x random of 2 seeds + evit)
    assert "20 cells, 60 images evaluated now; results in from file" in err
    shared: tuple[Any, ...] = ("--keep-ratio", 0.25, "--keep-ratio", 0.5, "--seed", 0, "--seed", 1, "--limit", 6)
    shared = (*shared, "--no-full", "--device", "cpu", "--task", "shapes-coverage", "--out", "from flags")
    weights = ("--selector", "evit", "--weights", "evit=$WEIGHTS")
    for own in (("--task-option", "images=9"), ("--task-option", "fold=1")):
        assert run("run", "--selector", "random", *weights, *shared, *own)[0] == 0
        assert run("run", "--selector", "random", "--selector-option", "random.patch_size=4", *shared, *own)[0] == 0
    assert len(list((tmp_path / "from file" / "cells").iterdir())) == 20
    assert results(tmp_path / "from file") == results(tmp_path / "from flags")


def test_the_stored_sweep_does_the_same_again(run: Run, sweep_file: Path, tmp_path: Path) -> None:
    line = ("run", "--config", sweep_file, "--limit", 2, "--seed", 5, "--task-option", "other.seed=4")
    line = (*line, "--out", "~/out", "--max-pixels", 10000, "--workers", 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path))
        code, first, err = run(*line)
        assert code == 0 and "10 images evaluated now" not in err, err
        stored = tmp_path / "out" / "sweep.yaml"
        code, second, err = run("run", "--config", stored)
        assert code == 0 and "12 cells, 0 images evaluated now" in err and second == first
    text = stored.read_text()
    # Paths are those that the user wrote, and flags are in it.
    assert str(tmp_path) not in text and "$WEIGHTS" in text and "out: ~/out" in text
    assert yaml.safe_load(text)["tasks"] == [
        {"name": "shapes-coverage", "limit": 2, "options": {"images": 9}},
        {"name": "shapes-coverage", "label": "other", "limit": 2, "options": {"fold": 1, "seed": 4}},
    ]
    assert yaml.safe_load(text)["seeds"] == [5] and yaml.safe_load(text)["max_pixels"] == 10000
    assert not (tmp_path / "out" / "sweep.1.yaml").exists()


def test_flags_choose_from_the_file(run: Run, sweep_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(FILE.encode())))
    line = ("run", "--config", "-", "--selector", "fine", "--selector", "center", "--task", "other", "--out", "out")
    code, _, err = run(*line, "--keep-ratio", 0.5, "--seed", 0)
    assert code == 0 and "2 cells, 12 images evaluated now" in err
    stored = yaml.safe_load(Path("out/sweep.yaml").read_text())
    assert stored["selectors"] == [
        {"name": "random", "label": "fine", "options": {"patch_size": 4}},
        {"name": "center"},
    ]


def test_a_selector_class_of_the_current_folder(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_of_config.py").write_text(
        "import toy_bench\n\nclass Mine(toy_bench.PlainSelector):\n"
        "    def __init__(self, sharpness: float = 1.0) -> None:\n        super().__init__()\n"
    )
    monkeypatch.setattr(sys, "path", [*sys.path])
    text = "selectors:\n- name: own_of_config:Mine\n  options: {sharpness: 2}\ntasks: [toy-coverage]\nfull: no\n"
    (tmp_path / "s.yaml").write_text(text)
    assert run("run", "--config", "s.yaml", "--keep-ratio", 0.5, "--device", "cpu")[0] == 0
    (tmp_path / "s.yaml").write_text(text.replace("sharpness: 2", "sharpnes: 2"))
    code, _, err = run("run", "--config", "s.yaml")
    assert code == 2 and "s.yaml:3: selector 'own_of_config:Mine' has no option 'sharpnes'; did you mean" in err


def test_labels_are_names_in_tables_and_figures(run: Run, sweep_file: Path, tmp_path: Path) -> None:
    line = ("run", "--config", sweep_file, "--selector", "random", "--seed", 0, "--keep-ratio", 0.5)
    code, out, err = run(*line, "--out", "out")
    assert code == 0 and " fine " in out and "\nother " in out and "random 7" not in out, err
    code, out, _ = run("leaderboard", "out", "--no-intervals", "--csv", "table.csv")
    assert " fine " in out and "other, none, coverage" in out
    frame = pd.read_csv(tmp_path / "table.csv", keep_default_na=False)
    assert set(zip(frame["selector"], frame["selector_label"], strict=True)) == {("random", "fine"), ("random", "")}
    assert set(frame["task_label"]) == {"other", ""}
    code, out, err = run("plot", "out", "--kind", "gap", "--selector", "fine", "--task", "other", "--format", "svg")
    assert code == 0 and out == "figures/gap-other-coverage-none-0.5.svg\n"
    assert run("report", "out", "--no-intervals", "--out", "report.html")[0] == 0
    assert "fine" in (tmp_path / "report.html").read_text()
    # Labels are no part of a result.
    sweep_file.write_text(FILE.replace("label: fine", "label: another"))
    code, out, err = run(*line, "--out", "out")
    assert code == 0 and "4 cells, 0 images evaluated now" in err and " another " in out and " fine " not in out


def test_one_selector_has_one_label(run: Run, sweep_file: Path) -> None:
    sweep_file.write_text(FILE.replace("options: {patch_size: 4}", "options: {}\n  - {name: random, label: twin}"))
    code, _, err = run("run", "--config", sweep_file, "--selector", "fine", "--selector", "twin", "--task", "other")
    assert code == 2 and "'fine' and 'twin' are the same selector, random with equal options: leave one of" in err


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("- random\n", "- rondom\n", "s.yaml:2: no selector 'rondom'; did you mean 'random'?"),
        ("label: fine", "lable: fine", "s.yaml:4: unknown key selectors[1].lable; did you mean 'label'?"),
        ("limit: 6", "limit: six", "s.yaml:12: limit must be a whole number, got 'six'"),
    ],
)
def test_mistakes_are_answered_without_heavy_imports(sweep_file: Path, old: str, new: str, message: str) -> None:
    sweep_file.write_text(FILE.replace(old, new, 1))
    line = [sys.executable, "-c", SCRIPT, "run", "--config", "s.yaml"]
    done = subprocess.run(line, capture_output=True, text=True, cwd=sweep_file.parent)
    assert done.returncode == 2 and done.stderr.startswith(f"ltrp-bench: {message}"), done.stderr
    assert done.stderr.count("\n") == 1


def test_nothing_of_it_is_imported_without_a_file() -> None:
    code = "import sys, ltrp_bench.harness.cli.main\nsys.exit(str({'yaml', 'pydantic'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == "set()"


def test_a_dry_run_writes_nothing(run: Run, sweep_file: Path, tmp_path: Path) -> None:
    line = ("run", "--config", sweep_file, "--selector", "fine", "--seed", 0)
    code, out, err = run(*line, "--dry-run")
    assert code == 0, err
    lines = [" ".join(one.split()) for one in out.splitlines()]
    assert lines[0] == "task selector seed to do images left time disk"  # without columns that say nothing
    assert lines[2].startswith("other fine 0 0.25 0.5 6 ~0:00:0")
    assert lines[3] == "0 cells done, 4 to do, 12 images to evaluate"
    assert lines[-1] == "nothing was evaluated or written (--dry-run)"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.yaml"]
    assert run(*line, "--keep-ratio", 0.5)[0] == 0
    code, out, _ = run(*line, "--dry-run")
    lines = [" ".join(one.split()) for one in out.splitlines()]
    assert lines[2].startswith("other fine 0 0.5 0.25 6 6 of 6 0:00:0")
    assert lines[3] == "2 cells done, 2 to do, 12 images to evaluate"
    code, out, _ = run(*line, "--keep-ratio", 0.5, "--dry-run")
    assert "\n2 cells done, 0 to do, 0 images to evaluate\nnothing was" in out


def test_a_suite_by_name(run: Run) -> None:
    code, out, _ = run("list", "suites")
    assert code == 0 and "shapes/quick" in out
    code, _, err = run("run", "--config", "shapes/quick", "--limit", 1, "--keep-ratio", 0.5, "--device", "cpu")
    assert code == 0 and "results in runs" in err
    code, _, err = run("run", "--config", "shapes/quik")
    assert code == 2 and "no file or suite 'shapes/quik'; did you mean 'shapes/quick'?" in err
