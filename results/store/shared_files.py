"""Files of a run folder as they are shared with others: without paths and names of this machine."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ltrp_bench.results.schema.record import CellRecord, ResultsError
from ltrp_bench.results.schema.redaction import Redaction, is_private_path
from ltrp_bench.results.store.labels import Labels
from ltrp_bench.results.store.run_store import provenance_bytes


def shared_bytes(path: Path, redaction: Redaction | None) -> bytes:
    """Content of a file of a run folder as it is shared; with a redaction, damaged provenance becomes empty."""
    data = path.read_bytes()
    if redaction is None or path.parent.name != "provenance":
        return data
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = {}
    return provenance_bytes(redaction.provenance(found if isinstance(found, dict) else {}))


def redacted_labels(labels: Labels, redaction: Redaction) -> Labels:
    """Labels to be shared."""
    tables = (labels.selectors, labels.tasks, labels.models, labels.weights)
    return Labels(*({key: redaction.text(label) for key, label in own.items()} for own in tables))


def check_private(record: CellRecord, images: Iterable[str]) -> None:
    """Raise ResultsError if an image's id, or what the fingerprint is made of, has a path of this machine."""
    for what, info in (("selector", record.selector), ("task", record.task)):
        for key, text in _texts_of(info.identity.value):
            if is_private_path(text):
                raise ResultsError(
                    f"{key} of the {what} {info.name} is a path of this machine, and part of the fingerprint of cell "
                    f"{record.short_fingerprint}; give a name instead and run again, or export --with-paths"
                )
    if found := next(filter(is_private_path, (*images, *record.skipped)), None):
        raise ResultsError(
            f"the ids of images of {record.task.name} are paths of this machine ({found}); export --with-paths, or let "
            "the task give paths within its data set"
        )


def _texts_of(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Strings of plain JSON, each with its key."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from _texts_of(one, str(name))
    elif isinstance(value, list):
        for one in value:
            yield from _texts_of(one, key)
