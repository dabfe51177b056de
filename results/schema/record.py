"""The record of one finished cell: typed, versioned, immutable, and the same bytes for the same content.

A cell is one (selector, task, keep ratio, seed). Its record says who was measured on what, over how many
images, and every metric value; the per-image rows behind the values lie beside it (see `store.py`).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ltrp_bench.results.schema.rows import MetricRow
from ltrp_bench.selectors.errors import InputError

SCHEMA_VERSION: Final = 1
"""Version of the record's form. A part of every fingerprint, so that a new form never reuses an old cell."""

READABLE_VERSIONS: Final = frozenset({1})

REDUCTIONS: Final = ("fill", "none", "drop")
"""`fill` and `drop` are DESIGN's two tracks; `none` is a task without a model (coverage)."""


class ResultsError(InputError):
    """A stored result that cannot be used, or a result that could not be stored; a one-line message for the user."""


def canonical_json(value: Any) -> str:
    """`value` as JSON that is equal for equal content: sorted keys, no spaces, floats by `repr`.

    Raises:
        ResultsError: if `value` holds NaN, an infinity, or anything that is not plain JSON.
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ResultsError(f"not plain JSON: {error}") from error


def digest(value: Any) -> str:
    """Hex SHA-256 of `canonical_json(value)`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def cell_fingerprint(
    selector: Mapping[str, Any], task: Mapping[str, Any], keep_ratio: float, seed: int, reduction: str
) -> str:
    """Hex SHA-256 of all that makes a cell's result; nothing of device, batch size, workers or paths.

    Args:
        selector: identity of the selector (name, options, hash of its weights), plain JSON.
        task: identity of the task (options, dataset revision, hash of the model's weights), plain JSON.
        keep_ratio: share of the patches kept, 0 < r <= 1.
        seed: seed of the selector and of the tie-breaking.
        reduction: one of `REDUCTIONS`.
    """
    return digest(
        {
            "schema": SCHEMA_VERSION,
            "selector": dict(selector),
            "task": dict(task),
            "keep_ratio": float(keep_ratio),
            "seed": int(seed),
            "reduction": reduction,
        }
    )


@dataclass(frozen=True, slots=True)
class Identity:
    """A plain-JSON mapping that cannot be changed: kept as canonical text, handed out as fresh copies."""

    text: str

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Identity:
        """The identity that `value` holds now. Raises ResultsError unless it is plain JSON."""
        return cls(canonical_json(dict(value)))

    @property
    def value(self) -> dict[str, Any]:
        """A copy of the mapping; changing it changes nothing here."""
        return dict(json.loads(self.text))

    @property
    def short(self) -> str:
        """The first 8 hex digits of the mapping's SHA-256: tells two weights or options of one name apart."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class SelectorInfo:
    """Who ranked the patches.

    Args:
        name: "ltrp".
        supervision: "none", "self" or "labels".
        label_sets: what it was taught with, such as ("imagenet1k",); empty unless `supervision` is "labels".
        stochastic: whether its scores depend on the seed, so that several seeds are several measurements.
        identity: what the fingerprint holds of it.
    """

    name: str
    supervision: str
    label_sets: tuple[str, ...]
    stochastic: bool
    identity: Identity

    @property
    def supervision_text(self) -> str:
        """ "none", "self", or the label sets joined by "+"."""
        return "+".join(self.label_sets) if self.label_sets else self.supervision


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """What was measured: the task's name, its headline metric and what the fingerprint holds of it."""

    name: str
    headline: str
    identity: Identity


