"""Outcome of a comparison: the Markdown table, JUnit XML and lines of text, of rows made by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from ltrp_bench.results.comparison.outcome import Comparison, RowComparison, Status
from ltrp_bench.results.comparison.paired import Change

BASE = {"all": 0.5, "seen": 0.6, "unseen": 0.4, "gap": 0.2}
FELL = {**BASE, "all": 0.4, "unseen": math.nan, "gap": math.nan}
UNDEFINED = dict.fromkeys(BASE, math.nan)
CHANGE = Change(-0.1, -0.12, -0.08, 0.001, 1.0)

WORSE = RowComparison("worse", ("shapes|x", "none", 0.25, "ltrp"), BASE, FELL, "all fell by 0.1")
MISSING = RowComparison("missing", ("coco", "evit", 1.0, "random"), BASE, {}, "not in the current results")
FINE = RowComparison("ok", ("coco", "evit", 0.5, "ltrp"), BASE, BASE, changes=dict.fromkeys(("all", "seen"), CHANGE))
UNMEASURED = RowComparison("not compared", ("coco", "none", 0.5, "ltrp"), UNDEFINED, BASE, "nothing was measured")

HEAD = """\
| status | task | reduction | keep ratio | selector | all | seen | unseen | gap | note |
|---|---|---|---|---|---|---|---|---|---|
"""


def test_the_markdown_table() -> None:
    text = Comparison((WORSE, MISSING, FINE, UNMEASURED), 0.005).markdown()
    equal = "0.5000 → 0.5000 (+0.0000) | 0.6000 → 0.6000 (+0.0000) | 0.4000 → 0.4000 (+0.0000) | 0.2000 → 0.2000"
    values = "0.5000 → 0.4000 (-0.1000) | 0.6000 → 0.6000 (+0.0000) | 0.4000 → - | 0.2000 → -"
    assert text == (
        "**2 regressions** in 4 rows (1 by a paired bootstrap test, Holm-corrected, 3 by tolerance 0.005).\n\n"
        + HEAD
        + f"| worse | shapes\\|x | none | 0.25 | ltrp | {values} | all fell by 0.1 |\n"
        + "| missing | coco | evit | 1 | random | 0.5000 → - | 0.6000 → - | 0.4000 → - | 0.2000 → - "
        + "| not in the current results |\n"
        + f"| ok | coco | evit | 0.5 | ltrp | {equal} (+0.0000) |  |\n"
        + "| not compared | coco | none | 0.5 | ltrp | - → 0.5000 | - → 0.6000 | - → 0.4000 | - → 0.2000 "
        + "| nothing was measured |\n"
    )


@pytest.mark.parametrize(
    ("rows", "first"),
    [
        ((), "No regression in 0 rows (none)."),
        ((UNMEASURED,), "No regression in 1 rows (1 by tolerance 0.01)."),
        ((FINE,), "No regression in 1 rows (1 by a paired bootstrap test, Holm-corrected)."),
        (
            (WORSE, FINE),
            "**1 regression** in 2 rows (1 by a paired bootstrap test, Holm-corrected, 1 by tolerance 0.01).",
        ),
    ],
)
def test_the_first_line_counts_regressions_and_tests(rows: tuple[RowComparison, ...], first: str) -> None:
    comparison = Comparison(rows, 0.01)
    assert comparison.markdown().partition("\n")[0] == first
    split = replace(comparison, unseen_by="common").markdown().partition("\n")[0]
    assert split == first.removesuffix(".") + "; unseen by common."


def test_values_that_a_side_lacks_are_dashes() -> None:
    row = RowComparison("new", ("coco", "none", 0.5, "ltrp"), {}, {"all": 0.25}, "not in the base")
    last = Comparison((row,), 0.005).markdown().splitlines()[-1]
    assert last == "| new | coco | none | 0.5 | ltrp | - → 0.2500 | - | - | - | not in the base |"


def test_junit_fails_regressions_and_skips_what_was_not_compared() -> None:
    root = ElementTree.fromstring(Comparison((WORSE, MISSING, FINE, UNMEASURED), 0.005).junit())
    (suite,) = root.findall("testsuite")
    assert [suite.get(name) for name in ("name", "tests", "failures", "skipped", "errors")] == [
        *("ltrp-bench compare", "4", "2", "1", "0")
    ]
    cases = [(one.get("classname"), one.get("name"), float(one.get("time", "nan"))) for one in suite]
    assert cases == [
        ("shapes|x.none", "ltrp at keep ratio 0.25", 0.0),
        ("coco.evit", "random at keep ratio 1", 0.0),
        ("coco.evit", "ltrp at keep ratio 0.5", 0.0),
        ("coco.none", "ltrp at keep ratio 0.5", 0.0),
    ]
    results = [[(one.tag, one.get("type"), one.get("message")) for one in case] for case in suite]
    assert results == [
        [("failure", "worse", "worse: all fell by 0.1")],
        [("failure", "missing", "missing: not in the current results")],
        [],
        [("skipped", None, "nothing was measured")],
    ]


@pytest.mark.parametrize(
    ("status", "comparable", "regression"),
    [
        ("ok", True, False),
        ("better", True, False),
        ("worse", True, True),
        ("missing", False, True),
        ("new", False, False),
        ("not compared", False, False),
    ],
)
def test_statuses(status: Status, comparable: bool, regression: bool) -> None:
    row = replace(FINE, status=status)
    assert (row.comparable, row.regression) == (comparable, regression)
    assert Comparison((FINE, row), 0.005).regressions == ((row,) if regression else ())


def test_lines_for_a_terminal() -> None:
    assert WORSE.line() == "shapes|x (none) ltrp at keep ratio 0.25: worse, all fell by 0.1"
    assert MISSING.line() == "coco (evit) random at keep ratio 1: missing, not in the current results"
