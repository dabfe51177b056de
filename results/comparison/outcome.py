"""Outcome of a comparison: the status of each row, as a Markdown table, JUnit XML and lines of text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ltrp_bench.results.comparison.paired import Change
from ltrp_bench.results.leaderboard.aggregate import VALUES

RowKey = tuple[str, str, float, str]
"""(task, reduction, keep ratio, selector) of a row."""

Status = Literal["ok", "better", "worse", "missing", "new", "not compared"]


@dataclass(frozen=True)
class RowComparison:
    """Comparison of one row.

    Attributes:
        status: "ok", "better", "worse", "missing", "new" or "not compared".
        key: key of the row; names that stand for several tasks or selectors have ids.
        base, current: values of the row on both sides; empty where it is missing.
        note: reason for the status.
        changes: group -> change, by the paired test; None if the tolerance was used.
    """

    status: Status
    key: RowKey
    base: dict[str, float]
    current: dict[str, float]
    note: str = ""
    changes: Mapping[str, Change] | None = None

    @property
    def comparable(self) -> bool:
        """True if the row is complete on both sides."""
        return self.status in ("ok", "better", "worse")

    @property
    def regression(self) -> bool:
        """True if the row fails the comparison."""
        return self.status in ("worse", "missing")

    def line(self) -> str:
        """Text for a terminal: the row, its status and the reason."""
        task, reduction, ratio, selector = self.key
        return f"{task} ({reduction}) {selector} at keep ratio {ratio:g}: {self.status}, {self.note}"


@dataclass(frozen=True)
class Comparison:
    """All rows of a comparison, regressions first.

    Attributes:
        rows: the rows.
        tolerance: accepted decrease of a value, where no paired test was made.
        unseen_by: label set that both sides are split by; "" if each has the split that it was made with.
    """

    rows: tuple[RowComparison, ...]
    tolerance: float
    unseen_by: str = ""

    @property
    def regressions(self) -> tuple[RowComparison, ...]:
        """Rows that got worse or are missing."""
        return tuple(row for row in self.rows if row.regression)

    def outcome(self) -> str:
        """One sentence: the number of regressions and of rows, and how they were tested."""
        count = len(self.regressions)
        found = f"{count} regression{'s' if count != 1 else ''}" if count else "No regression"
        tested = sum(row.changes is not None for row in self.rows)
        methods = [f"{tested} by a paired bootstrap test, Holm-corrected"] if tested else []
        methods += [f"{len(self.rows) - tested} by tolerance {self.tolerance:g}"] if tested < len(self.rows) else []
        split = f"; unseen by {self.unseen_by}" if self.unseen_by else ""
        return f"{found} in {len(self.rows)} rows ({', '.join(methods) or 'none'}){split}."

    def markdown(self) -> str:
        """Markdown text for a CI summary: one sentence and a table."""
        found, _, rest = self.outcome().partition(" in ")
        head = ("status", "task", "reduction", "keep ratio", "selector", *VALUES, "note")
        lines = [
            f"{f'**{found}**' if self.regressions else found} in {rest}",
            "",
            "| " + " | ".join(head) + " |",
            "|" + "|".join("---" for _ in head) + "|",
        ]
        for row in self.rows:
            task, reduction, ratio, selector = row.key
            values = [_change(row.base.get(name, math.nan), row.current.get(name, math.nan)) for name in VALUES]
            entries = [row.status, task, reduction, f"{ratio:g}", selector, *values, row.note]
            lines.append("| " + " | ".join(entry.replace("|", "\\|") for entry in entries) + " |")
        return "\n".join(lines) + "\n"

    def _repr_markdown_(self) -> str:
        """The table in a notebook."""
        return self.markdown()

    def junit(self) -> bytes:
        """JUnit XML with one test case per row; regressions fail, and rows that were not compared are skipped."""
        from junitparser import Failure, JUnitXml, Skipped, TestCase, TestSuite

        suite = TestSuite("ltrp-bench compare")
        for row in self.rows:
            task, reduction, ratio, selector = row.key
            case = TestCase(f"{selector} at keep ratio {ratio:g}", classname=f"{task}.{reduction}", time=0.0)
            if row.regression:
                case.result = [Failure(f"{row.status}: {row.note}", row.status)]
            elif row.status == "not compared":
                case.result = [Skipped(row.note)]
            suite.add_testcase(case)
        document = JUnitXml()
        document.add_testsuite(suite)
        return bytes(document.tostring())


def _change(was: float, now: float) -> str:
    before = "-" if math.isnan(was) else f"{was:.4f}"
    after = "-" if math.isnan(now) else f"{now:.4f}"
    if math.isnan(was) or math.isnan(now):
        return before if before == after else f"{before} → {after}"
    return f"{before} → {after} ({now - was:+.4f})"
