"""Crossover over folds. The two folds of a label set swap the seen and the unseen categories.

One half of the categories may be easier than the other, and then a gap (seen - unseen) shows this rather than bias.
Averaged over both folds, every category counts once as seen and once as unseen, and the difference in difficulty
cancels. A selector trained with labels has separate weights for each fold; any other selector has the same in both.
Only complete pairs of folds are averaged.
"""

from __future__ import annotations

import math
import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from ltrp_bench.results.leaderboard.aggregate import LEADING, VALUES, RowKey, aggregate_cells, record_values
from ltrp_bench.results.leaderboard.roles import BUILT_IN_ROLES, SelectorRoles
from ltrp_bench.results.schema.record import CellRecord, Identity, SelectorInfo, TaskInfo

FOLDS: Final = (0, 1)

COLUMNS: Final = (
    *LEADING,
    *(f"{name}_std" for name in VALUES),
    *(f"{name}_{fold}" for fold in FOLDS for name in VALUES),
    "seeds",
    "images",
    "complete",
    "missing",
    "task_id",
    "selector_id",
    "fingerprints",
)
"""Columns of the table and of the CSV, in this order; docs/results.md describes them."""

_FOLDED: Final = re.compile(r"(?P<base>.+)/(?P<fold>[01])")
_LACKS_FOLD: Final = re.compile(r"(?:(?:at \S+: )?lacks fold (?P<fold>[01])(?:; )?)+")
"""What is missing from a row of one fold, or from the area over such rows."""

_TABLE: Final = ("task", "task_id", "reduction", "keep_ratio")


@dataclass(frozen=True)
class _Pair:
    """Both folds of a row. The ids of its key leave out the fold, its split and its weights, so that they match."""

    key: RowKey
    supervision: str
    unpaired: str = ""
    """Reason why this row has no other fold to pair with; empty if it has one."""


@dataclass(frozen=True)
class _Fold:
    """Row of one fold, and the cells behind it by seed."""

    row: Mapping[str, Any]
    records: Mapping[int, CellRecord]


def crossover(
    records: Iterable[CellRecord], metric: str | None = None, roles: SelectorRoles = BUILT_IN_ROLES
) -> pd.DataFrame:
    """Show both folds of every task that has folds side by side, and average them.

    Tasks pair if their identities differ in the fold only, which is read from the label set ("shapes-seen/0").
    Selectors pair if their identities are equal. If their own label set belongs to the fold, the tag of the fold
    ("vit.shapes0", "vit.shapes1") and the weights may differ.

    Args:
        records: finished cells, in any order; cells of tasks without folds are ignored.
        metric: metric to aggregate; None takes the headline metric of each task.
        roles: roles of the selectors.

    Returns:
        A table with `COLUMNS`, one row per (task, reduction, keep ratio, selector) without the fold, sorted by these.
        Values are means over both folds and over seeds; `*_0` and `*_1` are the values of each fold; `*_std` is the
        sample standard deviation over seeds of the average over folds. Rows with `complete` False have no averages, and
        `missing` gives the reason: a fold, seed or keep ratio is missing, or weights trained on one fold were evaluated
        on the other.
    """
    kept = [record for record in records if _task_fold(record.task) is not None]
    tasks = {(r.task.name, r.task.identity.short): r.task for r in kept}
    selectors = {(r.selector.name, r.selector.identity.short): r.selector for r in kept}
    cells = {record.short_fingerprint: record for record in kept}
    pairs: dict[_Pair, dict[int, list[_Fold]]] = defaultdict(lambda: defaultdict(list))
    for row in aggregate_cells(kept, metric, roles).to_dict("records"):
        task = tasks[str(row["task"]), str(row["task_id"])]
        selector = selectors[str(row["selector"]), str(row["selector_id"])]
        pair, fold = _pair(task, selector, str(row["reduction"]), float(row["keep_ratio"]))
        behind = [cells[short] for short in str(row["fingerprints"]).split()]
        pairs[pair][fold].append(_Fold({str(k): v for k, v in row.items()}, {r.seed: r for r in behind}))
    frame = pd.DataFrame([_row(pair, folds) for pair, folds in pairs.items()], columns=list(COLUMNS))
    order = [*_TABLE, "selector", "selector_id"]
    return frame.sort_values(order, kind="stable", ignore_index=True)


