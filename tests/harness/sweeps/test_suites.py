"""Suites that ship with the package are valid sweeps."""

from __future__ import annotations

from pathlib import Path

import pytest

from ltrp_bench.harness.sweeps.suites import find_document, suite_names, suite_title
from ltrp_bench.harness.sweeps.sweep import read_sweep
from ltrp_bench.selectors.errors import UsageError


@pytest.mark.parametrize("name", suite_names())
def test_a_suite_has_a_title_and_names_what_there_is(name: str) -> None:
    sweep = read_sweep(name)
    selectors, tasks = sweep.choose((), (), ())
    assert selectors and tasks and suite_title(name).endswith(".")
    sweep.check_options()


def test_files_come_before_suites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_document("shapes/quick").name == "shapes/quick"
    (tmp_path / "shapes").mkdir()
    (tmp_path / "shapes" / "quick").write_text("selectors: [center]\n")
    assert find_document("shapes/quick").data == {"selectors": ["center"]}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("shapes/quik", "no file or suite 'shapes/quik'; did you mean 'shapes/quick'?"),
        ("sweep.yml", "--config sweep.yml: no such file"),
    ],
)
def test_what_is_not_there_is_one_line(given: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_document(given)
    assert str(caught.value).startswith(message)
