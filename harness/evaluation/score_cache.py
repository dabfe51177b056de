"""Scores on disk: a selector is asked once about an image, whatever the number of runs and keep ratios.

One file a chunk of images, under `scores/<key>/`. The key is made of the selector's identity, the seed where
the selector is stochastic, and the data set's identity; the file's name of the images' ids and grids. So a
file is either right or not looked at. Controls that look at ground truth are not cached.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from ltrp_bench.harness.evaluation.plan import CellGroup
from ltrp_bench.harness.evaluation.scorer import Grid
from ltrp_bench.results.schema.record import SCHEMA_VERSION, digest
from ltrp_bench.results.store.run_store import RunStore


@dataclass(frozen=True)
class Cached:
    """What the cache holds of a chunk.

    Attributes:
        scores: [gh, gw] float32 of each image.
        cost: what they cost an image; None if that is not known.
    """

    scores: list[np.ndarray]
    cost: ScoreCost | None


@dataclass(frozen=True)
class ScoreCost:
    """What scores cost.

    Attributes:
        ms: milliseconds an image.
        machine: where.
        gflops: operations in units of 1e9; NaN if they cannot be counted.
    """

    ms: float
    machine: str
    gflops: float


class ScoreCache:
    """The scores of one group of cells.

    Args:
        store: where files are written; under its `scores/`.
        group: whose scores.
        notice: told when a damaged file is computed anew.
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
                "data": _data_identity(group),
            }
        )
        self.enabled = not getattr(group.selector.selector, "needs_context", False)

    def path(self, ids: Sequence[str], grids: Sequence[Grid]) -> Path:
        """The file of these images on these grids."""
        name = digest([list(ids), [list(grid) for grid in grids]])[:24]
        return self._store.root / "scores" / self._key[:32] / f"{name}.safetensors"

    def get(self, ids: Sequence[str], grids: Sequence[Grid]) -> Cached | None:
        """Scores of each image; None if they are not there, or damaged (with a notice)."""
        path = self.path(ids, grids)
        if not self.enabled or not path.exists():
            return None
        sizes = [gh * gw for gh, gw in grids]
        try:
            tensors = load(path.read_bytes())
            flat = tensors["scores"]
            whole = hashlib.sha256(flat.tobytes()).digest() == tensors["sha256"].tobytes()
        except (OSError, SafetensorError, KeyError, ValueError):
            whole = False
        if not whole or flat.dtype != np.float32 or flat.shape != (sum(sizes),):
            self._notice(f"cached scores in {path} are damaged: they are computed anew")
            return None
        parts = np.split(flat, np.cumsum(sizes)[:-1])
        scores = [part.reshape(grid) for part, grid in zip(parts, grids, strict=True)]
        if not {"cost", "machine"} <= tensors.keys():  # of an older version
            return Cached(scores, None)
        ms, gflops = (float(part) for part in tensors["cost"])
        return Cached(scores, ScoreCost(ms, tensors["machine"].tobytes().decode(), gflops))

    def put(self, ids: Sequence[str], grids: Sequence[Grid], scores: Sequence[np.ndarray], cost: ScoreCost) -> None:
        """Keep the scores and what they cost; ResultsError if the disk is full."""
        if not self.enabled or not scores:
            return
        flat = np.concatenate([np.ascontiguousarray(part, dtype=np.float32).ravel() for part in scores])
        checksum = np.frombuffer(hashlib.sha256(flat.tobytes()).digest(), dtype=np.uint8)
        took = {
            "cost": np.array([cost.ms, cost.gflops]),
            "machine": np.frombuffer(cost.machine.encode(), dtype=np.uint8),
        }
        self._store.write(self.path(ids, grids), save({"scores": flat, "sha256": checksum, **took}))


def _data_identity(group: CellGroup) -> Any:
    """What makes the images: the task's own word for it, or else its whole identity."""
    own = getattr(group.task.task, "data_identity", None)
    return own() if callable(own) else group.task.info.identity.value
