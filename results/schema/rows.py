"""Rows that tasks measure and results store: one image's predictions, and one metric of one group of categories."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

GROUPS: Final = ("all", "seen", "unseen")
"""Groups of categories over which every task reports its metrics."""

Row = dict[str, Any]
"""One row of an image, column -> value: an object, a detection or a prediction, as the task's `row_schema` says."""


@dataclass(frozen=True, slots=True)
class MetricRow:
    """The value of one metric over a group of categories, or over one category.

    Two rows with a NaN value are equal, so that a record read back equals the one written.

    Attributes:
        metric: name, e.g. "bbox_AP".
        group: "all", "seen", "unseen", or another group that the task reports.
        category: name of the one category; None for the whole group.
        value: NaN where the metric is undefined, e.g. a group without ground truth.
        n: number of images, objects or pixels that the value is taken over; the task says which.
    """

    metric: str
    group: str
    category: str | None
    value: float
    n: int

    @property
    def defined(self) -> bool:
        """True if there was anything to measure."""
        return not math.isnan(self.value)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON of the row, NaN as null."""
        return {
            "metric": self.metric,
            "group": self.group,
            "category": self.category,
            "value": self.value if self.defined else None,
            "n": self.n,
        }

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> MetricRow:
        """Inverse of `to_json`. Raises KeyError or TypeError if a field is missing or of another type."""
        value = math.nan if row["value"] is None else float(row["value"])
        return cls(row["metric"], row["group"], row["category"], value, row["n"])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MetricRow) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash((self.metric, self.group, self.category, self.n))
