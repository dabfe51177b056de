"""Notices before a run about selectors whose labels reach into the categories that a task's split calls unseen."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ltrp_bench.harness.evaluation.plan import CellGroup, TaskEntry
from ltrp_bench.tasks.splits.label_sets import LABEL_SETS, category_states

_NAMES_SHOWN: Final = 3


@dataclass(frozen=True)
class _Exposure:
    """What the label sets of a selector show of the unseen categories of a split.

    Attributes:
        split: label set of the split.
        unseen: number of unseen categories.
        exposed: those of them that the label sets contain, in the order of the split.
        in_part: number of exposed categories that are narrow: no label set contains more than a part of them.
        contained: label set -> number of unseen categories that it contains, where known.
        left: number of categories that none of the known label sets contains.
        open: open label sets.
        unknown: label sets whose content is not known here.
    """

    split: str
    unseen: int
    exposed: tuple[str, ...]
    in_part: int
    contained: tuple[tuple[str, int], ...]
    left: int
    open: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def any(self) -> bool:
        """True if there is something to say."""
        return bool(self.exposed or self.open or self.unknown)


def exposure_notices(groups: Sequence[CellGroup]) -> list[str]:
    """One line for each selector and split that its labels reach beyond; tasks of the same split share a line.

    Args:
        groups: the plan of a run.
    """
    tasks: dict[tuple[str, tuple[str, ...], _Exposure], list[str]] = {}
    pairs = {(id(group.selector), id(group.task)): (group.selector, group.task) for group in groups}
    for selector, task in pairs.values():
        exposure = _exposure(selector.info.label_sets, task)
        if exposure is not None and exposure.any:
            tasks.setdefault((selector.name, selector.info.label_sets, exposure), []).append(task.info.name)
    return [_line(name, label_sets, found, names) for (name, label_sets, found), names in tasks.items()]


def _exposure(label_sets: Iterable[str], task: TaskEntry) -> _Exposure | None:
    """Exposure of label sets to a task's unseen categories; None if the task has none."""
    split = task.task.split
    if split is None:
        return None
    narrow_as = task.info.identity.value.get("narrow_as", "seen")
    unseen_group = split.groups(narrow_as)["unseen"]
    unseen = [name for name in split.states if name in unseen_group]
    if not unseen:
        return None
    # Where narrow categories count as unseen, a selector that was shown a part of one is not exposed to it.
    counted = ("seen", "narrow") if narrow_as == "seen" else ("seen",)
    known: dict[str, Mapping[str, str]] = {}
    is_open, unknown = [], []
    for name in label_sets:
        states = split.states if name == split.label_set else category_states(name, split.states)
        if states is not None:
            known[name] = states
        elif name in LABEL_SETS and LABEL_SETS[name].kind == "open":
            is_open.append(name)
        else:
            unknown.append(name)
    shown = {name: [c for c in unseen if states[c] in counted] for name, states in known.items()}
    exposed = tuple(c for c in unseen if any(c in found for found in shown.values()))
    return _Exposure(
        split=split.label_set,
        unseen=len(unseen),
        exposed=exposed,
        in_part=sum(all(states[c] != "seen" for states in known.values()) for c in exposed),
        contained=tuple((name, len(found)) for name, found in shown.items()),
        left=sum(all(states[c] not in counted for states in known.values()) for c in split.states),
        open=tuple(is_open),
        unknown=tuple(unknown),
    )


def _line(selector: str, label_sets: Sequence[str], found: _Exposure, tasks: Sequence[str]) -> str:
    trained = f"{selector} was trained on {'+'.join(label_sets)}"
    unseen = f"{found.unseen} categories of {', '.join(tasks)} that {found.split}'s split calls unseen"
    reasons = _unknown(found.unknown)
    if found.open:
        reasons.append(f"what {' and '.join(found.open)} showed cannot be known")
    if reasons:
        return (
            f"{trained}: {' and '.join(reasons)}, so it may have been shown the {unseen}; `leaderboard` does "
            "not rank it on these without --count-exposed"
        )
    names = ", ".join(found.exposed[:_NAMES_SHOWN]) + (", …" if len(found.exposed) > _NAMES_SHOWN else "")
    names += f"; {found.in_part} in part" if found.in_part else ""
    widest = max(found.contained, key=lambda pair: pair[1])[0]
    verb = "contains" if len(label_sets) == 1 else "contain"
    advice = (
        f"`leaderboard --unseen-by {widest}` or `--unseen-by common` groups by what it was not shown"
        if found.left
        else "it was shown all categories, so nothing can be said of unseen ones"
    )
    return f"{trained}, which {verb} {len(found.exposed)} of the {unseen} ({names}): {advice}"


def _unknown(names: Sequence[str]) -> list[str]:
    """Clauses about label sets of unknown content, with similar names."""
    clauses = []
    for name in names:
        near = difflib.get_close_matches(name, LABEL_SETS, n=2)
        if name in LABEL_SETS:
            clauses.append(f"there is no split of these categories by {name}")
        else:
            clauses.append(f"{name!r} is no known label set" + (f" (similar: {', '.join(near)})" if near else ""))
    return clauses
