"""The sweep: every cell once, scores once per image for all keep ratios, nothing finished lost to a kill.

The unit of work is a chunk: `CHUNK` images of one (selector, task, seed) at every keep ratio. Its rows are
on disk as soon as it is done; when all are, each cell is summed up from them. What is stored depends on no
option of speed: on a CPU to the last bit, on a GPU up to the rounding of its kernels at another batch size.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import torch

from ltrp_bench.harness.evaluation.cost import CostMeter
from ltrp_bench.harness.evaluation.environment import device_name
from ltrp_bench.harness.evaluation.loading import Chunk, Span, load_chunks, spans
from ltrp_bench.harness.evaluation.plan import Cell, CellGroup
from ltrp_bench.harness.evaluation.score_cache import ScoreCache
from ltrp_bench.harness.evaluation.scorer import Grid, Scorer, batches_by
from ltrp_bench.harness.evaluation.thumbnails import GalleryWriter
from ltrp_bench.results.schema.image_rows import Images, normalise_rows
from ltrp_bench.results.schema.record import CellRecord, ResultsError, metric_rows
from ltrp_bench.results.schema.rows import Row
from ltrp_bench.results.store.run_store import RunStore
from ltrp_bench.selectors.errors import InputError
from ltrp_bench.selectors.topk import top_k
from ltrp_bench.tasks.base import Downsample, Keep, ReducedInput, Sample

CHUNK: Final = 64
"""Images whose rows are stored together; a kill loses at most this much work of one selector."""


@dataclass(frozen=True)
class SweepOptions:
    """What changes speed or patience, never a result.

    Attributes:
        batch_size: most images a selector or a task's model is given at a time on a GPU.
        workers: threads that read images.
        device: where selectors run.
        skip_bad_images: leave out unreadable images, counted and reported, instead of stopping.
    """

    batch_size: int = 16
    workers: int = 2
    device: str = "cpu"
    skip_bad_images: bool = False

    @property
    def together(self) -> int:
        """Images given at a time: one on a CPU, where batches gain little and change the last bits of sums."""
        return 1 if self.device.startswith("cpu") else max(1, self.batch_size)


class Progress(Protocol):
    """Who is told how far the sweep is (`harness/cli/progress.py`)."""

    def start(self, total: int) -> None:
        """`total` images, over all groups, are ahead."""

    def current(self, label: str) -> None:
        """This group is being worked on."""

    def advance(self, images: int, worked: bool) -> None:
        """So many images are done; `worked` is False for those found done."""

    def notice(self, line: str) -> None:
        """Something a person should know."""


def run_sweep(
    groups: Sequence[CellGroup],
    store: RunStore,
    options: SweepOptions,
    progress: Progress,
    provenance: Callable[[], dict[str, Any]] = dict,
) -> list[CellRecord]:
    """Measure every cell of `groups` that is not stored yet.

    Groups that another process is working on come last, and are then waited for.

    Args:
        groups: as `cells.plan` gives them.
        store: where results go.
        options: see there.
        progress: is told how far it is.
        provenance: plain JSON about this machine, stored beside each cell.

    Returns:
        The records of all cells of `groups`, those found done included, in order.

    Raises:
        BenchError: with one line for a person; what was finished before stays.
    """
    store.prepare()
    progress.start(sum(group.task.images for group in groups))
    busy = []
    for group in groups:
        with store.lock(group.key, wait=False) as held:
            if held:
                _GroupRun(group, store, options, progress).run(provenance)
            else:
                busy.append(group)
    for group in busy:
        progress.notice(f"{group.label}: another process works on it; waiting for it")
        with store.lock(group.key, wait=True):
            _GroupRun(group, store, options, progress).run(provenance)
    return [store.read_cell(cell.fingerprint) for group in groups for cell in group.cells]


class _GroupRun:
    """One selector on one task with one seed."""

    def __init__(self, group: CellGroup, store: RunStore, options: SweepOptions, progress: Progress) -> None:
        self.group, self.store, self.options, self.progress = group, store, options, progress
        self.task = group.task.task
        self.pending = tuple(cell for cell in group.cells if not self._finished(cell))
        self.spans = spans(group.task.images, CHUNK)
        self.gallery = GalleryWriter(store, group)
        self.costs = CostMeter(device_name(options.device), group.selector.reduces_by_downsampling, progress.notice)

    def _finished(self, cell: Cell) -> bool:
        record = self.store.finished(cell.fingerprint)
        # A run that wants no image left out does not take over what one that left some out has measured.
        return record is not None and (self.options.skip_bad_images or not record.skipped)

    def run(self, provenance: Callable[[], dict[str, Any]]) -> None:
        self.progress.current(self.group.label)
        self._add_evidence()
        if not self.pending:
            self._add_gallery()
            self.progress.advance(self.group.task.images, worked=False)
            return
        began = time.monotonic()
        todo = {span: cells for span in self.spans if (cells := self._missing(span))}
        done = sum(end - first for first, end in self.spans if (first, end) not in todo)
        self.progress.advance(done, worked=False)
        scorer, cache = self._scorer()
        chunks = load_chunks(self.task, list(todo), self.options.workers, self.options.skip_bad_images)
        for chunk in chunks:
            self._measure(chunk, todo[chunk.span], scorer, cache)
            self.progress.advance(chunk.span[1] - chunk.span[0], worked=True)
        # Once a group: looking versions up takes as long as an image or two.
        made = {**provenance(), "group_seconds": round(time.monotonic() - began, 3)}
        for cell in self.pending:
            self._finish(cell, {**made, "cost": self.costs.of(cell.fingerprint)})
        self._add_gallery()
        self.store.drop_chunks(self.group.key)

    def _add_evidence(self) -> None:
        """Evidence of finished cells that have none: an older version measured them, or it was deleted."""
        for cell in self.group.cells:
            if cell not in self.pending and not self.store.evidence_path(cell.fingerprint).exists():
                evidence = self.task.resampling_summary(self.store.read_images(cell.fingerprint))
                self.store.write_evidence(self.store.read_cell(cell.fingerprint), evidence)

    def _scorer(self) -> tuple[Scorer, ScoreCache]:
        scorer = Scorer(self.group.selector.selector, torch.device(self.options.device), self.options.together)
        return scorer, ScoreCache(self.store, self.group, self.progress.notice)

    def _add_gallery(self) -> None:
        """Of cells that an older version measured, or whose first chunk was found on disk."""
        if self.gallery.missing:
            scorer, cache = self._scorer()
            for chunk in load_chunks(self.task, self.spans[:1], self.options.workers, self.options.skip_bad_images):
                grids = [self.task.grid(sample) for sample in chunk.samples]
                self.gallery.saw(chunk.samples, grids, self._scores(chunk.samples, grids, scorer, cache))

    def _missing(self, span: Span) -> tuple[Cell, ...]:
        """The pending cells whose rows of this span are not on disk."""
        held = self.store.read_chunk(self.group.key, span, self._fingerprints)
        # Images left out before must be looked at again by a run that does not want any left out.
        if held is None or (held[1] and not self.options.skip_bad_images):
            return self.pending
        return tuple(cell for cell in self.pending if cell.fingerprint not in held[0])

    @property
    def _fingerprints(self) -> list[str]:
        return [cell.fingerprint for cell in self.pending]

    def _measure(self, chunk: Chunk, cells: Sequence[Cell], scorer: Scorer, cache: ScoreCache) -> None:
        """Rows of one chunk for `cells`, merged with what the chunk's file holds of the others."""
        grids = [self.task.grid(sample) for sample in chunk.samples]
        scores = None
        if not self.group.selector.reduces_by_downsampling:
            scores = self._scores(chunk.samples, grids, scorer, cache)
            if chunk.span == self.spans[0]:
                self.gallery.saw(chunk.samples, grids, scores)
        results: dict[str, Mapping[str, Sequence[Row]]] = {}
        held = self.store.read_chunk(self.group.key, chunk.span, self._fingerprints)
        if held is not None and held[1].keys() == chunk.bad.keys():
            results.update(held[0])
        for cell in cells:
            reductions = self._reductions(chunk.samples, grids, scores, cell.keep_ratio)
            with self.costs.model(cell.fingerprint, len(chunk.samples)):
                results[cell.fingerprint] = self._process(chunk.samples, grids, reductions)
        self.store.write_chunk(self.group.key, chunk.span, results, self.task.row_schema, chunk.bad)

    def _scores(
        self, samples: Sequence[Sample], grids: Sequence[Grid], scorer: Scorer, cache: ScoreCache
    ) -> list[np.ndarray]:
        ids = [sample.image_id for sample in samples]
        cached = cache.get(ids, grids)
        objects = None
        if scorer.needs_context:
            objects = [np.asarray(self.task.oracle_scores(sample), dtype=np.float32) for sample in samples]
        if cached is not None:
            self.costs.remember(cached.cost)
            return cached.scores
        began = time.perf_counter()
        scores = scorer.scores(samples, grids, self.group.seed, objects)
        ms = 1000 * (time.perf_counter() - began) / max(len(samples), 1)
        if samples:
            one = None if objects is None else objects[:1]
            cost = self.costs.scored(ms, lambda: scorer.scores(samples[:1], grids[:1], self.group.seed, one))
            cache.put(ids, grids, scores, cost)
        return scores

    def _reductions(
        self,
        samples: Sequence[Sample],
        grids: Sequence[Grid],
        scores: Sequence[np.ndarray] | None,
        keep_ratio: float,
    ) -> list[ReducedInput]:
        if scores is None:
            return [Downsample(keep_ratio) for _ in samples]
        out: list[ReducedInput | None] = [None] * len(samples)
        for batch in batches_by(grids, len(samples) or 1):
            stacked = torch.from_numpy(np.stack([scores[i] for i in batch]))
            ids = [samples[i].image_id for i in batch]
            masks = top_k(stacked, keep_ratio, image_ids=ids, seed=self.group.seed).mask().numpy()
            for place, mask in zip(batch, masks, strict=True):
                out[place] = Keep(mask)
        return [one for one in out if one is not None]

    def _process(self, samples: Sequence[Sample], grids: Sequence[Grid], reductions: Sequence[ReducedInput]) -> Images:
        """Normalised rows by image id, in the order of the samples."""
        rows: dict[int, list[Row]] = {}
        kinds = [(sample.image.shape, grid) for sample, grid in zip(samples, grids, strict=True)]
        for batch in batches_by(kinds, self.options.together):
            given = self.task.predict([samples[i] for i in batch], [reductions[i] for i in batch])
            if len(given) != len(batch):
                raise InputError(f"task {self.task.name!r} gave rows of {len(given)} images for {len(batch)}")
            for place, image_rows in zip(batch, given, strict=True):
                where = f"task {self.task.name!r}, image {samples[place].image_id!r}"
                rows[place] = normalise_rows(image_rows, self.task.row_schema, where)
        return {samples[place].image_id: rows[place] for place in range(len(samples))}

    def _finish(self, cell: Cell, provenance: Mapping[str, Any]) -> None:
        """Sum a cell up from its chunks on disk, so that an interrupted run and another end alike."""
        images: Images = {}
        skipped: dict[str, str] = {}
        for first, end in self.spans:
            held = self.store.read_chunk(self.group.key, (first, end), [cell.fingerprint])
            if held is None or cell.fingerprint not in held[0]:
                path = self.store.chunk_path(self.group.key, first, end)
                raise ResultsError(f"{path} went missing during the run; start the same command again")
            part = held[0][cell.fingerprint]
            if len(part) + len(held[1]) != end - first or part.keys() & images.keys():
                raise InputError(f"task {self.task.name!r} gives one image id to several images")
            images.update(part)
            skipped.update(held[1])
        if not images:
            raise InputError(f"task {self.task.name!r}: not one of its {len(skipped)} images could be read")
        record = CellRecord(
            fingerprint=cell.fingerprint,
            selector=self.group.selector.info,
            task=self.group.task.info,
            keep_ratio=cell.keep_ratio,
            seed=self.group.seed,
            reduction=self.task.reduction,
            images=len(images),
            skipped=tuple(skipped),
            metrics=metric_rows(self.task.compute_metrics(images)),
            records_sha256="",
        )
        # A record of fewer images goes first: beside newer rows, after a kill, it would look altered.
        self.store.cell_path(cell.fingerprint).unlink(missing_ok=True)
        evidence = self.task.resampling_summary(images)
        self.store.write_cell(record, images, self.task.row_schema, {**provenance, "skipped": skipped}, evidence)


def skip_reason(store: RunStore, record: CellRecord, image: str) -> str | None:
    """Why an image was left out of a finished cell; None if that is not known any more."""
    try:
        return str(store.read_provenance(record.fingerprint)["skipped"][image])
    except (KeyError, TypeError):
        return None