@dataclass(frozen=True, slots=True)
class CellRecord:
    """All that a finished cell says. `images` were measured; those in `skipped` were left out as unreadable.

    `records_sha256` is the digest of the per-image rows (see `store.rows_digest`).

    Raises:
        ResultsError: if a value is out of its range or the fingerprint is not that of the content.
    """

    fingerprint: str
    selector: SelectorInfo
    task: TaskInfo
    keep_ratio: float
    seed: int
    reduction: str
    images: int
    skipped: tuple[str, ...]
    metrics: tuple[MetricRow, ...]
    records_sha256: str
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if not 0.0 < self.keep_ratio <= 1.0:
            raise ResultsError(f"keep ratio {self.keep_ratio!r} is not in (0, 1]")
        if self.reduction not in REDUCTIONS:
            raise ResultsError(f"reduction {self.reduction!r} is none of {', '.join(REDUCTIONS)}")
        if self.images < 0:
            raise ResultsError(f"{self.images} images")
        for metric in self.metrics:
            if math.isinf(metric.value):
                raise ResultsError(f"metric {metric.metric!r} of {metric.group!r} is infinite")
        expected = cell_fingerprint(
            self.selector.identity.value, self.task.identity.value, self.keep_ratio, self.seed, self.reduction
        )
        if self.fingerprint != expected:
            raise ResultsError(f"fingerprint {self.fingerprint[:16]} does not belong to the content ({expected[:16]})")

    def value(self, metric: str, group: str) -> float:
        """The value of `metric` over the whole of `group`; NaN if the record has none."""
        for row in self.metrics:
            if row.metric == metric and row.group == group and row.category is None:
                return row.value
        return math.nan

    def to_json(self) -> str:
        """The file's text: the record and the SHA-256 of its canonical form, keys sorted, NaN as null."""
        record = _record_json(self)
        envelope = {"record": record, "sha256": digest(record)}
        return json.dumps(envelope, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str = "the record") -> CellRecord:
        """The exact inverse of `to_json`.

        Args:
            text: what `to_json` gave.
            where: the file's name, for messages.

        Raises:
            ResultsError: if the text is cut short, was altered, or is of a version this release cannot read.
        """
        hint = "delete it and start the run again to measure the cell anew"
        try:
            envelope = json.loads(text)
            record, stored = envelope["record"], envelope["sha256"]
        except (ValueError, KeyError, TypeError) as error:
            raise ResultsError(f"{where} is cut short or no record ({type(error).__name__}); {hint}") from error
        if not isinstance(record, dict) or digest(record) != stored:
            raise ResultsError(f"{where} was altered: its content does not match its checksum; {hint}")
        version = record.get("schema_version")
        if version not in READABLE_VERSIONS:
            readable = ", ".join(str(v) for v in sorted(READABLE_VERSIONS))
            raise ResultsError(f"{where} has schema version {version}; this release reads {readable}")
        try:
            return _record_of(record)
        except (KeyError, TypeError, AttributeError) as error:
            raise ResultsError(f"{where} lacks a field or has a wrong one ({error}); {hint}") from error
        except ResultsError as error:
            raise ResultsError(f"{where}: {error}; {hint}") from error


def metric_rows(rows: Iterable[MetricRow]) -> tuple[MetricRow, ...]:
    """A task's metric rows with values of Python's own types, which NumPy's scalars are not."""
    return tuple(MetricRow(str(row.metric), str(row.group), row.category, float(row.value), int(row.n)) for row in rows)


def _record_json(record: CellRecord) -> dict[str, Any]:
    selector, task = record.selector, record.task
    return {
        "schema_version": record.schema_version,
        "fingerprint": record.fingerprint,
        "selector": {
            "name": selector.name,
            "supervision": {"kind": selector.supervision, "label_sets": list(selector.label_sets)},
            "stochastic": selector.stochastic,
            "identity": selector.identity.value,
        },
        "task": {"name": task.name, "headline": task.headline, "identity": task.identity.value},
        "keep_ratio": record.keep_ratio,
        "seed": record.seed,
        "reduction": record.reduction,
        "images": record.images,
        "skipped": list(record.skipped),
        "metrics": [metric.to_json() for metric in record.metrics],
        "records_sha256": record.records_sha256,
    }


def _record_of(data: dict[str, Any]) -> CellRecord:
    selector, task = data["selector"], data["task"]
    return CellRecord(
        fingerprint=data["fingerprint"],
        selector=SelectorInfo(
            name=selector["name"],
            supervision=selector["supervision"]["kind"],
            label_sets=tuple(selector["supervision"]["label_sets"]),
            stochastic=selector["stochastic"],
            identity=Identity.of(selector["identity"]),
        ),
        task=TaskInfo(task["name"], task["headline"], Identity.of(task["identity"])),
        keep_ratio=data["keep_ratio"],
        seed=data["seed"],
        reduction=data["reduction"],
        images=data["images"],
        skipped=tuple(data["skipped"]),
        metrics=tuple(MetricRow.from_json(row) for row in data["metrics"]),
        records_sha256=data["records_sha256"],
        schema_version=data["schema_version"],
    )
