"""What became of each mutant: killed, survived, or harmless by a rule or by the list of accepted survivors."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # comes with pytest

ENOUGH = 0.9
"""Share of a module's mutants that the tests have to notice."""

Verdict = Literal["killed", "timeout", "survived", "no tests"]


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One mutant and its fate.

    Attributes:
        function: "rank_patches" or "PatchSelection.mask".
        change: the removed and added lines of its diff, with "-" and "+".
        verdict: a time limit counts as killed.
    """

    function: str
    change: str
    verdict: Verdict

    @property
    def survived(self) -> bool:
        return self.verdict in ("survived", "no tests")


def verdict(code: int | None) -> Verdict | None:
    """What mutmut's exit code of a mutant's tests means; None where they did not run yet."""
    if code is None:
        return None
    # SIGXCPU and SIGKILL end a process at its limit of CPU time.
    known: dict[int, Verdict] = {0: "survived", 5: "no tests", 33: "no tests", 36: "timeout"}
    known |= dict.fromkeys((-24, 24, 152, -9), "timeout")
    return known.get(code, "killed")


def function_of(mutant: str) -> str:
    """ "Class.method" or "function" of mutmut's name of a mutant."""
    name = mutant.rpartition(".")[2].partition("__mutmut_")[0]
    return ".".join(name[2:].split("ǁ")) if name.startswith("xǁ") else name.removeprefix("x_")


def changed_lines(diff: str) -> str:
    """The removed and added lines of a unified diff."""
    lines = [line for line in diff.splitlines() if line[:1] in ("-", "+") and line[:3] not in ("---", "+++")]
    return "\n".join(lines)


def _swap(pattern: str, replacement: str = "") -> Callable[[str, str], bool]:
    """Rule: both sides are the same once what the pattern matches is replaced."""
    compiled = re.compile(pattern)
    return lambda before, after: compiled.sub(replacement, before) == compiled.sub(replacement, after)


RULES: dict[str, Callable[[str, str], bool]] = {
    "`zip(strict=...)`: both sides have one length by construction": _swap(r"strict=\w+"),
    "`encoding=...`: names of codecs ignore case, and the tests' locale is UTF-8": _swap(r"encoding=[^,)]+"),
}
"""Kinds of mutants that no test can notice, by what they change. They do not count."""


def rule(change: str) -> str | None:
    """The rule by which a mutant is harmless, if there is one."""
    sides = ["\n".join(x[1:] for x in change.splitlines() if x[0] == sign) for sign in "-+"]
    return next((name for name, harmless in RULES.items() if harmless(*sides)), None)


@dataclass(frozen=True)
class Score:
    """Outcome of one module."""

    module: str
    mutants: Sequence[Mutant]

    def count(self, *verdicts: Verdict) -> int:
        """Number of mutants with one of these verdicts, without those that are harmless by a rule."""
        return sum(one.verdict in verdicts for one in self.counted)

    @property
    def counted(self) -> list[Mutant]:
        """All mutants but survivors that are harmless by a rule."""
        return [one for one in self.mutants if not (one.survived and rule(one.change))]

    @property
    def survivors(self) -> list[Mutant]:
        return [one for one in self.counted if one.survived]

    @property
    def score(self) -> float:
        """Share of the mutants that the tests noticed."""
        return self.count("killed", "timeout") / len(self.counted) if self.counted else 1.0


COLUMNS = ("module", "mutants", "killed", "timeouts", "survived", "no tests", "by rule", "score")


def cells(score: Score) -> list[str]:
    """The row of a module."""
    numbers = [len(score.counted), *(score.count(one) for one in ("killed", "timeout", "survived", "no tests"))]
    harmless = len(score.mutants) - len(score.counted)
    return [score.module, *map(str, numbers), str(harmless), f"{100 * score.score:.1f}"]


def table(scores: Iterable[Score]) -> str:
    """Markdown table, a row a module."""
    rows = [list(COLUMNS), ["---", *["---:"] * (len(COLUMNS) - 1)], *map(cells, scores)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


@dataclass(frozen=True)
class Accepted:
    """A survivor that is known to be harmless."""

    module: str
    function: str
    change: str
    reason: str


def read_accepted(file: Path) -> list[Accepted]:
    """The list of accepted survivors; each entry needs a reason."""
    entries = tomllib.loads(file.read_text(encoding="utf-8")).get("survivor", [])
    found = [Accepted(**{**entry, "change": entry["change"].strip("\n")}) for entry in entries]
    if unexplained := [one.function for one in found if not one.reason.strip()]:
        raise SystemExit(f"{file}: no reason for the survivors of {', '.join(unexplained)}")
    return found


def is_accepted(module: str, mutant: Mutant, accepted: Iterable[Accepted]) -> bool:
    key = (module, mutant.function, normal(mutant.change))
    return any((one.module, one.function, normal(one.change)) == key for one in accepted)


def normal(change: str) -> str:
    """Changed lines without their indentation."""
    return "\n".join(line[0] + line[1:].strip() for line in change.splitlines() if line.strip())


def report(score: Score, accepted: list[Accepted]) -> str:
    """The survivors of a module as text: those that are not accepted first."""
    listed = {True: "accepted", False: "NOT LISTED in survivors.toml"}
    parts = sorted((is_accepted(score.module, one, accepted), one.function, one.change) for one in score.survivors)
    return "".join(f"{score.module}: {name} ({listed[known]})\n{change}\n\n" for known, name, change in parts)


def faults(score: Score, accepted: list[Accepted]) -> list[str]:
    """Why the module fails, in lines; empty where it passes."""
    found = []
    if score.score < ENOUGH:
        found.append(f"{score.module}: {100 * score.score:.1f} % of the mutants noticed, {100 * ENOUGH:.0f} % needed")
    if new := [one for one in score.survivors if not is_accepted(score.module, one, accepted)]:
        found.append(f"{score.module}: survivors that are not listed: {len(new)}")
    return found


def stale(scores: list[Score], accepted: list[Accepted]) -> list[str]:
    """Entries of survivors.toml that no longer survive."""
    measured = {score.module: score.survivors for score in scores}
    return [
        f"{one.module}: an accepted survivor of {one.function} no longer survives; remove it from survivors.toml"
        for one in accepted
        if one.module in measured and not any(is_accepted(one.module, m, [one]) for m in measured[one.module])
    ]
