"""Resampling summaries: stored with a finished cell so that its metrics can be bootstrapped over images.

A summary needs neither data set, model nor rows. Metrics are computed under integer image weights, which count how
often each image was drawn: all ones is the cell as measured, and 0 leaves an image out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Final, TypeVar

import numpy as np

from ltrp_bench.results.schema.record import ResultsError
from ltrp_bench.results.schema.rows import GROUPS

BLOCK_BYTES: Final = 32 * 2**20
"""Approximate size of the temporary arrays of one block of resamples."""

MetricGroup = tuple[str, str]
"""(metric, group)."""

Summary = TypeVar("Summary", bound="ResamplingSummary")


@dataclass(frozen=True, kw_only=True, eq=False)
class ResamplingSummary(ABC):
    """Resampling summary of one cell. Subclasses add the arrays of their kind.

    Attributes:
        kind: name of the kind, as stored.
        images: ids, in the order of the columns of weights.
        categories: names, in the order of category positions.
        groups: "all", "seen", "unseen" -> names of categories.
        metrics: names of the metrics that can be resampled, the headline first.
        where: file or cell that messages name.

    Raises:
        ResultsError: if a field is of the wrong type or shape, or a value is out of range.
    """

    kind: ClassVar[str]

    images: tuple[str, ...]
    categories: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]
    metrics: tuple[str, ...]
    where: str = field(default="the resampling summary", repr=False)

    def __post_init__(self) -> None:
        for what, names in (("images", self.images), ("categories", self.categories), ("metrics", self.metrics)):
            self._check_names(what, names)
        if not self.metrics:
            raise self._error("meta/metrics is empty")
        if set(self.groups) != set(GROUPS):
            raise self._error(f"meta/groups must be a mapping of {', '.join(GROUPS)}")
        known = set(self.categories)
        for group in GROUPS:
            self._check_names(f"groups/{group}", self.groups[group])
            if unknown := sorted(set(self.groups[group]) - known):
                raise self._error(f"meta/groups/{group} names {unknown[0]!r}, which is no category")
        self._check_arrays()

    @abstractmethod
    def _check_arrays(self) -> None:
        """Check the fields that this kind adds. Raises ResultsError."""

    @abstractmethod
    def _arrays(self) -> dict[str, np.ndarray]:
        """Arrays that this kind adds, by their stored names, in the order of the file."""

    @classmethod
    @abstractmethod
    def _own_fields(cls, arrays: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Values of the fields that this kind adds, from the stored form."""

    @abstractmethod
    def _compute(self, pairs: list[MetricGroup], weights: np.ndarray) -> dict[MetricGroup, np.ndarray]:
        """`all_values` for pairs and weights that are known to be valid."""

    # -- stored form

    def to_arrays(self) -> dict[str, Any]:
        """Stored form: arrays by name, and under "meta" a plain mapping of kind, names and groups."""
        return {"meta": self._meta(), **self._arrays()}

    def _meta(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "images": list(self.images),
            "categories": list(self.categories),
            "groups": {group: list(self.groups[group]) for group in GROUPS},
            "metrics": list(self.metrics),
        }

    @classmethod
    def from_arrays(cls: type[Summary], arrays: Mapping[str, Any], where: str) -> Summary:
        """Inverse of `to_arrays`.

        Args:
            arrays: arrays by name, and "meta".
            where: file or cell that messages name.

        Raises:
            ResultsError: if anything is missing, of the wrong type or shape, or out of range.
        """
        meta = arrays.get("meta")
        if not isinstance(meta, Mapping):
            raise cls._malformed(where, 'no mapping "meta"')
        if meta.get("kind") != cls.kind:
            raise cls._malformed(where, f"kind {meta.get('kind')!r} is not {cls.kind!r}")
        groups = meta.get("groups")
        if not isinstance(groups, Mapping):
            raise cls._malformed(where, f"meta/groups must be a mapping of {', '.join(GROUPS)}")
        return cls(
            images=cls._names(where, "images", meta.get("images")),
            categories=cls._names(where, "categories", meta.get("categories")),
            groups={str(group): cls._names(where, f"groups/{group}", names) for group, names in groups.items()},
            metrics=cls._names(where, "metrics", meta.get("metrics")),
            where=where,
            **cls._own_fields(arrays, where),
        )

    @classmethod
    def _stored(cls, arrays: Mapping[str, Any], name: str, where: str) -> np.ndarray:
        if name not in arrays:
            raise cls._malformed(where, f"no array {name!r}")
        return np.asarray(arrays[name])

    @classmethod
    def _names(cls, where: str, what: str, value: Any) -> tuple[str, ...]:
        if not isinstance(value, list | tuple):
            raise cls._malformed(where, f"meta/{what} must be a list of names")
        return tuple(value)

    # -- metrics

    def values(self, metric: str, group: str, weights: np.ndarray) -> np.ndarray:
        """Values of a metric over a group of categories, one for each row of weights.

        Args:
            metric: one of `metrics`.
            group: "all", "seen" or "unseen".
            weights: [B, N] integers >= 0, how often each of `images` counts.

        Returns:
            [B] float64, NaN where undefined. For several metrics or groups call `all_values`, which shares work.

        Raises:
            ResultsError: unknown metric or group, or weights of another shape or type.
        """
        return self.all_values([(metric, group)], weights)[metric, group]

    def all_values(self, pairs: Iterable[MetricGroup], weights: np.ndarray) -> dict[MetricGroup, np.ndarray]:
        """Values of several (metric, group) at once, shared parts computed once: pair -> [B], see `values`."""
        wanted = list(dict.fromkeys(pairs))
        for metric, group in wanted:
            if metric not in self.metrics:
                raise self._error(f"no metric {metric!r}; there are {', '.join(self.metrics)}")
            if group not in self.groups:
                raise self._error(f"no group {group!r}; there are {', '.join(GROUPS)}")
        if weights.ndim != 2 or weights.shape[1] != len(self.images) or weights.dtype.kind not in "iu":
            raise self._error(
                f"weights must be integers of shape [B, {len(self.images)}], not {weights.dtype} {list(weights.shape)}"
            )
        return self._compute(wanted, weights)

    def measured(self, metric: str, group: str) -> float:
        """Value of the metric of the cell as measured: every image once."""
        return float(self.values(metric, group, np.ones((1, len(self.images)), np.uint8))[0])

    def images_counted(self, metric: str, group: str) -> int | None:
        """Number of images that count, for a metric that counts each of them once; None for others."""
        return None

    @cached_property
    def _members(self) -> dict[str, np.ndarray]:
        """Group -> positions of its categories."""
        index = {name: i for i, name in enumerate(self.categories)}
        return {group: np.array([index[name] for name in self.groups[group]], np.intp) for group in GROUPS}

    def _group_mean(self, values: np.ndarray, group: str) -> np.ndarray:
        """[B] mean of [B, C] over the defined categories of a group; NaN if there is none."""
        members = values[:, self._members[group]]
        defined = ~np.isnan(members)
        return ratio(np.where(defined, members, 0.0).sum(1), defined.sum(1))

    # -- checks

    def _check_names(self, what: str, names: Sequence[str]) -> None:
        if not all(isinstance(name, str) for name in names):
            raise self._error(f"meta/{what} must be a list of names")
        if len(set(names)) != len(names):
            raise self._error(f"meta/{what} names one twice")

    def _check_array(self, name: str, array: np.ndarray, kinds: str, shape: tuple[int | None, ...]) -> None:
        """Raise ResultsError unless the kind of the dtype is in `kinds` and the shape fits; None is any length."""
        fits = array.ndim == len(shape) and all(
            want in (None, have) for want, have in zip(shape, array.shape, strict=True)
        )
        if array.dtype.kind not in kinds or not fits:
            wanted = ", ".join("any" if n is None else str(n) for n in shape)
            raise self._error(f"array {name!r} is {array.dtype} {list(array.shape)}, not of shape [{wanted}]")

    def _check_positions(self, name: str, array: np.ndarray, length: int | None, below: int, least: int = 0) -> None:
        """Raise ResultsError unless the array is [length] integers, each in least .. below - 1."""
        self._check_array(name, array, "iu", (length,))
        if array.size and (array.min() < least or array.max() >= below):
            raise self._error(f"array {name!r} holds a position outside {least} .. {below - 1}")

    def _error(self, what: str) -> ResultsError:
        return self._malformed(self.where, what)

    @classmethod
    def _malformed(cls, where: str, what: str) -> ResultsError:
        return ResultsError(
            f"{where} is not a valid {cls.kind!r} resampling summary: {what}; evaluate the cell again to replace it"
        )


def ordered_groups(categories: Sequence[str], groups: Mapping[str, Collection[str]]) -> dict[str, tuple[str, ...]]:
    """Group -> its members in the order of `categories`."""
    return {group: tuple(name for name in categories if name in groups[group]) for group in GROUPS}


def ratio(part: Any, whole: Any) -> np.ndarray:
    """part / whole in float64; NaN where `whole` is 0."""
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def blocks(rows: int, bytes_a_row: int) -> Iterator[slice]:
    """Slices that cover `rows`, each so short that its arrays stay within `BLOCK_BYTES`."""
    step = max(1, BLOCK_BYTES // max(1, bytes_a_row))
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def weighted_sums(weights: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """[B, K] = weights [B, N] times columns [N, K], in float64 (exact for whole numbers below 2**53), by blocks."""
    out = np.empty((len(weights), columns.shape[1]))
    for rows in blocks(len(weights), 8 * weights.shape[1]):
        out[rows] = weights[rows].astype(np.float64) @ columns
    return out
