"""A task and selectors as small as their interfaces allow, for tests of the sweep."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ltrp_bench.harness.evaluation.loading import LoadedSpan, load_spans
from ltrp_bench.harness.evaluation.options import SweepOptions
from ltrp_bench.harness.evaluation.plan import CellGroup, SelectorEntry, TaskEntry, plan, selector_entry, task_entry
from ltrp_bench.harness.evaluation.sweep import run_sweep
from ltrp_bench.results.schema.record import CellRecord
from ltrp_bench.results.store.run_store import RunStore
from ltrp_bench.selectors.base import BatchContext, Selector, Supervision
from ltrp_bench.selectors.controls import FullControl, OracleControl, RandomControl
from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.base import Downsample, MetricRow, ReducedInput, Row, Sample, Task

PATCH = 8


class ToyTask(Task):
    """Images of two sizes with one bright square each: how much of it is kept, seen and unseen."""

    name = "toy-coverage"
    domain = "shapes"
    reduction = "fill"
    headline = "coverage"
    supports_downsample = True
    row_schema: Mapping[str, str] = {
        "category": "string",
        "kept": "float64",
        "patches": "int64",
        "raw": "binary",
    }

    def __init__(self, images: int = 150, bad: Sequence[int] = (), pause: float = 0.0) -> None:
        self.images, self.bad, self.pause = images, frozenset(bad), pause

    def identity(self) -> dict[str, Any]:
        return {"name": self.name, "images": self.images}

    def image_id(self, index: int) -> str:
        return f"toy {index}"

    def __len__(self) -> int:
        return self.images

    def load(self, index: int) -> Sample:
        if index in self.bad:
            raise InputError(f"image toy {index} is corrupt")
        time.sleep(self.pause)
        rng = np.random.default_rng(index)
        size = (32, 48) if index % 3 else (40, 40)
        image = rng.integers(0, 120, (*size, 3), dtype=np.uint8)
        top, left = int(rng.integers(0, size[0] - 12)), int(rng.integers(0, size[1] - 12))
        image[top : top + 12, left : left + 12] += 100
        mask = np.zeros(size, dtype=bool)
        mask[top : top + 12, left : left + 12] = True
        return Sample(self.image_id(index), image, (mask, "ab"[index % 2]))

    def grid(self, sample: Sample) -> tuple[int, int]:
        return sample.image.shape[0] // PATCH, sample.image.shape[1] // PATCH

    def oracle_scores(self, sample: Sample) -> np.ndarray:
        gh, gw = self.grid(sample)
        return sample.annotations[0].reshape(gh, PATCH, gw, PATCH).mean((1, 3), dtype=np.float32)

    def predict(self, samples: Sequence[Sample], reductions: Sequence[ReducedInput]) -> list[list[Row]]:
        out = []
        for sample, reduction in zip(samples, reductions, strict=True):
            share = self.oracle_scores(sample)
            shrunk = isinstance(reduction, Downsample)
            mask = np.full(share.shape, reduction.keep_ratio) if shrunk else reduction.mask
            row = {
                "category": sample.annotations[1],
                "kept": np.float32((share * mask).sum() / share.sum()),
                "patches": int(np.asarray(mask).sum()),
                "raw": np.packbits(np.asarray(mask) > 0).tobytes(),
            }
            out.append([row] if int(sample.image_id.split()[1]) % 7 else [])
        return out

    def compute_metrics(self, records: Mapping[str, list[Row]]) -> list[MetricRow]:
        rows = [row for image in records.values() for row in image]
        groups = {"all": "ab", "seen": "a", "unseen": "b"}
        out = []
        for group, letters in groups.items():
            kept = [row["kept"] for row in rows if row["category"] in letters]
            out.append(MetricRow("coverage", group, None, float(np.mean(kept)) if kept else float("nan"), len(kept)))
        return [*out, MetricRow("coverage", "narrow", None, float("nan"), 0)]


class SlowToyTask(ToyTask):
    """A `ToyTask` slow enough to be killed while it runs."""

    def __init__(self) -> None:
        super().__init__(images=400, pause=0.002)


class NetSelector(Selector):
    """An untrained net: scores whose arithmetic goes through convolutions and a softmax."""

    name = "net"
    supervision = Supervision.labels("toy-seen")
    patch_size = PATCH

    def __init__(self) -> None:
        self.calls: Counter[int] = Counter()
        generator = torch.Generator().manual_seed(7)
        self.net = nn.Conv2d(3, 16, PATCH, PATCH)
        for parameter in self.net.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.1

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        self.calls["images"] += len(images)
        hidden = torch.relu(self.net(images))
        tokens = hidden.flatten(2)
        return (tokens.transpose(1, 2) @ tokens).softmax(-1).sum(1).view(len(images), *hidden.shape[2:])


class PlainSelector:
    """A third-party selector: no base class, no context, its own input size."""

    name = "plain"
    supervision = Supervision.none()
    mean = (0.5, 0.5, 0.5)
    std = (0.5, 0.5, 0.5)
    input_size = (64, 64)

    def scores(self, images: Tensor) -> Tensor:
        assert images.shape[2:] == (64, 64)
        return torch.nn.functional.avg_pool2d(images.mean(1, keepdim=True), 16)[:, 0]


class BrokenSelector(PlainSelector):
    """Scores are NaN."""

    name = "broken"

    def scores(self, images: Tensor) -> Tensor:
        return super().scores(images) * float("nan")


class Recorder:
    """A `Progress` that records its calls and raises `error` after `interrupt_after` further spans."""

    def __init__(self, interrupt_after: int | None = None, error: type[BaseException] = KeyboardInterrupt) -> None:
        self.notices: list[str] = []
        self.labels: list[str] = []
        self.total = self.done = self.worked = self.spans = 0
        self.interrupt_after, self.error = interrupt_after, error

    def start(self, images: Mapping[str, int]) -> None:
        self.total = sum(images.values())

    def current(self, label: str) -> None:
        self.labels.append(label)

    def advance(self, key: str, images: int, seconds: float | None) -> None:
        self.done += images
        if seconds is not None:
            self.worked += images
            if self.spans == self.interrupt_after:
                raise self.error
            self.spans += 1

    def notice(self, line: str) -> None:
        self.notices.append(line)


def entries(task: Task, *selectors: Any) -> list[tuple[SelectorEntry, TaskEntry]]:
    own = task_entry(task)
    return [(selector_entry(one, one.name, {"name": one.name}), own) for one in selectors]


def toy_groups(
    task: Task | None = None,
    selectors: Sequence[Any] | None = None,
    ratios: Sequence[float] = (0.25, 0.5),
    seeds: Sequence[int] = (0, 1),
    notice: Callable[[str], None] = lambda line: None,
) -> list[CellGroup]:
    if selectors is None:
        selectors = (
            NetSelector(),
            RandomControl(PATCH),
            OracleControl(PATCH),
            FullControl(PATCH),
            PlainSelector(),
        )
    return plan(entries(ToyTask() if task is None else task, *selectors), ratios, seeds, notice)


def sweep(out: Path, recorder: Recorder | None = None, groups: Any = None, **options: Any) -> list[CellRecord]:
    groups = toy_groups() if groups is None else groups
    return run_sweep(groups, RunStore(out), SweepOptions(**options), recorder or Recorder())


def small_sweep(out: Path, progress: Recorder | None = None) -> None:
    """A sweep of two spans, which takes a fraction of a second."""
    sweep(out, progress, toy_groups(ToyTask(100), ratios=(0.25,)), workers=0)


def load(task: Task, first: int, end: int) -> LoadedSpan:
    """The images of one span, loaded in this thread."""
    (loaded,) = load_spans([(task, (first, end))], workers=0, skip_unreadable=True)
    return loaded


def contents(out: Path) -> dict[str, bytes]:
    """Bytes of every file that is part of a result, by path."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for folder in ("cells", "records")
        for path in sorted((out / folder).iterdir())
    }


if __name__ == "__main__":
    # Started and killed by test_resume; argument: the run folder.
    import sys

    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sweep(Path(sys.argv[1]), groups=toy_groups(SlowToyTask()), workers=2)
