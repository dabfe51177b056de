"""What a run folder keeps of a sweep: the file, and labels.

`sweep.yaml` is that of the last run; `sweep.1.yaml`, `sweep.2.yaml`, … are earlier ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from ltrp_bench.harness.evaluation.plan import SelectorEntry, TaskEntry
from ltrp_bench.harness.sweeps.document import dump
from ltrp_bench.results.store.labels import Labels, add_labels
from ltrp_bench.results.store.run_store import RunStore
from ltrp_bench.selectors.errors import UsageError

FILE: Final = "sweep.yaml"


def store_sweep(store: RunStore, tables: Mapping[str, Any]) -> None:
    """Write the sweep of a run to its folder; another one that is there is kept under the next number.

    Args:
        store: the folder.
        tables: as `sweep.effective_tables`.

    Raises:
        ResultsError: the folder cannot be written.
    """
    store.prepare()
    path = store.root / FILE
    text = "# Written by `ltrp-bench run`, which does the same again with --config and this file.\n" + dump(tables)
    data = text.encode()
    if path.exists():
        earlier = path.read_bytes()
        if earlier == data:
            return
        kept = _numbered(store.root)
        # Equal only if a process was killed between both writes.
        if not kept or kept[-1].read_bytes() != earlier:
            store.write(store.root / f"sweep.{len(kept) + 1}.yaml", earlier)
    store.write(path, data)


def store_labels(store: RunStore, pairs: Iterable[tuple[SelectorEntry, TaskEntry]]) -> None:
    """Add the labels of a sweep's selectors and tasks to its folder, for tables and figures.

    A selector without one gets its name with the backbone that was chosen for it, if one was. The names of the tasks'
    models and of the files of weights are kept as well, since identities hold hashes of them.

    Raises:
        UsageError: two labels for what turns out to be the same selector or task.
    """
    found: dict[str, dict[str, str]] = {"selector": {}, "task": {}}
    entries: list[tuple[str, SelectorEntry | TaskEntry]] = []
    backbones: dict[str, str] = {}
    models: dict[str, str] = {}
    weights: dict[str, str] = {}
    for selector, task in pairs:
        entries += [("selector", selector), ("task", task)]
        if selector.recipe is not None and selector.recipe.shown is not None:
            backbones[selector.info.identity.short] = selector.recipe.shown
        if selector.recipe is not None and selector.recipe.weights_file is not None:
            weights[selector.info.identity.short] = selector.recipe.weights_file
        if task.recipe is not None and task.recipe.model is not None:
            models[task.info.identity.short] = task.recipe.model
    for kind, entry in entries:
        if entry.recipe is None or entry.recipe.label is None:
            continue
        known = found[kind].setdefault(entry.info.identity.short, entry.recipe.label)
        if known != entry.recipe.label:
            raise UsageError(
                f"{known!r} and {entry.recipe.label!r} are the same {kind}, {entry.info.name} with equal options: "
                "leave one of them out"
            )
    if any(found.values()):
        add_labels(store, Labels(found["selector"], found["task"]))
    if backbones or models or weights:
        # A label that the user gave in an earlier run stays.
        add_labels(store, Labels(backbones, models=models, weights=weights), keep=True)


def _numbered(root: Path) -> list[Path]:
    """Earlier sweeps in their order."""
    found: list[Path] = []
    while (path := root / f"sweep.{len(found) + 1}.yaml").exists():
        found.append(path)
    return found