def without_other_fold(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """A crossover without the rows that lack a fold, and a line for each task and fold that says how many they are.

    Rows that are incomplete for another reason stay, since this is to be mended rather than to be run.

    Args:
        frame: a crossover with its areas, and the column `task_name`.
    """
    lacks = [_LACKS_FOLD.fullmatch(str(text)) for text in frame["missing"]]
    counts: dict[tuple[str, str], int] = {}
    for found, task, ratio in zip(lacks, frame["task_name"], frame["keep_ratio"], strict=True):
        if found is not None and not math.isnan(ratio):
            key = str(task), found["fold"]
            counts[key] = counts.get(key, 0) + 1
    lines = [
        f"{task}: {count} row{'s' if count > 1 else ''} without fold {fold} left out of the table; "
        f"`ltrp-bench run --task-option fold={fold}` adds it"
        for (task, fold), count in counts.items()
    ]
    return frame[[found is None for found in lacks]].reset_index(drop=True), lines


def _task_fold(task: TaskInfo) -> tuple[str, int] | None:
    """("shapes-seen", 0) for a task with the label set "shapes-seen/0"; None for a task without folds."""
    found = _FOLDED.fullmatch(str(task.identity.value.get("label_set", "")))
    return None if found is None else (found["base"], int(found["fold"]))


def _pair(task: TaskInfo, selector: SelectorInfo, reduction: str, keep_ratio: float) -> tuple[_Pair, int]:
    """Key of the row that a cell belongs to, and the fold of the cell."""
    found = _task_fold(task)
    assert found is not None  # `crossover` ignores other tasks
    base, fold = found
    without_fold = {key: value for key, value in task.identity.value.items() if key not in ("fold", "split")}
    task_id = Identity.of({**without_fold, "label_set": base}).short
    trained = [int(label[-1]) for label in selector.label_sets if label in (f"{base}/{f}" for f in FOLDS)]
    name, selector_id, supervision, unpaired = selector.name, selector.identity.short, selector.supervision_text, ""
    if trained and set(trained) != {fold}:
        unpaired = f"trained on fold {' and '.join(str(f) for f in sorted(set(trained)))}, evaluated on fold {fold}"
    elif trained:
        name, identity = _without_fold(selector, fold)
        selector_id = identity.short
        supervision = "+".join(base if label == f"{base}/{fold}" else label for label in selector.label_sets)
    key = RowKey(task.name, task_id, reduction, keep_ratio, name, selector_id)
    return _Pair(key, supervision, unpaired), fold


def _without_fold(selector: SelectorInfo, fold: int) -> tuple[str, Identity]:
    """Name and identity without fold and weights: "vit.shapes" for "vit.shapes0"; a name without a tag stays."""
    tagged = "." in selector.name and ":" not in selector.name
    name = selector.name.removesuffix(str(fold)) if tagged else selector.name
    value = {key: part for key, part in selector.identity.value.items() if key != "weights"}
    options = value.get("options")
    if isinstance(options, dict):
        value["options"] = {key: part for key, part in options.items() if key not in ("fold", "weights")}
    return name, Identity.of({**value, "name": name})


def _row(pair: _Pair, folds: Mapping[int, Sequence[_Fold]]) -> dict[str, Any]:
    missing = [pair.unpaired] if pair.unpaired else _missing(folds)
    single = {fold: given[0] for fold, given in folds.items() if len(given) == 1}
    some = next(iter(folds.values()))[0].row
    row: dict[str, Any] = {
        "task": pair.key.task,
        "reduction": pair.key.reduction,
        "keep_ratio": pair.key.keep_ratio,
        "selector": pair.key.selector,
        "supervision": pair.supervision,
        "metric": some["metric"],
        "seeds": min((int(single[fold].row["seeds"]) if fold in single else 0) for fold in FOLDS),
        "images": min((int(single[fold].row["images"]) if fold in single else 0) for fold in FOLDS),
        "complete": not missing,
        "missing": "; ".join(missing),
        "task_id": pair.key.task_id,
        "selector_id": pair.key.selector_id,
        "fingerprints": " ".join(str(one.row["fingerprints"]) for fold in FOLDS for one in folds.get(fold, ())).strip(),
    }
    for name in VALUES:
        for fold in FOLDS:
            row[f"{name}_{fold}"] = float(single[fold].row[name]) if fold in single else math.nan
        both = [row[f"{name}_{fold}"] for fold in FOLDS]
        row[name] = math.nan if missing else statistics.fmean(both)
        seeds = [] if missing else [_average(single, seed, name) for seed in single[0].records]
        spread = len(seeds) > 1 and not any(math.isnan(value) for value in seeds)
        row[f"{name}_std"] = statistics.stdev(seeds) if spread else math.nan
    return row


def _missing(folds: Mapping[int, Sequence[_Fold]]) -> list[str]:
    """Reasons why a row cannot be averaged; empty for a complete pair."""
    out = []
    for fold in FOLDS:
        given = folds.get(fold, ())
        if not given:
            out.append(f"lacks fold {fold}")
        elif len(given) > 1:
            ids = ", ".join(str(one.row["selector_id"]) for one in given)
            out.append(f"fold {fold} has {len(given)} weights ({ids}): it is unknown which of them to pair")
        elif not given[0].row["complete"]:
            out.append(f"fold {fold} lacks {given[0].row['missing']}")
    if out:
        return out
    first, second = (folds[fold][0].records for fold in FOLDS)
    if lacking := sorted(first.keys() ^ second.keys()):
        out.append("one fold lacks seed " + " ".join(map(str, lacking)))
    elif {r.skipped for r in first.values()} != {r.skipped for r in second.values()}:
        out.append("the folds left out different images")
    return out


def _average(single: Mapping[int, _Fold], seed: int, name: str) -> float:
    """Value of one seed, averaged over the folds."""
    records = [(single[fold].records[seed], str(single[fold].row["metric"])) for fold in FOLDS]
    return statistics.fmean(record_values(record, metric)[name] for record, metric in records)
