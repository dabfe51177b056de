"""Makes small records; rows are made by hand, so that no other room is needed here."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from ltrp_bench.results.record import (
    CellRecord,
    Identity,
    Metric,
    SelectorInfo,
    TaskInfo,
    cell_fingerprint,
)

MakeRecord = Callable[..., CellRecord]


def _make(
    selector: str = "ltrp",
    keep_ratio: float = 0.25,
    seed: int = 0,
    values: tuple[float, float, float] = (0.5, 0.6, 0.4),
    *,
    task: str = "shapes-coverage",
    reduction: str = "none",
    stochastic: bool = False,
    skipped: tuple[str, ...] = (),
    weights: str = "w1",
    limit: int | None = None,
) -> CellRecord:
    own = Identity.of({"name": selector, "weights": weights})
    what = Identity.of({"name": task, "limit": limit})
    rows = [
        Metric("coverage", group, None, value, 10)
        for group, value in zip(("all", "seen", "unseen"), values, strict=True)
    ]
    rows += [
        Metric("coverage", "all", "dog", 0.1 + 0.2, 3),
        Metric("coverage", "narrow", None, math.nan, 0),
        Metric("other", "all", None, 1e-300, 1),
    ]
    return CellRecord(
        fingerprint=cell_fingerprint(own.value, what.value, keep_ratio, seed, reduction),
        selector=SelectorInfo(selector, "labels", ("imagenet21k", "imagenet1k"), stochastic, own),
        task=TaskInfo(task, "coverage", what),
        keep_ratio=keep_ratio,
        seed=seed,
        reduction=reduction,
        images=10 - len(skipped),
        skipped=skipped,
        metrics=tuple(rows),
        records_sha256="",
    )


@pytest.fixture
def make_record() -> MakeRecord:
    """`make_record(selector, keep_ratio, seed, (all, seen, unseen), ...)`."""
    return _make
