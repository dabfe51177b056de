"""Files of tables: CSV and Parquet hold everything, Markdown and LaTeX what a paper shows."""

from __future__ import annotations

import math
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from ltrp_bench.results.leaderboard.build import COLUMNS, PAIR_COLUMNS, Leaderboard, load_leaderboard
from ltrp_bench.results.leaderboard.export import (
    check_suffix,
    html,
    interval_text,
    latex,
    markdown,
    rank_text,
    write_table,
)
from ltrp_bench.selectors.errors import UsageError


@pytest.fixture
def leaderboard(world: Any) -> Leaderboard:
    for ratio in (0.25, 0.5):
        world.cell("good_one", ratio, 0.6)
        world.cell("random", ratio, 0.3)
    return load_leaderboard(world.store.root)


def test_csv(leaderboard: Leaderboard, tmp_path: Path) -> None:
    write_table(leaderboard.frame, tmp_path / "table.csv")
    back = pd.read_csv(tmp_path / "table.csv")
    assert tuple(back.columns) == COLUMNS and back["all_low"].tolist() == leaderboard.frame["all_low"].tolist()
    write_table(leaderboard.frame, tmp_path / "table", ".csv")
    assert (tmp_path / "table").read_bytes() == (tmp_path / "table.csv").read_bytes()
    write_table(leaderboard.pairs, tmp_path / "pairs.csv")
    assert tuple(pd.read_csv(tmp_path / "pairs.csv").columns) == PAIR_COLUMNS


def test_parquet(leaderboard: Leaderboard, tmp_path: Path) -> None:
    for name, frame in (("table", leaderboard.frame), ("pairs", leaderboard.pairs)):
        write_table(frame, tmp_path / f"{name}.PARQUET")
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / f"{name}.PARQUET"), frame, check_dtype=False)


def test_markdown(leaderboard: Leaderboard, tmp_path: Path) -> None:
    write_table(leaderboard.frame, tmp_path / "table.md")
    text = (tmp_path / "table.md").read_text()
    assert text == markdown(leaderboard.frame)
    lines = text.splitlines()
    assert lines[0] == "### shapes-coverage, coverage, none; unseen by imagenet1k: 1 of 2 categories, 10 objects"
    assert lines[2] == "A single category says little about unseen categories in general." and lines[3] == ""
    heads = [head.strip() for head in lines[4].strip("|").split("|")]
    assert heads == [
        *("keep", "selector", "supervision", "all", "seen", "unseen", "gap", "rank", "rank on unseen"),
        "as random at",
    ]
    body = [[entry.strip() for entry in line.strip("|").split("|")] for line in lines[6:]]
    assert [line[:2] for line in body] == [
        *(["0.25", "good_one"], ["0.25", "random"], ["0.5", "good_one"], ["0.5", "random"]),
        *(["auc 0.25-0.5", "good_one"], ["auc 0.25-0.5", "random"]),
    ]
    assert [line[7] for line in body] == ["1", "2"] * 3
    first = leaderboard.frame.iloc[0]
    assert body[0][3] == f"{first['all']:.3f} [{first['all_low']:.3f}, {first['all_high']:.3f}]"
    assert markdown(leaderboard.pairs).splitlines()[2].split() == (
        ["|", "keep", "|", "value", "|", "first", "|", "second", "|", "difference", "|", "p", "|", "p", "holm", "|"]
    )


def test_rows_are_by_rank_where_people_read_them(world: Any) -> None:
    for ratio in (0.25, 0.5):
        for name, skill in (("a_weak", 0.2), ("b_best", 0.7), ("oracle", 0.9)):
            world.cell(name, ratio, skill)
    frame = load_leaderboard(world.store.root).frame
    by_rank = ["b_best", "a_weak", "oracle"]
    lines = markdown(frame, ["selector", "rank"]).splitlines()
    table = [[entry.strip() for entry in line.strip("|").split("|")] for line in lines if line.startswith("|")][2:]
    assert [line[0] for line in table] == by_rank * 3 and [line[1] for line in table] == ["1", "2", ""] * 3
    rows = [line.replace("\\\\", "").split("&")[1].strip() for line in latex(frame).splitlines() if line.count("&") > 3]
    assert rows[-9:] == [name.replace("_", "\\_") for name in by_rank] * 3
    assert frame["selector"].tolist() == sorted(by_rank) * 3  # as CSV files have them


def test_tables_without_rows(leaderboard: Leaderboard) -> None:
    for frame in (leaderboard.frame[:0], leaderboard.pairs[:0]):
        assert markdown(frame) == "no rows\n" and latex(frame) == "% no rows\n"


