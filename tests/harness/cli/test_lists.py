"""`list categories --task` and `run --split`: what they print, where, and with which exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from ltrp_bench.harness.cli.main import run_command
from ltrp_bench.tasks.data.shapes.world import CATEGORIES
from ltrp_bench.tasks.splits.split import load_split

Run = Callable[..., tuple[int, str, str]]
SHAPES = ("run", "--selector", "random", "--task", "shapes-coverage", "--task-option", "images=12")
SHAPES = (*SHAPES, "--keep-ratio", "0.5", "--device", "cpu")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`run("list", ...)` in an empty folder -> (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, str]:
        code = run_command([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def write(path: Path, states: dict[str, str], columns: str = "category,state") -> Path:
    path.write_text("\n".join([columns, *(f"{name},{state}" for name, state in states.items())]) + "\n")
    return path


@pytest.mark.parametrize(
    ("task", "split", "count"),
    [("coco-det", "imagenet1k_coco80", 80), ("voc-det", "imagenet1k_voc20", 20), ("shapes-cls", "shapes/0", 16)],
)
def test_a_tasks_own_split_as_text_and_as_json(run: Run, task: str, split: str, count: int) -> None:
    code, text, _ = run("list", "categories", "--task", task)
    whole = load_split(split)
    assert code == 0 and text.splitlines()[-1].startswith(f"{count} categories under {whole.label_set}: ")
    assert [line.split("  ")[0].strip() for line in text.splitlines()[:-1]] == list(whole.states)
    code, out, err = run("list", "categories", "--task", task, "--json")
    found = json.loads(out)
    assert code == 0 and (found["task"], found["split"], found["label_set"]) == (task, split, whole.label_set)
    assert found["counts"] == whole.counts() and sum(found["counts"].values()) == count
    assert {c["category"]: c["state"] for c in found["categories"]} == dict(whole.states)
    assert {c["category"]: tuple(c["wnids"]) for c in found["categories"] if c["wnids"]} == {
        name: wnids for name, wnids in whole.wnids.items() if wnids
    }
    assert ("shapes/1" in err) == (split == "shapes/0") and "note" not in out


def test_every_wnid_is_in_the_json_and_the_text_counts_the_rest(run: Run) -> None:
    birds = load_split("imagenet1k_coco80").wnids["bird"]
    listed = json.loads(run("list", "categories", "imagenet1k_coco80", "--json")[1])["categories"]
    assert next(c for c in listed if c["category"] == "bird")["wnids"] == list(birds)
    line = next(t for t in run("list", "categories")[1].splitlines() if t.startswith("bird "))
    assert f"{birds[0]} {birds[1]} +{len(birds) - 2}  " in line and birds[2] not in line


def test_a_split_of_ones_own_is_shown_instead(run: Run, tmp_path: Path) -> None:
    mine = write(tmp_path / "mine_toys.csv", {"ball": "seen", "kite": "narrow"})
    for form in (("--split", mine), (mine,), ("--task", "coco-det", "--split", mine)):
        code, out, err = run("list", "categories", *form)
        assert code == 0 and err == ""
        assert [" ".join(line.split()) for line in out.splitlines()] == [
            "ball seen",
            "kite narrow",
            "2 categories under mine: 1 seen, 1 narrow, 0 unseen",
        ]
    found = json.loads(run("list", "categories", "--task", "coco-det", "--split", mine, "--json")[1])
    assert found["split"] == str(mine) and [c["wnids"] for c in found["categories"]] == [[], []]


def test_where_the_layout_decides_it_says_so(run: Run) -> None:
    code, out, err = run("list", "categories", "--task", "stuff-coverage")
    assert code == 0 and out.splitlines()[-1].startswith("133 categories") and "imagenet1k_cocostuff171" in err
    code, out, err = run("list", "categories", "--task", "nuswide-multilabel")
    assert code == 2 and out == "" and err.count("ltrp-bench: ") == 1 and "give --split FILE" in err
    code, out, _ = run("list", "categories", "--task", "nuswide-multilabel", "--split", "imagenet1k_voc20")
    assert code == 0 and out.splitlines()[-1].startswith("20 categories")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--task", "coco-dett"), 2, "did you mean 'coco-det'"),
        (("--task", "coco-dett", "--split", "imagenet1k_voc20"), 2, "did you mean 'coco-det'"),
        (("imagenet1k_voc20", "--split", "imagenet1k_coco80"), 2, "two splits"),
        (("--split", "imagenet2k"), 2, "no split 'imagenet2k': shipped are imagenet1k, "),
        (("--split", "nowhere.csv"), 1, "nowhere.csv does not exist"),
        (("--split", "bad.csv"), 1, "bad.csv, line 3: state must be seen, narrow or unseen, got 'perhaps'"),
        (("--split", "header.csv"), 1, "must name the columns category and state"),
        (("--split", "folder.csv"), 1, "folder.csv cannot be read"),
    ],
)
def test_mistakes_are_one_line(run: Run, tmp_path: Path, arguments: tuple[str, ...], code: int, message: str) -> None:
    write(tmp_path / "bad.csv", {"cat": "seen", "dog": "perhaps"})
    write(tmp_path / "header.csv", {"cat": "seen"}, "name,group")
    (tmp_path / "folder.csv").mkdir()
    shown = [("list", "categories", *arguments)]
    if "--task" not in arguments and arguments[0] == "--split":
        shown.append((*SHAPES, *arguments))
    for line in shown:
        got, out, err = run(*line)
        told = [text for text in err.splitlines() if text.startswith("ltrp-bench: ")]
        assert got == code and len(told) == 1 and message in told[0] and out == "", err
        assert "Traceback" not in err and not (tmp_path / "runs").exists()


def groups(run: Run, name: str, *arguments: object) -> dict[str, float]:
    """all, seen, unseen of the one row of a run."""
    code, _, err = run(*SHAPES, *arguments, "--out", name)
    assert code == 0, err
    assert run("leaderboard", name, "--csv", f"{name}.csv")[0] == 0
    (row,) = pd.read_csv(f"{name}.csv").to_dict("records")
    return {group: row[group] for group in ("all", "seen", "unseen")}


def test_run_takes_a_split_of_ones_own(run: Run, tmp_path: Path) -> None:
    first = dict(load_split("shapes/0").states)
    swapped = write(tmp_path / "swapped.csv", {n: "unseen" if s == "seen" else "seen" for n, s in first.items()})
    plain, turned = groups(run, "plain"), groups(run, "turned", "--split", swapped)
    assert plain["seen"] != plain["unseen"]
    assert turned == {"all": plain["all"], "seen": plain["unseen"], "unseen": plain["seen"]}
    assert groups(run, "named", "--split", "shapes/1") == turned
    narrow = write(tmp_path / "narrow.csv", {n: "narrow" if s == "unseen" else "seen" for n, s in first.items()})
    assert groups(run, "strict", "--split", narrow, "--narrow-as", "unseen") == plain
    assert pd.isna(groups(run, "lenient", "--split", narrow)["unseen"])


def test_an_edited_split_is_measured_anew_and_an_equal_one_is_not(run: Run, tmp_path: Path) -> None:
    states = {name: "seen" if i % 3 else "unseen" for i, name in enumerate(CATEGORIES)}
    mine = write(tmp_path / "mine.csv", states)
    measured = []
    for edit in ({}, {}, {CATEGORIES[0]: "seen"}):
        write(mine, {**states, **edit})
        code, _, err = run(*SHAPES, "--split", mine)
        assert code == 0
        measured.append("1 cells, 12 images measured now" in err)
    assert measured == [True, False, True]


def test_a_split_that_lacks_categories_is_one_line(run: Run, tmp_path: Path) -> None:
    mine = write(tmp_path / "mine.csv", dict.fromkeys(CATEGORIES[2:], "seen"))
    code, out, err = run(*SHAPES, "--split", mine)
    assert code == 1 and out == "" and err.count("ltrp-bench: ") == 1
    assert "shapes-coverage: " in err and "not in the split 'mine' (14 categories)" in err
    assert all(name in err for name in CATEGORIES[:2])
