"""Archives of several labs: each check that leaves one out, and what is taken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ltrp_bench.results.report.submissions import Rules, gather
from ltrp_bench.results.store.archive import export
from ltrp_bench.results.store.run_store import RunStore

RULES = Rules(splits={"5p1i7"}, version="0.2.0")
TASK = {"split": "5p1i7", "data": "abc123"}


def lab(world: Any, out: Path, *cells: tuple[str, float], version: str | None = "0.1.0", **task: Any) -> Path:
    """An archive with cells of these selectors and skills."""
    for name, skill in cells:
        record = world.cell(name, 0.25, skill, **{**TASK, **task})
        path = world.store.provenance_path(record.fingerprint)
        path.write_text(json.dumps({"versions": {"ltrp-bench": version} if version else {}}))
    export(world.store.root, out)
    return out


def test_cells_of_two_labs(world: Any, other_world: Any, tmp_path: Path) -> None:
    """The second has one cell of its own and one that differs by 0.25 * 0.001, which is rounding."""
    first = lab(world, tmp_path / "first.zip", ("ltrp", 0.6), ("evit", 0.5))
    second = lab(other_world, tmp_path / "second.zip", ("ltrp", 0.601), ("tome", 0.5))
    one, two = gather([first, second], tmp_path / "all", RULES)
    assert (one.name, len(one.cells), one.replicates, one.reason) == ("first", 2, (), "")
    assert (two.name, len(two.cells), len(two.replicates), two.reason) == ("second", 2, 1, "")
    assert {record.selector.name for record in RunStore(tmp_path / "all").read_cells()} == {"ltrp", "evit", "tome"}


def test_contradicting_numbers_are_named(world: Any, other_world: Any, tmp_path: Path) -> None:
    first = lab(world, tmp_path / "first.zip", ("ltrp", 0.6))
    second = lab(other_world, tmp_path / "second.zip", ("ltrp", 0.9), ("tome", 0.5))
    one, two = gather([first, second], tmp_path / "all", RULES)
    assert one.reason == "" and two.cells == ()
    assert "(ltrp on shapes-coverage) has the same fingerprint as one of an archive before it, but other" in two.reason
    assert "coverage of all is 0.3" in two.reason and str(tmp_path) not in two.reason
    assert len(RunStore(tmp_path / "all").read_cells()) == 1


@pytest.mark.parametrize(
    ("options", "rules", "reason"),
    [
        ({"split": "another"}, RULES, "split: that of cell"),
        ({}, Rules(splits={"5p1i7"}, version="0.2.0", data={"shapes-coverage": "abd"}), "has revision abc123"),
        ({"version": "0.10.0"}, RULES, "was made by ltrp-bench 0.10.0, this site reads up to 0.2.0"),
        ({"version": None}, RULES, "does not say which ltrp-bench made it"),
    ],
)
def test_rules(world: Any, tmp_path: Path, options: dict[str, Any], rules: Rules, reason: str) -> None:
    archive = lab(world, tmp_path / "mine.zip", ("ltrp", 0.6), **options)
    (found,) = gather([archive], tmp_path / "all", rules)
    assert reason in found.reason and not found.cells and not (tmp_path / "all").exists()


def test_the_wanted_revision_passes(world: Any, tmp_path: Path) -> None:
    archive = lab(world, tmp_path / "mine.zip", ("ltrp", 0.6))
    (found,) = gather(
        [archive], tmp_path / "all", Rules(splits={"5p1i7"}, version="0.2", data={"shapes-coverage": "abc1"})
    )
    assert found.reason == "" and len(found.cells) == 1


def test_damaged_files_and_equal_names(world: Any, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.zip").write_bytes(b"no archive")
    found = gather(
        [tmp_path / "one" / "a.zip", tmp_path / "two" / "a.zip", tmp_path / "none.zip"], tmp_path / "all", RULES
    )
    assert [one.name for one in found] == ["one/a", "two/a", "none"]
    assert all("not an archive of results" in one.reason for one in found[:2]) and "does not exist" in found[2].reason
