"""Findings of a leaderboard in three sentences: who leads, whose gap is beyond the controls', what cannot be told.

"Beyond chance" means that the 95 % interval of a paired difference does not contain 0: the leader of a table is better
than each of the others in this sense.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from ltrp_bench.results.leaderboard.exposure_text import exposure_mark, few_text
from ltrp_bench.results.leaderboard.intervals import LABEL_FREE, controls_text, missing_controls
from ltrp_bench.results.leaderboard.names import labels, selector_labels
from ltrp_bench.results.leaderboard.roles import BUILT_IN_ROLES, SelectorRoles
from ltrp_bench.results.leaderboard.rows import TABLE, TASK

NAMED: Final = 4
"""Number of selectors that a sentence names."""

NAMED_TASKS: Final = 3
"""Number of tasks that a sentence names; of more, it counts the tables."""

Row = Mapping[str, Any]
Name = Callable[[Row], str]


def findings(rows: Sequence[Row], roles: SelectorRoles = BUILT_IN_ROLES) -> tuple[str, str, str]:
    """Three sentences about a leaderboard.

    Args:
        rows: rows of a leaderboard, of any tasks and metrics; areas under curves and whole images are left out.
        roles: roles of the selectors.
    """
    # At keep ratio 1 nothing is selected.
    board = _Board([row for row in rows if _number(row, "keep_ratio") < 1], roles)
    return board.leaders(), board.gaps(), board.unknown()


class _Board:
    """The tables of a leaderboard; a table is one task, reduction and metric at one keep ratio."""

    def __init__(self, rows: Sequence[Row], roles: SelectorRoles) -> None:
        self.rows, self.roles = rows, roles
        self.tables = _grouped(rows, TABLE)
        self.tasks = _grouped(rows, TASK)
        self.selector = selector_labels(rows)
        self.task = _task_titles(rows)
        self.competitors = [row for row in rows if not roles.is_reference(str(row["selector"]))]

    # -- the first sentence

    def leaders(self) -> str:
        if len({str(row["selector_id"]) for row in self.competitors}) < 2:
            return "Nothing is compared: there are results of fewer than two selectors that are ranked."
        if not self._ranked(""):
            return "Who leads cannot be told: without intervals, any difference may be chance."
        everywhere, unseen = self._led(""), self._led("unseen_")
        text = f"Beyond chance, {everywhere}" if everywhere else "No selector leads beyond chance"
        if unseen:
            return f"{text}; on unseen categories, {unseen}."
        if not self._ranked("unseen_"):
            return f"{text}; no ranks on unseen categories are known."
        if everywhere:
            return f"{text}; on unseen categories, none does."
        return f"{text}, on all categories or on unseen ones: in every table, several may be first."

    def _ranked(self, prefix: str) -> bool:
        return any(not math.isnan(_number(row, f"{prefix}rank")) for row in self.rows)

    def _led(self, prefix: str) -> str:
        """ "a leads on x at keep ratio 0.25; b leads …"; "" if nobody leads anywhere."""
        led: dict[str, list[Row]] = {}
        for table in self.tables:
            for row in table:
                if _number(row, f"{prefix}rank_last") == 1:
                    led.setdefault(self._name(row), []).append(row)
        order = sorted(led, key=lambda name: -len(led[name]))
        place = "in" if len(self.tasks) > NAMED_TASKS else "on"
        parts = [f"{name} leads {place} {self._places(led[name])}" for name in order[:NAMED]]
        others = len(order) - NAMED
        return _listed([*parts, *([f"{_counted(others, 'other')} elsewhere"] if others > 0 else [])])

    def _name(self, row: Row) -> str:
        control = self.roles.role(str(row["selector"])) == "control"
        return f"{self.selector(row)} (a control)" if control else self.selector(row)

    def _places(self, rows: Sequence[Row]) -> str:
        """Text like "coco-det at keep ratios 0.25 and 0.5", or "12 of 20 tables"."""
        if len(self.tasks) > NAMED_TASKS:
            return f"{len(rows)} of {len(self.tables)} tables"
        texts = []
        for own in _grouped(rows, TASK):
            ratios = [f"{ratio:g}" for ratio in sorted({_number(row, "keep_ratio") for row in own})]
            every = len(ratios) == len(self._ratios(own[0])) > 1
            shown = "every keep ratio" if every else f"keep ratio{'s' if len(ratios) > 1 else ''} {_listed(ratios)}"
            texts.append(f"{self.task(own[0])} at {shown}")
        return _listed(texts)

    def _ratios(self, row: Row) -> set[float]:
        """Keep ratios of a row's task."""
        own = (other for other in self.competitors if all(other[name] == row[name] for name in TASK))
        return {_number(other, "keep_ratio") for other in own}

    # -- the second sentence

    def gaps(self) -> str:
        measured = [row for row in self.competitors if str(row["selector"]) not in LABEL_FREE]
        if all(math.isnan(_number(row, "gap")) for row in self.rows):
            reasons = {text for own in self.tasks if (text := few_text(own))}
            return f"No gap is measured: {_listed(sorted(reasons)) or 'no row has a seen and an unseen value'}."
        adjusted = [row for row in measured if not math.isnan(_number(row, "gap_adjusted"))]
        if not adjusted:
            return self._no_adjusted(measured)
        tested = [row for row in adjusted if not math.isnan(_number(row, "gap_adjusted_low"))]
        if not tested:
            return "Whose gap is beyond the controls' cannot be told: without intervals, any difference may be chance."
        larger = [row for row in tested if _number(row, "gap_adjusted_low") > 0]
        smaller = [row for row in tested if _number(row, "gap_adjusted_high") < 0]
        gap = "The gap between seen and unseen categories"
        both = (("larger than", larger), ("smaller than", smaller))
        parts = [f"{word} the controls' for {self._who(own)}" for word, own in both if own]
        if not parts:
            return f"{gap} differs from the controls' ({_listed(LABEL_FREE)}) beyond chance for no selector."
        others = {self.selector(row) for row in tested} - {self.selector(row) for row in (*larger, *smaller)}
        rest = "; for no other selector does it differ from theirs beyond chance" if others else ""
        return f"{gap} is {', and '.join(parts)}{rest}."

    def _who(self, rows: Sequence[Row]) -> str:
        own: dict[str, list[Row]] = {}
        for row in rows:
            own.setdefault(self._name(row), []).append(row)
        order = sorted(own, key=lambda name: -len(own[name]))
        names = [f"{name} ({self._places(own[name])})" for name in order[:NAMED]]
        others = len(order) - NAMED
        return _listed([*names, *([_counted(others, "other")] if others > 0 else [])])

    def _no_adjusted(self, measured: Sequence[Row]) -> str:
        plain = [{**row, "gap": _number(row, "gap")} for row in self.rows]
        if missing := missing_controls(plain):
            return f"No gap can be compared with the controls': {controls_text(missing)} not measured."
        if measured and all(exposure_mark(row) for row in measured):
            return "No gap can be compared with the controls': all other selectors may have been shown what is unseen."
        return "No gap can be compared with the controls'."

    # -- the third sentence

    def unknown(self) -> str:
        clauses = [*self._ties(), *self._without_controls(), *self._exposed(), *self._small(), *self._incomplete()]
        if not clauses:
            return "What these results do not tell: how the selectors do on other data, models and keep ratios."
        return f"What cannot be told: {'; '.join(clauses)}."

    def _ties(self) -> list[str]:
        ranked = [own for table in self.tables if len(own := _with(table, "rank")) > 1]
        if not ranked:
            return ["whether a difference is more than chance"] if len(self.competitors) > 1 else []
        open_tables = [own for own in ranked if all(row["rank_last"] > 1 for row in own)]
        tied = [[row for row in own if row["rank"] == 1] for own in open_tables]
        if not tied:
            return []
        names = list(dict.fromkeys(self._name(row) for own in tied for row in own))
        where = f"in {len(tied)} of {len(ranked)} tables" if len(ranked) > 1 else "here"
        who = _listed(names) if len(names) <= NAMED else f"up to {max(map(len, tied))} selectors"
        return [f"who leads {where}, where {who} may be first"]

    def _without_controls(self) -> list[str]:
        """Tasks that the second sentence leaves out, if it is about others."""
        if all(math.isnan(_number(row, "gap_adjusted")) for row in self.rows):
            return []
        tasks: dict[str, list[str]] = {}
        for own in self.tasks:
            plain = [{**row, "gap": _number(row, "gap")} for row in own]
            missing = missing_controls(plain)
            known = any(not math.isnan(row["gap"]) and str(row["selector"]) not in LABEL_FREE for row in plain)
            if missing and known and all(math.isnan(_number(row, "gap_adjusted")) for row in own):
                tasks.setdefault(controls_text(missing), []).append(self.task(own[0]))
        return [
            f"whose gap is beyond the controls' on {_listed(own) if len(own) <= NAMED_TASKS else f'{len(own)} tasks'}, "
            f"where {text} not measured"
            for text, own in tasks.items()
        ]

    def _exposed(self) -> list[str]:
        marked = [row for row in self.competitors if exposure_mark(row) and math.isnan(_number(row, "unseen_rank"))]
        names = list(dict.fromkeys(self.selector(row) for row in marked))
        if not names:
            return []
        others = len(names) - NAMED
        shown = [*names[:NAMED], *([_counted(others, "other")] if others > 0 else [])]
        do, what, whose = ("do", "them", "their") if len(names) > 1 else ("does", "it", "its")
        reason = f"since {whose} labels contain, or may contain, categories called unseen"
        return [f"how {_listed(shown)} {do} on what is new to {what}, {reason}"]

    def _small(self) -> list[str]:
        few = [own for own in self.tasks if few_text(own) and any(not math.isnan(_number(row, "gap")) for row in own)]
        if not few:
            return []
        which = self.task(few[0][0]) if len(few) == 1 else f"{len(few)} tasks"
        return [f"much about unseen categories on {which}, which {'has' if len(few) == 1 else 'have'} few of them"]

    def _incomplete(self) -> list[str]:
        missing = [row for row in self.rows if not row["complete"]]
        return [f"what {_counted(len(missing), 'incomplete row')} would show"] if missing else []


def _task_titles(rows: Sequence[Row]) -> Name:
    """Name of a row's task, with its reduction and metric where the task has several."""
    name = labels("task", rows)

    def title(row: Row) -> str:
        own = [other for other in rows if name(other) == name(row)]
        parts = [str(row[key]) for key in ("reduction", "metric") if len({other[key] for other in own}) > 1]
        return f"{name(row)} ({', '.join(parts)})" if parts else name(row)

    return title


def _grouped(rows: Iterable[Row], names: Sequence[str]) -> list[list[Row]]:
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(str(row[name]) for name in names), []).append(row)
    return list(groups.values())


def _with(rows: Iterable[Row], name: str) -> list[Row]:
    return [row for row in rows if not math.isnan(_number(row, name))]


def _listed(names: Sequence[str]) -> str:
    """ "a, b and c"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _number(row: Row, name: str) -> float:
    try:
        return float(row.get(name, math.nan))
    except (TypeError, ValueError):
        return math.nan
