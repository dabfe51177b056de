"""Small records and run folders, made by hand so that the tests need no other room."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ltrp_bench.results.schema.record import (
    CellRecord,
    Identity,
    SelectorInfo,
    TaskInfo,
    cell_fingerprint,
)
from ltrp_bench.results.schema.rows import MetricRow
from ltrp_bench.results.store.run_store import RunStore

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
    version: int = 1,
    label_sets: tuple[str, ...] = ("imagenet1k",),
    **task_options: Any,
) -> CellRecord:
    own = Identity.of({"name": selector, "weights": weights, "version": version})
    defaults = {"limit": None, "label_set": "imagenet1k", "narrow_as": "seen"}
    what = Identity.of({"name": task, **defaults, **task_options})
    rows = [
        MetricRow("coverage", group, None, value, 10)
        for group, value in zip(("all", "seen", "unseen"), values, strict=True)
    ]
    rows += [
        MetricRow("coverage", "seen", "a", 0.1 + 0.2, 6),
        MetricRow("coverage", "unseen", "b", math.nan, 4),
        MetricRow("coverage", "narrow", None, math.nan, 0),
        MetricRow("other", "all", None, 1e-300, 1),
    ]
    return CellRecord(
        fingerprint=cell_fingerprint(own.value, what.value, keep_ratio, seed, reduction),
        selector=SelectorInfo(selector, "labels" if label_sets else "self", label_sets, stochastic, own),
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


IMAGES = [f"image {i}" for i in range(120)]
SCHEMA = {"category": "string", "kept": "float64"}
RATIOS = (0.25, 0.5, 1.0)


class World:
    """A run folder whose cells have one object per image, seen (a) or unseen (b)."""

    images, ratios, schema = IMAGES, RATIOS, SCHEMA

    def __init__(self, root: Path, make: MakeRecord) -> None:
        self.store, self.make = RunStore(root), make
        self.easy = np.random.default_rng(1).random(len(IMAGES))

    def values(self, skill: float, bias: float, ratio: float) -> np.ndarray:
        seen = np.arange(len(IMAGES)) % 2 == 0
        return np.clip(self.easy * 0.3 + (skill + bias * np.where(seen, 0.5, -0.5)) * ratio, 0, 1)

    def cell(
        self, selector: str, ratio: float, skill: float, bias: float = 0.0, summary: bool = True, **options: Any
    ) -> CellRecord:
        kept = self.values(skill, bias, ratio)
        cost = options.pop("cost", None)
        images = {image: [{"category": "ab"[i % 2], "kept": float(kept[i])}] for i, image in enumerate(IMAGES)}
        means = float(kept.mean()), float(kept[::2].mean()), float(kept[1::2].mean())
        record = self.make(selector, ratio, values=means, **options)
        sizes = [MetricRow("coverage_small", "all", None, 0.5, 1), MetricRow("coverage_gap", "all", None, 0.5, 1)]
        record = replace(record, images=len(IMAGES), metrics=(*record.metrics, *sizes))
        arrays = {
            "meta": {
                "kind": "means",
                "images": IMAGES,
                "categories": ["a", "b"],
                "groups": {"all": ["a", "b"], "seen": ["a"], "unseen": ["b"]},
                "metrics": ["coverage"],
            },
            "image": np.arange(len(IMAGES)),
            "category": np.arange(len(IMAGES)) % 2,
            "values": kept[None],
        }
        made = {"machine": "here", "device": "cpu", **({"cost": cost} if cost else {})}
        return self.store.write_cell(record, images, SCHEMA, made, arrays if summary else None)


@pytest.fixture
def world(tmp_path: Path, make_record: MakeRecord) -> World:
    return World(tmp_path / "runs", make_record)


@pytest.fixture(scope="module")
def module_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A run folder shared by all tests of a file, which do not change it."""
    return World(tmp_path_factory.mktemp("world") / "runs", _make)


@pytest.fixture
def other_world(tmp_path: Path, make_record: MakeRecord) -> World:
    """A second run folder."""
    return World(tmp_path / "now", make_record)


class KnownLabels:
    """Label sets over the categories a and b of the test world."""

    def __init__(self) -> None:
        self.contents: dict[str, dict[str, str]] = {
            "imagenet21k": {"a": "seen", "b": "seen"},
            "coco80": {"a": "unseen", "b": "seen"},
            "kinds": {"a": "unseen", "b": "narrow"},
        }

    def category_states(self, label_set: str, categories: Collection[str], /) -> dict[str, str] | None:
        found = self.contents.get(label_set)
        if found is None or not set(categories) <= set(found):
            return None
        return {name: found[name] for name in categories}

    def is_open(self, label_set: str, /) -> bool:
        return label_set == "captions"


@pytest.fixture
def known_labels() -> KnownLabels:
    return KnownLabels()
