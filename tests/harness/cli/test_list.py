"""`ltrp-bench list`: installed selectors and tasks, and categories with their states."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from command_lines import SHAPES_HALF, Run

from ltrp_bench.tasks.splits.label_sets import LABEL_SETS
from ltrp_bench.tasks.splits.split import load_split


def test_installed_selectors_tasks_and_categories(run: Run) -> None:
    code, out, _ = run("list", "selectors")
    assert code == 0 and re.search(r"^random +none +- +control: chance$", out, re.M) and "package.module:Class" in out
    assert "the ceiling of coverage over all objects" in out and "for tasks with a model it is no bound" in out
    code, out, _ = run("list", "tasks")
    assert code == 0 and re.search(r"^toy-coverage +toy_bench:ToyTask", out, re.M)
    assert re.search(r"^coco-det +COCO, or in its format +detector +AP of boxes$", out, re.M)
    code, out, _ = run("list", "categories")
    assert code == 0 and "80 categories" in out and re.search(r"^giraffe +unseen", out, re.M)


def test_the_tables_fit_80_columns(run: Run) -> None:
    for kind in ("selectors", "tasks"):
        table = run("list", kind)[1].split("\n\n")[0].splitlines()
        assert len(table) > 20 and max(map(len, table)) <= 100 - 20 * (kind == "selectors")


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


def test_a_split_of_the_users_own_is_shown_instead(run: Run, tmp_path: Path) -> None:
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


def test_label_sets_with_what_they_contain_and_split(run: Run) -> None:
    code, out, _ = run("list", "label-sets")
    lines = {line.split("  ")[0].strip(): line for line in out.splitlines()}
    assert code == 0 and set(LABEL_SETS) <= lines.keys()
    cells = re.split(r" {2,}", lines["imagenet21k"])
    assert cells[1:4] == ["ImageNet-21k", "21,844", "imagenet12k, imagenet1k"]
    assert cells[4] == "ade20k, coco80, cocostuff, cocostuff171, context59, imagenet1k, voc20"
    assert re.split(r" {2,}", lines["captions"])[2:] == ["open", "-", "-"]
    assert re.split(r" {2,}", lines["shapes-seen/0"])[4] == "shapes"
    code, out, _ = run("list", "categories", "imagenet21k_ade20k")
    assert code == 0 and "150 categories under imagenet21k: 134 seen, 9 narrow, 7 unseen" in out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--task", "coco-dett"), 2, "did you mean 'coco-det'"),
        (("--task", "coco-dett", "--split", "imagenet1k_voc20"), 2, "did you mean 'coco-det'"),
        (("imagenet1k_voc20", "--split", "imagenet1k_coco80"), 2, "two splits"),
        (("--split", "imagenet2k"), 2, "no split 'imagenet2k'; did you mean 'imagenet1k'?"),
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
        shown.append((*SHAPES_HALF, *arguments))
    for line in shown:
        got, out, err = run(*line)
        errors = [text for text in err.splitlines() if text.startswith("ltrp-bench: ")]
        assert got == code and len(errors) == 1 and message in errors[0] and out == "", err
        assert "Traceback" not in err and not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("coco80_coco80", "80 categories under coco80: 80 seen, 0 narrow, 0 unseen"),
        ("imagenet21k_imagenet1k", "1000 categories under imagenet21k: 1000 seen, 0 narrow, 0 unseen"),
        ("imagenet12k_imagenet1k", "1000 categories under imagenet12k: 993 seen, 0 narrow, 7 unseen"),
    ],
)
def test_splits_that_another_list_implies(run: Run, name: str, counts: str) -> None:
    code, out, _ = run("list", "categories", name)
    assert code == 0 and out.splitlines()[-1].startswith(counts)