def test_html_for_notebooks(leaderboard: Leaderboard) -> None:
    tables = list(ElementTree.fromstring(html(leaderboard.frame)).iter("table"))
    assert len(tables) == 1
    heads, *body = [["".join(one.itertext()) for one in row] for row in tables[0].iter("tr")]
    assert heads == [
        *("keep", "selector", "supervision", "all", "seen", "unseen", "gap", "rank", "rank on unseen"),
    ]
    first = leaderboard.frame.iloc[0]
    assert len(body) == len(leaderboard.frame)
    assert body[0][3] == f"{first['all']:.3f} [{first['all_low']:.3f}, {first['all_high']:.3f}]"
    assert "&lt;x&gt;" in html(leaderboard.frame.assign(selector="<x>", selector_label="", selector_name="<x>"))
    assert html(leaderboard.frame[:0]) == "<p>no finished cell</p>"


def test_latex(leaderboard: Leaderboard, tmp_path: Path) -> None:
    write_table(leaderboard.frame, tmp_path / "table.tex")
    text = (tmp_path / "table.tex").read_text()
    assert text == latex(leaderboard.frame) and text.startswith("% needs \\usepackage{booktabs,multirow,graphicx}\n")
    assert (
        "\\toprule" in text and "good\\_one" in text and "\\caption{shapes-coverage, coverage, none; unseen by" in text
    )
    assert "\\label{tab:shapes-coverage-coverage-none}" in text
    assert text.count("\\begin{tabular}") == text.count("\\end{tabular}}") == 1
    assert " & all & seen & unseen & gap & rank \\\\\n" in text


def test_chosen_columns(leaderboard: Leaderboard) -> None:
    (heads,) = [line for line in latex(leaderboard.frame, ["selector", "gap", "all"]).splitlines() if "gap" in line]
    assert heads == " & gap & all \\\\"
    lines = markdown(leaderboard.frame, ["selector", "gap", "all"]).splitlines()
    assert [head.strip() for head in lines[4].strip("|").split("|")] == ["selector", "gap", "all"]


@pytest.fixture
def exposed(leaderboard: Leaderboard) -> pd.DataFrame:
    """A table in which the labels of good_one contain four of the five unseen categories, and random's are open."""
    frame = leaderboard.frame.assign(split_by="imagenet_1k", seen_categories=75, unseen_categories=5, unseen_objects=9)
    frame["unseen_measured"], frame["exposed_unseen"] = 5, np.where(frame["selector"] == "good_one", 0.8, math.nan)
    good = frame["selector"] == "good_one"
    frame["supervision"] = np.where(good, "imagenet21k+imagenet1k", "captions")
    frame = frame.assign(exposure=np.where(good, "exposed", "open"), unseen_rank=math.nan)
    return frame.assign(exposed_categories=np.where(good, "a; b; c; kite (narrow)", ""))


def test_markdown_marks_exposed_rows(exposed: pd.DataFrame) -> None:
    lines = markdown(exposed).splitlines()
    assert lines[0] == "### shapes-coverage, coverage, none; unseen by imagenet_1k: 5 of 80 categories, 9 objects"
    assert lines[2] == "5 categories are few: their mean says little about unseen categories in general."
    body = [[entry.strip() for entry in line.strip("|").split("|")] for line in lines if line.startswith("| 0.25")]
    first = exposed.iloc[0]
    assert [line[1] for line in body] == ["good_one†", "random‡"]
    assert body[0][3:7] == [
        *(interval_text(first, "all"), interval_text(first, "seen")),
        *(interval_text(first, "unseen") + "†", interval_text(first, "gap", "+.3f") + "†"),
    ]
    assert lines[-3:] == [
        "† good_one: labels of imagenet21k+imagenet1k contain 4 (1 narrow) of the 5 categories called unseen: "
        "a, b, c, kite (narrow)",
        "",
        "‡ random: trained with captions; which categories these showed cannot be known",
    ]


def test_latex_marks_exposed_rows(exposed: pd.DataFrame) -> None:
    text = latex(exposed)
    assert "good\\_one$^\\dagger$ &" in text and "random$^\\ddagger$ &" in text
    assert "†" not in text and "‡" not in text
    assert (
        "\\caption{shapes-coverage, coverage, none; unseen by imagenet\\_1k: 5 of 80 categories, 9 objects. "
        "5 categories are few: their mean says little about unseen categories in general}"
    ) in text
    assert "\\label{tab:shapes-coverage-coverage-none}" in text
    assert text.endswith(
        "\\end{tabular}}\n\\par\\smallskip\n\\parbox{\\linewidth}{\\footnotesize $^\\dagger$ good\\_one: labels of "
        "imagenet21k+imagenet1k contain 4 (1 narrow) of the 5 categories called unseen: a, b, c, kite (narrow)\\\\\n"
        "$^\\ddagger$ random: trained with captions; which categories these showed cannot be known}\n\\end{table}\n"
    )


