"""The printed table: columns that have a value, intervals, incomplete rows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from ltrp_bench.harness.cli.terminal.tables import TableView, results_table
from ltrp_bench.results.leaderboard.aggregate import aggregate_cells
from ltrp_bench.results.leaderboard.build import load_leaderboard
from ltrp_bench.results.store.run_store import RunStore
from ltrp_bench.selectors.errors import UsageError


def printed(frame: Any, capsys: pytest.CaptureFixture[str], width: int | None = None, **view: Any) -> list[str]:
    """Lines of a table in a terminal of this width, or in a file."""
    Console(width=width or 400).print(results_table(frame, TableView(width=width, **view)))
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_columns_without_a_value_are_left_out(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = aggregate_cells(RunStore(runs).read_cells())
    header, *rows = printed(frame, capsys)
    assert header.split() == [
        *("task", "reduction", "keep", "selector", "supervision", "metric", "all", "seen", "unseen"),
        *("gap", "seeds", "images"),
    ]
    first = frame[frame["keep_ratio"] == 0.25].sort_values("all").iloc[-1]
    assert rows[0].split()[:7] == [
        *("shapes-coverage", "none", "0.25", first["selector"], "none", "coverage"),
        f"{first['all']:.4f}",
    ]
    assert [row.split()[2] for row in rows] == ["0.25"] * 4 + ["0.5"] * 4


def test_values_have_intervals_and_ranks(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = load_leaderboard(runs).frame
    heading, header, *rows = printed(frame, capsys)
    assert heading.startswith("shapes-coverage, none, coverage; unseen by shapes-seen/0: 8 of 16 categories")
    assert [title in header for title in ("adjusted", "rank  rank on unseen", "as random at")] == [True] * 3
    row = frame[frame["selector"] == "variance"].iloc[0]
    (line, *_) = [line for line in rows if " variance " in line]
    assert f"{row['all']:.4f} [{row['all_low']:.4f} {row['all_high']:.4f}]" in line


def test_incomplete_rows_name_what_is_missing(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = [r for r in RunStore(runs).read_cells() if (r.selector.name, r.keep_ratio) != ("center", 0.5)]
    _, *rows = printed(aggregate_cells(records), capsys)
    (line,) = [line for line in rows if " center " in line and " 0.5 " in line]
    assert line.endswith("incomplete: lacks keep ratio 0.5")


def header_of(lines: list[str]) -> list[str]:
    (header,) = [line for line in lines if line.lstrip().startswith("keep ")]
    return header.split()


def test_a_terminal_gets_headings_and_the_columns_that_fit(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = load_leaderboard(runs).frame
    row = frame[frame["selector"] == "variance"].iloc[0]
    ends = [f"{row[name]:.3f}".replace("0.", ".") for name in ("all", "all_low", "all_high")]
    interval = f"{ends[0]} [{ends[1]} {ends[2]}]"
    for width in (100, 80, 60):
        lines = printed(frame, capsys, width)
        assert lines[0].startswith("shapes-coverage, none, coverage; unseen by ")
        assert header_of(lines)[:7] == ["keep", "selector", "all", "seen", "unseen", "gap", "rank"]
        assert max(map(len, lines)) <= width and not any("…" in line for line in lines)
        (line, *_) = [line for line in lines if " variance " in line]
        assert width == 60 or interval in line
        (hidden,) = re.findall(rf"left out to fit {width} columns: (.*?); --columns, --csv", " ".join(lines))
        assert "supervision" in hidden.split(", ")
        # Intervals of the groups are left out first.
        assert ("intervals of seen" in hidden, "intervals of gap" in hidden) == (width < 100, width < 80)
    titles = " ".join(header_of(printed(frame, capsys, 160)))
    assert "adjusted rank rank on unseen" in titles


def test_rows_are_sorted_by_rank_within_a_keep_ratio(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = load_leaderboard(runs).frame
    own = frame[frame["keep_ratio"] == 0.25].sort_values(["rank", "rank_last", "all"], ascending=[True, True, False])
    lines = [line.split() for line in printed(frame, capsys, 100)]
    shown = [line[1] for line in lines if line[:1] == ["0.25"]]
    assert shown == own["selector"].tolist()
    by_gap = [line.split()[1] for line in printed(frame, capsys, 100, sort="gap") if line.startswith("0.25")]
    assert by_gap == frame[frame["keep_ratio"] == 0.25].sort_values("gap", ascending=False)["selector"].tolist()
    together = [line.split()[:2] for line in printed(frame, capsys, 100, sort="selector")]
    names = sorted(frame["selector"].unique())
    assert [words[1] for words in together if words[:1] == ["0.5"]] == names
    assert [words[0] for words in together if words[1:] == [names[0]]] == ["0.25", "0.5", "auc"]


def test_columns_and_groups_are_chosen(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = load_leaderboard(runs).frame
    lines = printed(frame, capsys, 100, columns=("selector", "images/s", "rank-on-unseen"))
    assert ["selector", "images/s", "rank", "on", "unseen"] in [line.split() for line in lines]
    assert printed(frame, capsys, columns=("gap", "keep"))[1].split() == ["gap", "keep"]
    titles = header_of(printed(frame, capsys, 100, groups=("unseen",)))
    assert "unseen rank on unseen" in " ".join(titles).replace("unseen retention ", "") and "all" not in titles
    titles = header_of(printed(frame, capsys, 200, groups=("seen", "unseen")))
    assert "seen unseen gap" in " ".join(titles) and "all" not in titles
    with pytest.raises(UsageError, match="--columns gpa: no such column; did you mean 'gap'"):
        printed(frame, capsys, 100, columns=("gpa",))
    with pytest.raises(UsageError, match="--sort nothing: no such column"):
        printed(frame, capsys, 100, sort="nothing")


def test_long_names_wrap_at_their_parts(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = load_leaderboard(runs).frame
    frame = frame.assign(selector_label=frame["selector"].replace("variance", "ltrp-cluster.photos"))
    lines = printed(frame, capsys, 32, columns=("keep", "selector", "supervision"))
    places = [i for i, line in enumerate(lines) if " ltrp-cluster. " in line]
    assert places and all(lines[i + 1].split() == ["photos"] for i in places)
    assert max(map(len, lines)) <= 32 and "…" not in "".join(lines)


def test_models_of_tasks_are_a_column_and_in_headings(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = load_leaderboard(runs).frame
    other = frame.assign(task="other", task_id="other", model="yolox")
    both = pd.concat([frame.assign(model="rtmdet"), other])
    assert printed(both, capsys)[2].split()[:2] == ["task", "model"]
    headings = [line for line in printed(both, capsys, 100) if ", none, coverage, " in line]
    assert [line.partition(";")[0].split(", ")[-1] for line in headings] == ["rtmdet", "yolox"]
    assert not any("rtmdet" in line for line in printed(frame.assign(model="rtmdet"), capsys))


@pytest.fixture
def exposed(runs: Path) -> pd.DataFrame:
    """A leaderboard in which the labels of `variance` contain nine of the twelve unseen categories."""
    frame = load_leaderboard(runs).frame
    marked = frame["selector"] == "variance"
    names = "; ".join([*(f"thing {i}" for i in range(8)), "kite (narrow)"])
    frame = frame.assign(split_by="imagenet1k", seen_categories=8, unseen_categories=12, unseen_objects=30)
    frame = frame.assign(unseen_measured=12, exposed_unseen=np.where(marked, 9 / 12, 0.0))
    frame = frame.assign(exposure=np.where(marked, "exposed", "none"))
    frame = frame.assign(exposed_categories=np.where(marked, names, ""), retention_all=0.5, retention_unseen=0.25)
    frame.loc[marked, ["unseen_rank", "unseen_rank_last"]] = np.nan
    return frame.assign(supervision=np.where(marked, "imagenet21k+imagenet1k", "none"))


def test_exposed_rows_have_marks_and_a_line_below(exposed: pd.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    heading, header, *rows = printed(exposed, capsys)
    assert heading == "shapes-coverage, none, coverage; unseen by imagenet1k: 12 of 20 categories, 30 objects"
    assert header.index("retention") < header.index("unseen retention") < header.index("rank")
    one = exposed[exposed["selector"] == "variance"].iloc[0]
    (line, *_) = [line for line in rows if " variance" in line]
    gap = f"{one['gap']:+.4f} [{one['gap_low']:+.4f} {one['gap_high']:+.4f}]"
    assert f" variance† imagenet21k+imagenet1k  coverage  {one['all']:.4f} [" in line
    assert f"  {one['seen']:.4f}  {one['unseen']:.4f}† " in line and f" {gap}† " in line and " 0.500 " in line
    assert "  0.250† " in line and line.count("†") == 4
    # Marks are in the space after a column, so digits stay aligned.
    (other, *_) = [line for line in rows if " center " in line]
    assert other[line.index("0.250†") :].startswith("0.250 ") and "†" not in other
    assert rows[-3:] == [
        "† variance: labels of imagenet21k+imagenet1k contain 9 (1 narrow) of the 12 categories called unseen: "
        "thing 0, thing 1, thing 2, thing 3, thing 4, thing 5 and 3 others; not ranked on unseen",
        "oracle: no ranking covers more of all objects; the most of seen or of unseen objects alone is covered by "
        "oracle.seen and oracle.unseen (groups of the run's split)",
        "to compare † on unseen categories: leaderboard --unseen-by imagenet21k, or common; to rank † as they are: "
        "leaderboard --count-exposed",
    ]


def test_marks_make_no_column_wider(exposed: pd.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    for width in (100, 80):
        marked = printed(exposed, capsys, width)
        plain = printed(exposed.assign(exposure="none"), capsys, width)
        rows = [line for line in marked if " variance†" in line]
        assert rows and [line.replace("†", " ").rstrip() for line in rows] == [
            line for line in plain if " variance " in line
        ]
        assert max(map(len, marked)) <= width
        assert marked[0].startswith("shapes-coverage, none, coverage; unseen by imagenet1k: 12 of 20 categories")
        assert "† variance: labels of" in " ".join(marked) and "…" not in " ".join(marked)


def test_few_unseen_categories(exposed: pd.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    first, second, *_ = printed(exposed.assign(unseen_categories=4, unseen_measured=4), capsys)
    assert first.endswith("4 of 12 categories, 30 objects")
    assert second == "4 categories are few: their mean says little about unseen categories in general"


def test_lines_of_several_tasks_name_them(exposed: pd.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    others = [exposed.assign(task="a", task_id="a"), exposed.assign(task="b", task_id="b", unseen_categories=13)]
    lines = [line for line in printed(pd.concat([*others, exposed]), capsys) if line.startswith("†")]
    assert [line.partition(":")[0] for line in lines] == ["† variance on a, shapes-coverage", "† variance on b"]
