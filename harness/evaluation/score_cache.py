"""Cache of scores on disk, so that a selector scores an image once for all runs and keep ratios.

One file per span of images under `scores/<key>/`. The key is a hash of the selector's identity, of the seed if the
selector is stochastic, and of the task's identity; the file's name is a hash of the image ids and grids. A file of
anything else is therefore never read. Scores that depend on ground truth are not cached.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from ltrp_bench.harness.evaluation.cost import ScoreCost
from ltrp_bench.harness.evaluation.plan import CellGroup
from ltrp_bench.harness.evaluation.scorer import Grid
from ltrp_bench.results.schema.record import SCHEMA_VERSION, digest
from ltrp_bench.results.store.run_store import RunStore


@dataclass(frozen=True)
class CachedScores:
    """Scores of the images of a span.

    Attributes:
        scores: [gh, gw] float32 of each image.
        cost: their cost; None if it was not stored.
    """

    scores: list[np.ndarray]
    cost: ScoreCost | None


class Scores(Protocol):
    """Finds scores that were computed before, and takes new ones."""

    def get(self, ids: Sequence[str], grids: Sequence[Grid]) -> CachedScores | None:
        """Scores of these images; None if they are to be computed."""

    def put(self, ids: Sequence[str], grids: Sequence[Grid], scores: Sequence[np.ndarray], cost: ScoreCost) -> None:
        """Take new scores and their cost."""


class ScoreCache:
    """The cached scores of one group of cells.

    Args:
        store: the run's folder; files are written under its `scores/`.
        group: the cells.
        notice: called with a line when a damaged file is computed again.
    """

    def __init__(self, store: RunStore, group: CellGroup, notice: Callable[[str], None]) -> None:
        self._store = store
        self._notice = notice
        info = group.selector.info
        self._key = digest(
            {
                "schema": SCHEMA_VERSION,
                "selector": info.identity.value,
                "seed": group.seed if info.stochastic else None,
                "data": group.task.info.identity.value,
            }
        )
        self._enabled = not group.selector.selector.needs_context

    def path(self, ids: Sequence[str], grids: Sequence[Grid]) -> Path:
        """File of the scores of these images on these grids."""
        name = digest([list(ids), [list(grid) for grid in grids]])[:24]
        return self._store.root / "scores" / self._key[:32] / f"{name}.safetensors"

    def spans(self) -> int:
        """Number of spans with stored scores."""
        folder = self._store.root / "scores" / self._key[:32]
        return sum(1 for _ in folder.glob("*.safetensors")) if self._enabled else 0

    def get(self, ids: Sequence[str], grids: Sequence[Grid]) -> CachedScores | None:
        """Scores of these images; None if they are not stored, or damaged (with a notice)."""
        path = self.path(ids, grids)
        if not self._enabled or not path.exists():
            return None
        sizes = [gh * gw for gh, gw in grids]
        try:
            tensors = load(path.read_bytes())
            flat = tensors["scores"]
            intact = hashlib.sha256(flat.tobytes()).digest() == tensors["sha256"].tobytes()
        except (OSError, SafetensorError, KeyError, ValueError):
            intact = False
        if not intact or flat.dtype != np.float32 or flat.shape != (sum(sizes),):
            self._notice(f"cached scores in {path} are damaged: they are computed again")
            return None
        parts = np.split(flat, np.cumsum(sizes)[:-1])
        scores = [part.reshape(grid) for part, grid in zip(parts, grids, strict=True)]
        if not {"cost", "machine"} <= tensors.keys():  # written by an older version
            return CachedScores(scores, None)
        ms, gflops = (float(part) for part in tensors["cost"])
        return CachedScores(scores, ScoreCost(ms, tensors["machine"].tobytes().decode(), gflops))

    def put(self, ids: Sequence[str], grids: Sequence[Grid], scores: Sequence[np.ndarray], cost: ScoreCost) -> None:
        """Store scores and their cost. Raises ResultsError if the disk is full."""
        if not self._enabled or not scores:
            return
        flat = np.concatenate([np.ascontiguousarray(part, dtype=np.float32).ravel() for part in scores])
        checksum = np.frombuffer(hashlib.sha256(flat.tobytes()).digest(), dtype=np.uint8)
        tensors = {
            "scores": flat,
            "sha256": checksum,
            "cost": np.array([cost.ms, cost.gflops]),
            "machine": np.frombuffer(cost.machine.encode(), dtype=np.uint8),
        }
        self._store.write(self.path(ids, grids), save(tensors), sync=False)
