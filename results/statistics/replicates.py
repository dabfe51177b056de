"""Estimates of finished cells: their metrics under the draws of the task, from resampling summaries or a cache."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from ltrp_bench.results.schema.damage import damaged, read_npz
from ltrp_bench.results.schema.record import CellRecord, ResultsError, digest
from ltrp_bench.results.schema.rows import GROUPS
from ltrp_bench.results.statistics.bootstrap import RESAMPLES, Draws, Estimate
from ltrp_bench.results.statistics.forks import map_forked
from ltrp_bench.results.store.run_store import RunStore
from ltrp_bench.results.summaries.base import ResamplingSummary

VERSION: Final = 1
"""Version of the cache. Raise it when a change of the code changes the draws, or a metric under weights."""

Groups = Mapping[str, Estimate]
"""Group ("all", "seen", "unseen") -> estimate."""


class Replicates:
    """Estimates of the cells of a run folder.

    All cells of one task with the same images share their draws, whatever their selector, keep ratio, seed, reduction
    or fold.

    Args:
        store: the run folder; estimates are cached in its folder `bootstrap/`.
        resamples: number of resamples B.
        seed: seed of the draws.
    """

    def __init__(
        self,
        store: RunStore,
        resamples: int = RESAMPLES,
        seed: int = 0,
    ) -> None:
        self.resamples = resamples
        self._store, self._seed = store, seed
        self._draws: dict[str, Draws] = {}
        self._estimates: dict[tuple[str, str], Groups | None] = {}

    def of(self, record: CellRecord, metric: str | None = None) -> Groups | None:
        """Estimates of a metric over each group; None if the cell has no resampling summary of it.

        Args:
            record: the cell.
            metric: name of the metric; by default the headline metric of the task.

        Raises:
            ResultsError: the resampling summary was altered, or does not belong to the record.
        """
        metric = metric or record.task.headline
        key = record.fingerprint, metric
        if key not in self._estimates:
            self._estimates[key] = self._estimate(record, metric)
        return self._estimates[key]

    def fill(self, wanted: Sequence[tuple[CellRecord, str]]) -> Iterator[CellRecord]:
        """Estimate metrics of many cells, on all cores where that is worth it; yields the record of each pair.

        Args:
            wanted: records and names of metrics, as for `of`.
        """
        results = map_forked(lambda pair: self.of(*pair), wanted)
        for (record, metric), found in zip(wanted, results, strict=True):
            self._estimates[record.fingerprint, metric] = found
            yield record

    def _estimate(self, record: CellRecord, metric: str) -> Groups | None:
        path = self._store.summary_path(record.fingerprint)
        if not path.exists():
            return None
        groups = self._store.groups_key(record)
        name = f"{record.fingerprint}.{metric}.{groups}.npz" if groups else f"{record.fingerprint}.{metric}.npz"
        cached = self._store.root / "bootstrap" / name
        about = digest(
            [VERSION, record.records_sha256, metric, self.resamples, self._seed, *([groups] if groups else [])]
        )
        if (found := _read(cached, about)) is not None:
            return found
        summary = self._store.read_summary(record)
        if summary is None or metric not in summary.metrics:
            return None
        out = estimates(summary, [metric], self._draws_of(record.task.name, summary.images))[metric]
        self._store.write(cached, _bytes(out, about), sync=False)
        return out

    def _draws_of(self, task: str, images: Sequence[str]) -> Draws:
        key = digest([task, list(images)])
        if key not in self._draws:
            self._draws[key] = Draws.of(images, task, self.resamples, self._seed)
        return self._draws[key]


def estimates(summary: ResamplingSummary, metrics: Sequence[str], draws: Draws) -> dict[str, Groups]:
    """Metric -> group -> estimate of a resampling summary whose images are the columns of the draws."""
    pairs = [(metric, group) for metric in metrics for group in GROUPS]
    values = summary.all_values(pairs, draws.weights)
    return {metric: {group: draws.estimate(values[metric, group]) for group in GROUPS} for metric in metrics}


def paired(
    one: ResamplingSummary, other: ResamplingSummary, metric: str, key: str, resamples: int, seed: int = 0
) -> tuple[Groups, Groups]:
    """Paired estimates of two resampling summaries, on the images that both have.

    Args:
        one, other: the summaries.
        metric: name of the metric.
        key: key of the draws, e.g. the name of the task.
        resamples: number of resamples.
        seed: seed of the draws.

    Raises:
        ResultsError: they have no image in common.
    """
    common = [image for image in one.images if image in set(other.images)]
    draws = Draws.of(common, key, resamples, seed)
    return _on(one, common, draws, metric), _on(other, common, draws, metric)


def _on(summary: ResamplingSummary, common: Sequence[str], draws: Draws, metric: str) -> Groups:
    place = {image: column for column, image in enumerate(summary.images)}
    weights = np.zeros((len(draws.weights), len(summary.images)), draws.weights.dtype)
    weights[:, [place[image] for image in common]] = draws.weights
    return estimates(summary, [metric], Draws(draws.key, weights, draws.resamples))[metric]


def _bytes(groups: Groups, about: str) -> bytes:
    arrays = {"about": np.array([about, next(iter(groups.values())).key])}
    for group, one in groups.items():
        arrays[group] = np.concatenate([[one.point], one.draws])
        arrays[f"{group}_jackknife"] = one.jackknife
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _read(path: Path, about: str) -> Groups | None:
    """Cached estimates; None if they are missing, damaged, or were computed with other settings."""
    try:
        with damaged(lambda error: ResultsError(f"{path} is damaged ({type(error).__name__})")):
            file = read_npz(path)
            stored, key = (str(text) for text in file["about"])
            if stored != about:
                return None
            return {
                group: Estimate(key, float(file[group][0]), file[group][1:], file[f"{group}_jackknife"])
                for group in GROUPS
            }
    except ResultsError:
        return None
