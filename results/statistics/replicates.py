"""Estimates of finished cells: each cell's metrics under the draws of its task, from its evidence or from a cache."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from ltrp_bench.results.schema.record import CellRecord, digest
from ltrp_bench.results.schema.rows import GROUPS
from ltrp_bench.results.statistics.bootstrap import RESAMPLES, Draws, Estimate
from ltrp_bench.results.store.run_store import RunStore
from ltrp_bench.results.summaries.base import ResamplingSummary

VERSION: Final = 1
"""Of what is cached; a new one where a metric under weights, or the draws, are computed otherwise."""

Groups = Mapping[str, Estimate]
"""Group ("all", "seen", "unseen") -> its estimate."""


class Replicates:
    """Estimates of the cells of a run folder.

    All cells of one task and one set of images share their draws: selectors, keep ratios, seeds, reductions, folds.

    Args:
        store: where cells and their evidence lie; estimates are cached there, under `bootstrap/`.
        resamples: B.
        seed: of the draws.
        notice: told, one line each, what cannot be estimated and why.
    """

    def __init__(
        self,
        store: RunStore,
        resamples: int = RESAMPLES,
        seed: int = 0,
        notice: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.resamples = resamples
        self._store, self._seed, self._notice = store, seed, notice
        self._draws: dict[str, Draws] = {}
        self._held: dict[tuple[str, str], Groups | None] = {}

    def of(self, record: CellRecord, metric: str | None = None) -> Groups | None:
        """Estimates of a metric, by default the headline, over each group; None without evidence of it.

        Raises:
            ResultsError: the evidence was altered, or does not belong to the record.
        """
        metric = metric or record.task.headline
        key = record.fingerprint, metric
        if key not in self._held:
            self._held[key] = self._estimate(record, metric)
        return self._held[key]

    def _estimate(self, record: CellRecord, metric: str) -> Groups | None:
        path = self._store.evidence_path(record.fingerprint)
        if not path.exists():
            return None
        cached = self._store.root / "bootstrap" / f"{record.fingerprint}.{metric}.npz"
        about = digest([VERSION, record.records_sha256, metric, self.resamples, self._seed])
        if (found := _read(cached, about)) is not None:
            return found
        evidence = self._store.read_evidence(record)
        if evidence is None or metric not in evidence.metrics:
            return None
        out = estimates(evidence, [metric], self._draws_of(record.task.name, evidence.images))[metric]
        self._store.write(cached, _bytes(out, about))
        return out

    def _draws_of(self, task: str, images: Sequence[str]) -> Draws:
        who = digest([task, list(images)])
        if who not in self._draws:
            self._draws[who] = Draws.of(images, task, self.resamples, self._seed)
        return self._draws[who]


def estimates(evidence: ResamplingSummary, metrics: Sequence[str], draws: Draws) -> dict[str, Groups]:
    """Metric -> group -> estimate, of evidence whose images are the draws' columns."""
    pairs = [(metric, group) for metric in metrics for group in GROUPS]
    values = evidence.all_values(pairs, draws.weights)
    return {metric: {group: draws.estimate(values[metric, group]) for group in GROUPS} for metric in metrics}


def paired(
    one: ResamplingSummary, other: ResamplingSummary, metric: str, key: str, resamples: int, seed: int = 0
) -> tuple[Groups, Groups]:
    """Estimates of two evidences on the images that both have; an image of one alone counts nowhere.

    Raises:
        ResultsError: no image in common.
    """
    common = [image for image in one.images if image in set(other.images)]
    draws = Draws.of(common, key, resamples, seed)
    return _on(one, common, draws, metric), _on(other, common, draws, metric)


def _on(evidence: ResamplingSummary, common: Sequence[str], draws: Draws, metric: str) -> Groups:
    place = {image: column for column, image in enumerate(evidence.images)}
    weights = np.zeros((len(draws.weights), len(evidence.images)), draws.weights.dtype)
    weights[:, [place[image] for image in common]] = draws.weights
    return estimates(evidence, [metric], Draws(draws.key, weights, draws.resamples))[metric]


def _bytes(groups: Groups, about: str) -> bytes:
    arrays = {"about": np.array([about, next(iter(groups.values())).key])}
    for group, one in groups.items():
        arrays[group] = np.concatenate([[one.point], one.draws])
        arrays[f"{group}_jackknife"] = one.jackknife
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _read(path: object, about: str) -> Groups | None:
    """What was cached for the same question; None for anything else: it is only work to be done again."""
    try:
        with np.load(str(path), allow_pickle=False) as held:
            asked, key = (str(text) for text in held["about"])
            if asked != about:
                return None
            return {
                group: Estimate(key, float(held[group][0]), held[group][1:], held[f"{group}_jackknife"])
                for group in GROUPS
            }
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
