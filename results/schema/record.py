"""Record of a finished cell: typed, versioned and immutable; equal records have equal bytes.

A cell is one selector, task, keep ratio and seed. Its record has the identities of selector and task, the number of
images, and all metric values. The per-image rows are stored in a file of their own (`store.run_store`).
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
"""Version of the format. It is part of every fingerprint, so that a new format never reuses cells of an old one."""

READABLE_VERSIONS: Final = frozenset({1})

REDUCTIONS: Final = ("fill", "none", "drop")
"""`drop` gives the model the kept patches alone, `fill` overwrites dropped patches with the mean; `none` is for tasks
without a model (coverage)."""


class ResultsError(InputError):
    """A stored result that cannot be used, or a result that could not be stored; a one-line message for the user."""


def canonical_json(value: Any) -> str:
    """JSON text that is equal for equal content: sorted keys, no spaces, floats by `repr`.

    Raises:
        ResultsError: `value` has NaN, an infinity, or anything that is not plain JSON.
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        text.encode()  # halves of a surrogate pair are no text
        return text
    except (TypeError, ValueError) as error:
        raise ResultsError(f"not plain JSON: {error}") from error


def digest(value: Any) -> str:
    """Hex SHA-256 of `canonical_json(value)`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def cell_fingerprint(
    selector: Mapping[str, Any], task: Mapping[str, Any], keep_ratio: float, seed: int, reduction: str
) -> str:
    """Hex SHA-256 of everything that determines a cell's result; not of device, batch size, workers or paths.

    Args:
        selector: identity of the selector (name, options, hash of its weights), plain JSON.
        task: identity of the task (options, dataset revision, hash of the model's weights), plain JSON.
        keep_ratio: share of kept patches, 0 < r <= 1.
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
    """Immutable mapping of plain JSON, stored as canonical text."""

    text: str

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Identity:
        """Identity with a copy of `value`. Raises ResultsError unless it is plain JSON."""
        return cls(canonical_json(dict(value)))

    @property
    def value(self) -> dict[str, Any]:
        """A copy of the mapping."""
        return dict(json.loads(self.text))

    @property
    def short(self) -> str:
        """First 8 hex digits of the mapping's SHA-256; distinguishes weights and options of the same name."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class SelectorInfo:
    """The selector of a cell.

    Attributes:
        name: name in tables, e.g. "ltrp".
        supervision: "none", "self" or "labels".
        label_sets: label sets that it was trained with, e.g. ("imagenet1k",); empty unless `supervision` is "labels".
        stochastic: True if its scores depend on the seed, so that it is measured with several seeds.
        identity: its part of the fingerprint.
    """

    name: str
    supervision: str
    label_sets: tuple[str, ...]
    stochastic: bool
    identity: Identity

    @property
    def supervision_text(self) -> str:
        """Text for tables: "none", "self", or the label sets joined by "+"."""
        return "+".join(self.label_sets) if self.label_sets else self.supervision


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """The task of a cell.

    Attributes:
        name: name in tables.
        headline: name of its headline metric.
        identity: its part of the fingerprint.
    """

    name: str
    headline: str
    identity: Identity


@dataclass(frozen=True, slots=True)
class CellRecord:
    """Result of one cell.

    Attributes:
        fingerprint: `cell_fingerprint` of the cell.
        selector, task: what was measured.
        keep_ratio: share of kept patches, 0 < r <= 1.
        seed: seed of the selector and of the tie-breaking.
        reduction: one of `REDUCTIONS`.
        images: number of measured images.
        skipped: ids of images that could not be read.
        metrics: values of all metrics.
        records_sha256: `rows_digest` of the per-image rows.
        schema_version: version of the format.

    Raises:
        ResultsError: a value is out of range, or the fingerprint does not match the content.
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
            raise ResultsError(f"unknown reduction {self.reduction!r}; use one of {', '.join(REDUCTIONS)}")
        if self.images < 0:
            raise ResultsError(f"the number of images is negative: {self.images}")
        for metric in self.metrics:
            if math.isinf(metric.value):
                raise ResultsError(f"metric {metric.metric!r} of {metric.group!r} is infinite")
        expected = cell_fingerprint(
            self.selector.identity.value, self.task.identity.value, self.keep_ratio, self.seed, self.reduction
        )
        if self.fingerprint != expected:
            raise ResultsError(f"fingerprint {self.fingerprint[:16]} does not match the content ({expected[:16]})")

    @property
    def short_fingerprint(self) -> str:
        """First 16 hex digits of the fingerprint, as in tables."""
        return self.fingerprint[:16]

    def value(self, metric: str, group: str) -> float:
        """Value of a metric over all categories of a group; NaN if the record has none."""
        for row in self.metrics:
            if row.metric == metric and row.group == group and row.category is None:
                return row.value
        return math.nan

    def to_json(self) -> str:
        """JSON text with the record and its checksum; keys are sorted, and NaN is null."""
        record = _record_json(self)
        envelope = {"record": record, "sha256": digest(record)}
        return json.dumps(envelope, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str = "the record") -> CellRecord:
        """Inverse of `to_json`.

        Args:
            text: text that `to_json` returned.
            where: name of the file, for messages.

        Raises:
            ResultsError: the text is truncated, was altered, or has a version that this release cannot read.
        """
        hint = "delete it and repeat the run to evaluate the cell again"
        try:
            envelope = json.loads(text)
            record, stored = envelope["record"], envelope["sha256"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ResultsError(f"{where} is truncated or not a record ({type(error).__name__}); {hint}") from error
        try:
            intact = isinstance(record, dict) and digest(record) == stored
        except ResultsError:
            intact = False
        if not intact:
            raise ResultsError(f"{where} was altered: its content does not match its checksum; {hint}")
        version = record.get("schema_version")
        if version not in READABLE_VERSIONS:
            readable = ", ".join(str(v) for v in sorted(READABLE_VERSIONS))
            raise ResultsError(f"{where} has schema version {version}; this release reads {readable}")
        try:
            return _record_of(record)
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            raise ResultsError(f"{where} has a missing or invalid field ({error}); {hint}") from error
        except ResultsError as error:
            raise ResultsError(f"{where}: {error}; {hint}") from error


def metric_rows(rows: Iterable[MetricRow]) -> tuple[MetricRow, ...]:
    """Metric rows of a task, with NumPy scalars converted to Python types."""
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
