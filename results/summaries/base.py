"""What every kind of evidence shares: its images, groups and metrics, and metrics under integer image weights.

Evidence is what a finished cell leaves so that its metrics can be resampled by images without data set, model or
rows. A weight says how often an image was drawn: 1 everywhere is the cell as measured, 0 leaves an image out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, Final

import numpy as np

from ltrp_bench.results.schema.record import ResultsError

GROUPS: Final = ("all", "seen", "unseen")

BLOCK_BYTES: Final = 32 * 2**20
"""About what the temporary arrays of one block of resamples may take."""

Pair = tuple[str, str]
"""(metric, group)."""


class Evidence(ABC):
    """Evidence of one cell.

    Args:
        arrays: arrays by name, and under "meta" a mapping with kind, images, categories, groups and metrics.
        where: the file's name, for messages.

    Attributes:
        images: ids, in the order of the weights' columns.
        categories: names, in the order of category positions.
        groups: "all", "seen", "unseen" -> names of categories.
        metrics: names of what can be resampled, the headline first.

    Raises:
        ResultsError: if anything is missing, of the wrong type or shape, or out of range.
    """

    kind: ClassVar[str]

    def __init__(self, arrays: Mapping[str, Any], where: str) -> None:
        self._arrays, self._where = arrays, where
        meta = arrays.get("meta")
        if not isinstance(meta, Mapping):
            raise self._wrong('no mapping "meta"')
        if meta.get("kind") != self.kind:
            raise self._wrong(f"kind {meta.get('kind')!r} is not {self.kind!r}")
        self._meta = meta
        self.images = self._names("images", meta.get("images"))
        self.categories = self._names("categories", meta.get("categories"))
        self.metrics = self._names("metrics", meta.get("metrics"))
        if not self.metrics:
            raise self._wrong("meta/metrics is empty")
        groups = meta.get("groups")
        if not isinstance(groups, Mapping) or set(groups) != set(GROUPS):
            raise self._wrong(f"meta/groups must be a mapping of {', '.join(GROUPS)}")
        self.groups = {name: self._names(f"groups/{name}", groups[name]) for name in GROUPS}
        index = {name: i for i, name in enumerate(self.categories)}
        for name, members in self.groups.items():
            if unknown := sorted(set(members) - index.keys()):
                raise self._wrong(f"meta/groups/{name} names {unknown[0]!r}, which is no category")
        self._members = {name: np.array([index[m] for m in self.groups[name]], np.intp) for name in GROUPS}
        self._load()

    @abstractmethod
    def _load(self) -> None:
        """Read and check what this kind holds besides."""

    @abstractmethod
    def _compute(self, pairs: list[Pair], weights: np.ndarray) -> dict[Pair, np.ndarray]:
        """`all_values` for pairs and weights that were checked."""

    def values(self, metric: str, group: str, weights: np.ndarray) -> np.ndarray:
        """A metric over a group of categories under each row of weights.

        Args:
            metric: one of `metrics`.
            group: "all", "seen" or "unseen".
            weights: [B, N] integers >= 0, how often each of `images` counts.

        Returns:
            [B] float64, NaN where undefined. For several metrics or groups ask `all_values`: it shares work.

        Raises:
            ResultsError: unknown metric or group, or weights of another shape or type.
        """
        return self.all_values([(metric, group)], weights)[metric, group]

    def all_values(self, pairs: Iterable[Pair], weights: np.ndarray) -> dict[Pair, np.ndarray]:
        """Several (metric, group) at once, shared parts computed once: pair -> [B] as of `values`."""
        wanted = list(dict.fromkeys(pairs))
        for metric, group in wanted:
            if metric not in self.metrics:
                raise self._wrong(f"no metric {metric!r}; there are {', '.join(self.metrics)}")
            if group not in self.groups:
                raise self._wrong(f"no group {group!r}; there are {', '.join(GROUPS)}")
        if weights.ndim != 2 or weights.shape[1] != len(self.images) or weights.dtype.kind not in "iu":
            raise self._wrong(
                f"weights must be integers of shape [B, {len(self.images)}], not {weights.dtype} {list(weights.shape)}"
            )
        return self._compute(wanted, weights)

    def measured(self, metric: str, group: str) -> float:
        """The metric of the cell as measured: every image once."""
        return float(self.values(metric, group, np.ones((1, len(self.images)), np.uint8))[0])

    def _group_mean(self, values: np.ndarray, group: str) -> np.ndarray:
        """[B] mean of [B, C] over a group's categories that are defined; NaN where none is."""
        members = values[:, self._members[group]]
        defined = ~np.isnan(members)
        count = defined.sum(1)
        total = np.where(defined, members, 0.0).sum(1)
        return ratio(total, count)

    def _names(self, what: str, value: Any) -> tuple[str, ...]:
        if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
            raise self._wrong(f"meta/{what} must be a list of names")
        if len(set(value)) != len(value):
            raise self._wrong(f"meta/{what} names one twice")
        return tuple(value)

    def _array(self, name: str, kinds: str, shape: tuple[int | None, ...]) -> np.ndarray:
        """The array `name`, checked: dtype kind one of `kinds`, `shape` with None for any length."""
        if name not in self._arrays:
            raise self._wrong(f"no array {name!r}")
        array = np.asarray(self._arrays[name])
        fits = array.ndim == len(shape) and all(
            want in (None, have) for want, have in zip(shape, array.shape, strict=True)
        )
        if array.dtype.kind not in kinds or not fits:
            wanted = ", ".join("any" if n is None else str(n) for n in shape)
            raise self._wrong(f"array {name!r} is {array.dtype} {list(array.shape)}, not of shape [{wanted}]")
        return array

    def _positions(self, name: str, length: int | None, below: int, least: int = 0) -> np.ndarray:
        """[M] positions, each in least .. below - 1."""
        array = self._array(name, "iu", (length,)).astype(np.int64)
        if array.size and (array.min() < least or array.max() >= below):
            raise self._wrong(f"array {name!r} holds a position outside {least} .. {below - 1}")
        return array

    def _wrong(self, what: str) -> ResultsError:
        return ResultsError(f"{self._where} is no {self.kind} evidence: {what}; measure the cell anew to renew it")


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole in float64; NaN where `whole` is 0."""
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def blocks(rows: int, bytes_a_row: int) -> Iterator[slice]:
    """Slices of `rows` that together cover them, each so short that its arrays stay within `BLOCK_BYTES`."""
    step = max(1, BLOCK_BYTES // max(1, bytes_a_row))
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def weighted_sums(weights: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """[B, K] = weights [B, N] times columns [N, K], in float64 (exact for whole numbers below 2**53), by blocks."""
    out = np.empty((len(weights), columns.shape[1]))
    for rows in blocks(len(weights), 8 * weights.shape[1]):
        out[rows] = weights[rows].astype(np.float64) @ columns
    return out
