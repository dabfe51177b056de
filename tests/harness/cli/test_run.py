"""`ltrp-bench run`: what is evaluated, left out, kept after an interruption, and evaluated again."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest
from command_lines import FINISHED, SHAPES_HALF, SMALL, Run

from ltrp_bench.harness.progress.terminal import RunProgress
from ltrp_bench.results.store.gallery import read_gallery
from ltrp_bench.results.store.run_store import RunStore
from ltrp_bench.selectors.checkpoints import resolve
from ltrp_bench.tasks.data.shapes.world import CATEGORIES
from ltrp_bench.tasks.splits.split import load_split


def test_a_selector_from_a_file_in_the_working_directory(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Use the selector of the README; after an edit of its file, the cells are evaluated again."""
    code = "import toy_bench\n\nclass Mine(toy_bench.PlainSelector):\n    pass\n"
    (tmp_path / "my_selector.py").write_text(code)
    monkeypatch.setattr(sys, "path", [*sys.path])
    line = ("run", "--selector", "my_selector:Mine", *SMALL[5:], "--keep-ratio", 0.5)
    for text, evaluated in ((code, 20), (code, 0), (code + "# edited\n", 20)):
        (tmp_path / "my_selector.py").write_text(text)
        got, out, err = run(*line)
        assert got == 0 and "my_selector:Mine" in out
        assert f"1 cell, {evaluated} images evaluated now" in err


def test_the_whole_image_is_run_along(run: Run, tmp_path: Path) -> None:
    line = [argument for argument in SMALL if argument != "--no-full"]
    added = "note: full (the whole image) is also run on toy-coverage: retention and gaps are measured against it"
    code, out, err = run(*line)
    assert code == 0 and err.count(added) == 1 and "--no-full leaves it out" in err
    assert "7 cells, 60 images evaluated now" in err and "keeps every patch" not in err
    # Repeated, it shows the same table and evaluates nothing.
    code, again, err = run(*line)
    assert code == 0 and again == out and "note: " not in err and "7 cells, 0 images evaluated now" in err
    assert "6 cells, 40 images evaluated now" in run(*line, "--no-full", "--out", "without")[2]
    assert run("leaderboard", "--csv", "table.csv")[0] == 0
    frame = pd.read_csv(tmp_path / "table.csv").set_index(["selector", "ratios"])
    assert frame.loc[("full", "1"), "all"] == 1.0  # the whole square is kept
    random = frame.loc[("random", "0.5")]
    assert random["retention_seen"] == random["seen"] and random["gap_from_whole"] == random["gap"]


def test_bad_images_are_counted_and_named(run: Run) -> None:
    code, out, err = run(*SMALL, "--task-option", "bad=[2]", "--skip-bad-images")
    assert code == 0 and "1 unreadable image left out: toy 2 of toy-coverage (image toy 2 is corrupt)\n" in err
    assert "1 image left out" in out
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


def test_ctrl_c_keeps_finished_cells(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: RunProgress, key: str, images: int, seconds: float | None) -> None:
        if list((tmp_path / "runs").glob("cells/*.json")):
            raise KeyboardInterrupt

    monkeypatch.setattr(RunProgress, "advance", interrupt)
    code, _, err = run(*SMALL)
    assert code == 130
    assert "interrupted: 3 finished cells kept in runs; repeat the command to resume" in err


def write(path: Path, states: dict[str, str], columns: str = "category,state") -> Path:
    path.write_text("\n".join([columns, *(f"{name},{state}" for name, state in states.items())]) + "\n")
    return path


def groups(run: Run, name: str, *arguments: object) -> dict[str, float]:
    """all, seen, unseen of the one row of a run."""
    code, _, err = run(*SHAPES_HALF, *arguments, "--out", name)
    assert code == 0, err
    assert run("leaderboard", name, "--csv", f"{name}.csv")[0] == 0
    (row,) = pd.read_csv(f"{name}.csv").to_dict("records")
    return {group: row[group] for group in ("all", "seen", "unseen")}


