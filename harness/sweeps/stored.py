"""The sweep of a run folder: `sweep.yaml` is that of the last run, `sweep.1.yaml` and on are earlier others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ltrp_bench.harness.sweeps.document import dump
from ltrp_bench.results.store.run_store import RunStore

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


def _numbered(root: Path) -> list[Path]:
    """Earlier sweeps in their order."""
    found: list[Path] = []
    while (path := root / f"sweep.{len(found) + 1}.yaml").exists():
        found.append(path)
    return found