def test_names_of_two_tasks_have_what_differs(leaderboard: Leaderboard, world: Any) -> None:
    assert "### shapes-coverage, coverage" in markdown(leaderboard.frame)
    world.cell("good_one", 0.25, 0.6, limit=5)
    titles = [line for line in markdown(load_leaderboard(world.store.root).frame).splitlines() if line[:1] == "#"]
    assert sorted(title.partition(";")[0] for title in titles) == [
        "### shapes-coverage limit=5, coverage, none",
        "### shapes-coverage, coverage, none",
    ]


def test_names_of_two_selectors_have_what_differs(leaderboard: Leaderboard, world: Any) -> None:
    assert "| good_one " in markdown(leaderboard.frame)
    world.cell("good_one", 0.25, 0.5, weights="w2")
    world.cell("good_one", 0.5, 0.5, weights="w2")
    board = load_leaderboard(world.store.root)
    frame = board.frame[board.frame["selector"] == "good_one"]
    names = list(dict.fromkeys(frame["selector_name"]))  # in the order of their ids
    assert sorted(names) == ["good_one w1", "good_one w2"] and frame["selector_id"].nunique() == 2
    body = [line.split("|") for line in markdown(board.frame).splitlines() if line.startswith("| 0.25")]
    assert [line[2].strip() for line in body] == [*sorted(names), "random"]  # w1 is better
    assert all(f"{one} &".replace("_", "\\_") in latex(board.frame) for one in names)
    pairs = [line.split("|") for line in markdown(board.pairs).splitlines() if line.startswith("| 0.25")]
    assert {line[i].strip() for line in pairs for i in (3, 4)} == {*names, "random"}


def test_a_metric_over_nothing_is_noted(leaderboard: Leaderboard) -> None:
    frame = leaderboard.frame
    empty = frame.assign(
        **{name: frame[name].where(frame["selector"] != "random") for name in ("all", "seen", "unseen")}
    )
    lines = [line for line in markdown(empty).splitlines() if line.startswith("| 0.")]
    texts = [line.strip("| ").rpartition("|")[2].strip() for line in lines if "random" in line]
    assert texts == ["nothing to measure: no object or label counts"] * 2
    assert all("nothing to measure" not in line for line in lines if "good_one" in line)
    assert "nothing to measure: no object or label counts \\\\" in latex(empty)
    assert "10 objects. A single category says little" in latex(empty)


def test_unknown_suffix(leaderboard: Leaderboard, tmp_path: Path) -> None:
    assert check_suffix(tmp_path / "a.CSV") == ".csv"
    with pytest.raises(UsageError, match=r"unknown table format '\.xlsx'; use one of \.csv, \.parquet, \.md, \.tex"):
        write_table(leaderboard.frame, tmp_path / "table.xlsx")
    assert list(tmp_path.glob("table*")) == []


def test_texts_of_values_and_ranks() -> None:
    row = {"all": 0.6768, "all_low": 0.651, "all_high": 0.7021, "gap": 0.05, "rank": 2.0, "rank_last": 4.0}
    assert interval_text(row, "all") == "0.677 [0.651, 0.702]"
    assert interval_text(row, "gap", "+.2f") == "+0.05" and interval_text(row, "seen") == ""
    assert rank_text(row, "") == "2-4" and rank_text({**row, "rank_last": 2.0}, "") == "2"
    assert rank_text(row, "unseen_") == "" == rank_text({"rank": math.nan, "rank_last": math.nan}, "")


def has_latex() -> bool:
    """True if this machine can compile the tables."""
    if shutil.which("pdflatex") is None or shutil.which("kpsewhich") is None:
        return False
    files = ("booktabs.sty", "multirow.sty", "graphicx.sty")
    return all(subprocess.run(["kpsewhich", one], capture_output=True, check=False).returncode == 0 for one in files)


@pytest.mark.skipif(not has_latex(), reason="no pdflatex with booktabs and multirow here (Debian: texlive-latex-extra)")
def test_latex_compiles(leaderboard: Leaderboard, tmp_path: Path) -> None:
    names = {"random": r"50 % of a_b & {c} ~ ^ \d #1 $x$"}
    frame = leaderboard.frame.assign(selector_label=leaderboard.frame["selector"].map(names).fillna(""))
    marked = frame.assign(
        exposure=np.where(frame["selector"] == "random", "exposed", "open"),
        **{
            "split_by": "imagenet_1k",
            "seen_categories": 75,
            "unseen_categories": 5,
            "exposed_categories": "a_b; c & d",
        },
    )
    tables = latex(marked) + latex(leaderboard.pairs)
    start = "\\documentclass{article}\n\\usepackage{booktabs,multirow,graphicx}\n\\begin{document}\n"
    (tmp_path / "paper.tex").write_text(f"{start}{tables}\\end{{document}}\n", encoding="utf-8")
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout[-1500:]
    assert "Overfull" not in done.stdout, done.stdout[-1500:]
    assert (tmp_path / "paper.pdf").stat().st_size > 1000
