"""Labels: names that the user gave selectors and tasks of a run folder, for tables and figures.

    labels.json      {"selectors": {id: label}, "tasks": {id: label}}

Ids are the first 8 hex digits of identities, as in the leaderboard. Labels are no part of any result.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
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
    """

    selectors: Mapping[str, str] = field(default_factory=dict)
    tasks: Mapping[str, str] = field(default_factory=dict)

    def updated(self, newer: Labels) -> Labels:
        """These labels and newer ones, which win."""
        return Labels({**self.selectors, **newer.selectors}, {**self.tasks, **newer.tasks})

    def of(self, records: Iterable[CellRecord]) -> Labels:
        """Labels of the selectors and tasks of some cells."""
        selectors, tasks = set(), set()
        for record in records:
            selectors.add(record.selector.identity.short)
            tasks.add(record.task.identity.short)
        return Labels(
            {key: label for key, label in self.selectors.items() if key in selectors},
            {key: label for key, label in self.tasks.items() if key in tasks},
        )

    def to_json(self) -> bytes:
        """Content of the file."""
        content = {"selectors": dict(self.selectors), "tasks": dict(self.tasks)}
        return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def read_labels(root: Path) -> Labels:
    """Labels of a run folder; none if it has no such file. Raises ResultsError if the file is damaged."""
    path = root / FILE
    if not path.exists():
        return Labels()
    with damaged(lambda error: ResultsError(f"{path} is damaged ({type(error).__name__}); delete it")):
        content = json.loads(path.read_text(encoding="utf-8"))
        return Labels(_texts(content["selectors"]), _texts(content["tasks"]))


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


def _texts(table: Mapping[Any, Any]) -> dict[str, str]:
    return {str(key): str(label) for key, label in table.items()}
