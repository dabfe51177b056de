"""`--unseen-by` and `--count-exposed` on a real run of `shapes`, whose label sets are exact."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest

from ltrp_bench.harness.cli.main import run_command

SELECTORS = ("evit.shapes0", "evit.shapes1", "ltrp.shapes", "variance", "center")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on fold 0 whose selectors were trained on fold 0, on fold 1, or on no labels."""
    out = tmp_path_factory.mktemp("unseen") / "runs"
    chosen = [word for name in SELECTORS for word in ("--selector", name)]
    command = ["run", *chosen, "--task", "shapes-coverage", "--limit", "30", "--keep-ratio", "0.25", "--out", str(out)]
    assert run_command([*command, "--device", "cpu", "--batch-size", "30"]) == 0
    return out


def _table(folder: Path, *more: str) -> pd.DataFrame:
    file = folder / "table.csv"
    assert run_command(["leaderboard", str(folder), "--resamples", "100", "--csv", str(file), *more]) == 0
    return pd.read_csv(file, keep_default_na=False).set_index("selector")


def test_a_selector_of_the_other_fold_has_seen_what_this_fold_calls_unseen(folder: Path) -> None:
    table = _table(folder)
    assert set(table["split_by"]) == {"shapes-seen/0"} and set(table["unseen_categories"]) == {8}
    assert table["exposure"].to_dict() == {name: "exposed" if name == "evit.shapes1" else "none" for name in SELECTORS}
    assert table.loc["evit.shapes1", "exposed_unseen"] == 1.0
    assert len(table.loc["evit.shapes1", "exposed_categories"].split("; ")) == 8
    assert table.loc["evit.shapes1", "unseen_rank"] == "" != table.loc["evit.shapes0", "unseen_rank"]
    counted = _table(folder, "--count-exposed")
    assert counted.loc["evit.shapes1", "unseen_rank"] != "" and counted.loc["evit.shapes1", "exposure"] == "exposed"


def test_the_other_fold_swaps_seen_and_unseen(folder: Path) -> None:
    table, swapped = _table(folder), _table(folder, "--unseen-by", "shapes-seen/1")
    for name in SELECTORS:
        assert float(swapped.loc[name, "seen"]) == pytest.approx(float(table.loc[name, "unseen"]), abs=1e-12)
        assert float(swapped.loc[name, "unseen"]) == pytest.approx(float(table.loc[name, "seen"]), abs=1e-12)
        assert float(swapped.loc[name, "gap_low"]) == pytest.approx(-float(table.loc[name, "gap_high"]), abs=0.02)
        assert swapped.loc[name, "all_low"] == table.loc[name, "all_low"]
    assert swapped.loc["evit.shapes0", "exposure"] == "exposed" and swapped.loc["evit.shapes1", "exposure"] == "none"


def test_both_folds_together_leave_nothing_that_no_selector_has_seen(folder: Path) -> None:
    table = _table(folder, "--unseen-by", "common")
    assert set(table["split_by"]) == {"common"} and set(table["unseen_categories"]) == {0}
    assert set(table["unseen"]) == {""} and set(table["exposure"]) == {"none"}


def test_report_and_figures_follow(folder: Path, tmp_path: Path) -> None:
    chosen = ["--unseen-by", "shapes-seen/1", "--resamples", "100"]
    assert run_command(["report", str(folder), "--out", str(tmp_path / "report.html"), *chosen]) == 0
    assert "shapes-seen/1" in (tmp_path / "report.html").read_text()
    assert run_command(["plot", str(folder), "--out", str(tmp_path), "--kind", "gap", *chosen]) == 0
    assert [path.suffix for path in tmp_path.glob("gap-*")] == [".png"]


def test_compare_in_the_groups_of_another_label_set(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["compare", str(folder), str(folder), "--unseen-by", "shapes-seen/1"]) == 0
    out = capsys.readouterr().out
    assert "No regression in 5 rows (5 by a paired bootstrap test, Holm-corrected); unseen by shapes-seen/1" in out
    seen, unseen = (float(_table(folder).loc["ltrp.shapes", group]) for group in ("seen", "unseen"))
    row = next(line for line in out.splitlines() if "| ltrp.shapes |" in line)
    assert f"| {unseen:.4f} → {unseen:.4f} (+0.0000) | {seen:.4f} → {seen:.4f} (+0.0000) |" in row
    assert not math.isclose(seen, unseen, abs_tol=1e-4)


@pytest.mark.parametrize("command", ["leaderboard", "plot", "report", "compare"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("imagenet21", "no label set 'imagenet21'; did you mean 'imagenet21k'?"),
        ("captions", "--unseen-by captions: its content is unknown, so it splits no categories"),
    ],
)
def test_an_unusable_label_set(
    folder: Path, command: str, name: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = [str(folder)] * (2 if command == "compare" else 1)
    assert run_command([command, *sides, "--unseen-by", name]) == 2
    assert message in capsys.readouterr().err


def test_narrow_as_alone_changes_nothing_and_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["leaderboard", str(folder), "--narrow-as", "unseen"]) == 2
    assert "--narrow-as changes the groups of --unseen-by: give that option as well" in capsys.readouterr().err


def test_a_csv_cannot_be_split_anew(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _table(folder)
    file = str(folder / "table.csv")
    assert run_command(["plot", "--csv", file, "--unseen-by", "common", "--out", str(tmp_path)]) == 2
    assert "--unseen-by, --narrow-as and --count-exposed need a run directory" in capsys.readouterr().err
    assert run_command(["compare", file, str(folder), "--unseen-by", "common"]) == 1
    assert f"{file} cannot be split by common: it must be a run folder on both sides" in capsys.readouterr().err


def test_tables_in_different_groups_are_not_compared(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, more in (("own", []), ("other", ["--unseen-by", "imagenet1k"])):
        file = str(tmp_path / f"{name}.csv")
        assert run_command(["leaderboard", str(folder), "--no-intervals", "--csv", file, *more]) == 0
    own, other = (str(tmp_path / f"{name}.csv") for name in ("own", "other"))
    capsys.readouterr()
    for base, current in ((own, other), (str(folder), other)):
        assert run_command(["compare", base, current]) == 1
        error = capsys.readouterr().err
        assert f"split by shapes-seen/0 (8 unseen categories) in {base} and by imagenet1k (16" in error
    assert run_command(["compare", own, str(folder)]) == 0


def test_folds_are_not_averaged_in_the_groups_of_one_label_set(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["leaderboard", str(folder), "--folds", "--unseen-by", "imagenet1k"]) == 2
    assert "both folds have the same groups" in capsys.readouterr().err