def test_a_split_of_the_users_own(run: Run, tmp_path: Path) -> None:
    first = dict(load_split("shapes/0").states)
    swapped = write(tmp_path / "swapped.csv", {n: "unseen" if s == "seen" else "seen" for n, s in first.items()})
    plain, turned = groups(run, "plain"), groups(run, "turned", "--split", swapped)
    assert plain["seen"] != plain["unseen"]
    assert turned == {"all": plain["all"], "seen": plain["unseen"], "unseen": plain["seen"]}
    assert groups(run, "named", "--split", "shapes/1") == turned
    narrow = write(tmp_path / "narrow.csv", {n: "narrow" if s == "unseen" else "seen" for n, s in first.items()})
    assert groups(run, "strict", "--split", narrow, "--narrow-as", "unseen") == plain
    assert pd.isna(groups(run, "lenient", "--split", narrow)["unseen"])


def test_an_edited_split_is_evaluated_anew_and_an_equal_one_is_not(run: Run, tmp_path: Path) -> None:
    states = {name: "seen" if i % 3 else "unseen" for i, name in enumerate(CATEGORIES)}
    mine = write(tmp_path / "mine.csv", states)
    evaluated = []
    for edit in ({}, {}, {CATEGORIES[0]: "seen"}):
        write(mine, {**states, **edit})
        code, _, err = run(*SHAPES_HALF, "--split", mine)
        assert code == 0
        evaluated.append("1 cell, 12 images evaluated now" in err)
    assert evaluated == [True, False, True]


def test_a_selector_of_the_other_fold_is_announced(run: Run) -> None:
    line = ("run", "--selector", "evit", "--selector", "variance", "--task", "shapes-coverage", "--limit", 2)
    line = (*line, "--device", "cpu", "--keep-ratio", 0.5, "--weights", f"evit={resolve('vit.shapes0')}")
    code, out, err = run(*line, "--task-option", "fold=1")
    assert code == 0 and err.count("note: ") == 1
    assert "; unseen by shapes-seen/1: 8 of 16 categories" in out.splitlines()[0] and " evit† " in out
    assert "\n† evit: labels of shapes-seen/0 contain 8 of the 8 categories called unseen: " in out
    assert "note: evit was trained on shapes-seen/0, which contains 8 of the 8 categories of shapes-coverage" in err
    code, out, err = run(*line, "--task-option", "fold=0")
    assert code == 0 and "note: " not in err and "†" not in out


def test_a_split_that_lacks_categories_is_one_line(run: Run, tmp_path: Path) -> None:
    mine = write(tmp_path / "mine.csv", dict.fromkeys(CATEGORIES[2:], "seen"))
    code, out, err = run(*SHAPES_HALF, "--split", mine)
    assert code == 1 and out == "" and err.count("ltrp-bench: ") == 1
    assert "shapes-coverage: " in err and "not in the split 'mine' (14 categories)" in err
    assert all(name in err for name in CATEGORIES[:2])


def test_missing_summaries_and_thumbnails_are_added_without_evaluating_anew(runs: Path, run: Run) -> None:
    store = RunStore(runs)
    record = store.read_cells()[0]
    before = read_gallery(store, record.task.identity.short)
    assert len(before.images) == 8 and len(before.ranks) == 4
    assert all(sorted(r.ravel()) == list(range(144)) for ranks in before.ranks.values() for r in ranks.values())
    # As results of an older version.
    for folder in ("evidence", "gallery"):
        shutil.rmtree(runs / folder)
    code, _, err = run(*FINISHED)
    assert code == 0 and "8 cells, 0 images evaluated now" in err
    assert len(list((runs / "evidence").iterdir())) == 8
    assert read_gallery(store, record.task.identity.short).ranks.keys() == before.ranks.keys()


def test_results_are_the_same_as_those_of_another_run(runs: Path, run: Run) -> None:
    code, _, err = run(*FINISHED, "--out", "again")
    assert code == 0 and "8 cells, 48 images evaluated now; results in again; for intervals: ltrp-bench " in err
    assert RunStore(runs).read_cells() == RunStore(Path("again")).read_cells()
