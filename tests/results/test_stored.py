"""Results stored by older versions are read, and give the same tables as then."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from ltrp_bench.harness.cli.main import run_command
from ltrp_bench.results.comparison.compare import CompareOptions, compare
from ltrp_bench.results.leaderboard.aggregate import COLUMNS, aggregate_folder
from ltrp_bench.results.leaderboard.build import load_leaderboard
from ltrp_bench.results.leaderboard.csv_files import read_csv
from ltrp_bench.results.schema.record import READABLE_VERSIONS
from ltrp_bench.results.store.run_store import RunStore
from ltrp_bench.tasks.splits import label_sets

STORED = Path(__file__).parent / "stored"
VERSIONS = sorted(path.name for path in STORED.iterdir() if path.is_dir())


def test_every_readable_version_has_a_sample() -> None:
    assert {int(name.removeprefix("v")) for name in VERSIONS} == set(READABLE_VERSIONS)


@pytest.mark.parametrize("version", VERSIONS)
def test_records_rows_and_tables_are_read_unchanged(version: str) -> None:
    store = RunStore(STORED / version)
    records = store.read_cells()
    assert len(records) == 13 and {record.schema_version for record in records} == {int(version[1:])}
    assert all(len(store.read_images(record.fingerprint)) == record.images == 8 for record in records)
    then, now = read_csv(STORED / version / "leaderboard.csv"), aggregate_folder(STORED / version)
    assert tuple(then.columns) == COLUMNS
    pd.testing.assert_frame_equal(then, now, check_exact=True, check_dtype=False)
    assert not compare(
        STORED / version / "leaderboard.csv", STORED / version, CompareOptions(tolerance=0.0)
    ).regressions


@pytest.mark.parametrize("version", VERSIONS)
def test_old_cells_have_no_intervals_and_a_notice_says_so(version: str) -> None:
    notices: list[str] = []
    frame = load_leaderboard(STORED / version, notice=notices.append).frame
    assert len(notices) == 3 and notices[0].startswith("13 of 13 cells have no resampling summary")
    assert notices[1] == "no adjusted gap on shapes-det: the control variance was not measured"
    assert notices[2].startswith("shapes-det (fill): no retention") and notices[2].endswith("repeat the run to add it")
    assert frame["all"].notna().all() and frame["all_low"].isna().all() and frame["rank"].isna().all()


@pytest.mark.parametrize("version", VERSIONS)
def test_old_cells_say_how_they_are_split_and_who_is_exposed(version: str) -> None:
    frame = load_leaderboard(STORED / version, label_sets=label_sets).frame
    assert set(frame["split_by"]) == {"shapes-seen/0"} and set(frame["exposure"]) == {"none"}
    assert set(frame["seen_categories"]) == set(frame["unseen_categories"]) == {8}
    row = frame[(frame["task"] == "shapes-coverage") & (frame["selector"] == "variance")].iloc[0]
    assert (row["unseen_measured"], row["unseen_objects"]) == (7, 12)


def test_running_again_adds_resampling_summaries_and_measures_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for part in ("cells", "records"):
        shutil.copytree(STORED / "v1" / part, tmp_path / part)
    line = ["run", "--out", str(tmp_path), "--task", "shapes-coverage", "--limit", "8", "--device", "cpu"]
    own = ["--selector", "random", "--selector", "variance", "--selector", "center"]  # the oracle is another since
    assert run_command([*line, *own, "--seed", "0", "--seed", "1", "--keep-ratio", "0.25", "--keep-ratio", "0.5"]) == 0
    assert "8 cells, 0 images evaluated now" in capsys.readouterr().err
    frame = load_leaderboard(tmp_path).frame
    known = frame[frame["selector"].isin(["random", "variance", "center"]) & (frame["task"] != "shapes-det")]
    assert len(known) == 3 * 3 and known["all_low"].notna().all()
