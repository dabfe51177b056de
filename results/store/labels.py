"""Labels: names that the user gave selectors and tasks of a run folder, for tables and figures.

    labels.json      {"selectors": {id: label}, "tasks": {id: label}, "models": {id: name}, "weights": {id: file}}

`models` are the names of the tasks' models, and `weights` the names of the files of selectors' weights, where the user
gave them: identities hold hashes. Either may be absent.

Ids are the first 8 hex digits of identities, as in the leaderboard. Labels are no part of any result.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ltrp_bench.results.schema.atomic_io import exclusive
from ltrp_bench.results.schema.damage import damaged
from ltrp_bench.results.schema.record import CellRecord, ResultsError
from ltrp_bench.results.store.run_store import RunStore

FILE: Final = "labels.json"


@dataclass(frozen=True)
class Labels:
    """Labels by id.

    Attributes:
        selectors, tasks: id -> label.
        models: id of a task -> name of its model.
        weights: id of a selector -> name of the file of its weights, without its folder.
    """

    selectors: Mapping[str, str] = field(default_factory=dict)
    tasks: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)

    def updated(self, newer: Labels) -> Labels:
        """These labels and newer ones, which win."""
        return Labels(
            {**self.selectors, **newer.selectors},
            {**self.tasks, **newer.tasks},
            {**self.models, **newer.models},
            {**self.weights, **newer.weights},
        )

    def of(self, records: Iterable[CellRecord]) -> Labels:
        """Labels of the selectors and tasks of some cells."""
        selectors, tasks = set(), set()
        for record in records:
            selectors.add(record.selector.identity.short)
            tasks.add(record.task.identity.short)
        return Labels(
            _among(self.selectors, selectors),
            _among(self.tasks, tasks),
            _among(self.models, tasks),
            _among(self.weights, selectors),
        )

    def to_json(self) -> bytes:
        """Content of the file."""
        content = {"selectors": dict(self.selectors), "tasks": dict(self.tasks)}
        content |= {name: dict(own) for name, own in (("models", self.models), ("weights", self.weights)) if own}
        return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def read_labels(root: Path) -> Labels:
    """Labels of a run folder; none if it has no such file. Raises ResultsError if the file is damaged."""
    path = root / FILE
    if not path.exists():
        return Labels()
    with damaged(lambda error: ResultsError(f"{path} is damaged ({type(error).__name__}); delete it")):
        content = json.loads(path.read_text(encoding="utf-8"))
        others = (_texts(content.get(name, {})) for name in ("models", "weights"))
        return Labels(_texts(content["selectors"]), _texts(content["tasks"]), *others)


def add_labels(store: RunStore, new: Labels, *, keep: bool = False) -> None:
    """Add labels to a run folder.

    Args:
        store: the folder.
        new: the labels.
        keep: True to keep other labels of the same selectors and tasks that are there.
    """
    with exclusive(store.root / "partial" / "labels.lock", wait=True):
        here = read_labels(store.root)
        labels = new.updated(here) if keep else here.updated(new)
        if labels != here:
            store.write(store.root / FILE, labels.to_json())


def _among(table: Mapping[str, str], keys: Collection[str]) -> dict[str, str]:
    return {key: label for key, label in table.items() if key in keys}


def _texts(table: Mapping[Any, Any]) -> dict[str, str]:
    return {str(key): str(label) for key, label in table.items()}
