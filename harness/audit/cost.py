"""What a selector costs beside the model that it is to save work: operations counted, and time in the same run.

A selector that costs as much as the model saves nothing, however well it ranks.
"""

from __future__ import annotations

import difflib
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import torch

from ltrp_bench.harness.audit.subject import AuditImages, Subject
from ltrp_bench.harness.evaluation.flops import count_flops
from ltrp_bench.harness.evaluation.scorer import Scorer
from ltrp_bench.selectors.errors import UsageError

SHAPES_DETECTOR: Final = "shapes-detector"
"""The detector of `shapes-det`, by the name that --cost-model knows it by."""

DEFAULT: Final = {"shapes": SHAPES_DETECTOR, "photos": "vit_base_patch16_224"}
"""The model of each domain of images."""

ROUNDS: Final = 5
TIMED: Final = 8
"""Images of a round, or one whole batch if that is more."""

Run = Callable[[AuditImages], object]


@dataclass(frozen=True)
class Cost:
    """Of one image.

    Attributes:
        images_per_second: of the selector, resizing and normalising included, `batch` images at a time.
        gflops: floating-point operations of the selector, in units of 1e9; a multiplication and an addition are two.
            Matrix products and convolutions alone are counted.
        model: what it is compared with.
        model_images_per_second, model_gflops: likewise.
        time_share, flops_share: the selector's cost by the model's.
        batch: images at a time.
    """

    images_per_second: float
    gflops: float
    model: str
    model_images_per_second: float
    model_gflops: float
    time_share: float
    flops_share: float
    batch: int

    def json(self) -> dict[str, Any]:
        """For the JSON file."""
        return asdict(self)


def measure_cost(subject: Subject, audit_images: AuditImages, name: str) -> Cost:
    """Count and time a selector and a model on the same images, in turns, so that both see the same machine.

    Args:
        subject: the selector.
        images: of one size; the first `TIMED` of them, or a batch, are used.
        name: `SHAPES_DETECTOR`, or a timm model's name (untrained: that changes no cost).

    Raises:
        UsageError: timm knows no such model.
    """
    some = audit_images.at(range(min(max(TIMED, subject.together), len(audit_images))))
    batch = min(subject.together, len(some))
    scorer = Scorer(subject.selector, torch.device(subject.device), batch)

    def select(given: AuditImages) -> object:
        return scorer.scores(given.samples, given.grids, 0, given.objects)

    model = _model(name, subject.device, batch)
    one = some.at([0])
    flops, model_flops = count_flops(lambda: select(one)), count_flops(lambda: model(one))
    seconds, model_seconds = _times(select, model, some, subject.device)
    return Cost(
        images_per_second=1 / seconds,
        gflops=flops / 1e9,
        model=name,
        model_images_per_second=1 / model_seconds,
        model_gflops=model_flops / 1e9,
        time_share=seconds / model_seconds,
        flops_share=flops / model_flops,
        batch=batch,
    )


def _times(first: Run, second: Run, audit_images: AuditImages, device: str) -> tuple[float, float]:
    """Median seconds an image of each, run in turns; the first round only warms up."""
    taken: tuple[list[float], list[float]] = ([], [])
    for turn in range(ROUNDS + 1):
        for run, times in zip((first, second), taken, strict=True):
            began = time.perf_counter()
            run(audit_images)
            if device.startswith("cuda"):
                torch.cuda.synchronize(device)
            if turn:
                times.append((time.perf_counter() - began) / len(audit_images))
    return statistics.median(taken[0]), statistics.median(taken[1])


def check_model(name: str) -> None:
    """UsageError unless `name` is one that `measure_cost` knows."""
    import timm

    known = [SHAPES_DETECTOR, *timm.list_models()]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"--cost-model {name}: no such model of timm{hint} ({SHAPES_DETECTOR!r}, or 'none')")


def _model(name: str, device: str, batch: int) -> Run:
    """Runs the model over images, `batch` at a time."""
    if name == SHAPES_DETECTOR:
        return _detector(device, batch)
    import timm

    check_model(name)
    model = timm.create_model(name, pretrained=False).to(device).eval()
    channels, height, width = model.default_cfg["input_size"]
    images = torch.zeros(batch, channels, height, width, device=device)

    def run(audit_images: AuditImages) -> None:
        with torch.inference_mode():
            for first in range(0, len(audit_images), batch):
                model(images[: len(audit_images) - first])

    return run


def _detector(device: str, batch: int) -> Run:
    """The detector of the built-in world on whole images, boxes and all, as `shapes-det` runs it."""
    from ltrp_bench.tasks.base import Keep
    from ltrp_bench.tasks.data.shapes.world import PATCH
    from ltrp_bench.tasks.models.detectors.loading import SHAPES_CONFIG, SHAPES_WEIGHTS, load_detector
    from ltrp_bench.tasks.models.detectors.running import DetectorRunner
    from ltrp_bench.tasks.models.reduction import patch_grid

    runner = DetectorRunner(
        load_detector(SHAPES_CONFIG, SHAPES_WEIGHTS, device=device), patch=PATCH, score_threshold=0.0
    )

    def run(audit_images: AuditImages) -> None:
        for first in range(0, len(audit_images), batch):
            prepared = [runner.prepare(one.image) for one in audit_images.samples[first : first + batch]]
            grids = [patch_grid(one.content.shape[0], one.content.shape[1], PATCH) for one in prepared]
            runner.rows(prepared, [Keep(np.ones(grid, bool)) for grid in grids])

    return run
