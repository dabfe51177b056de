"""Cost of a selector compared with a model: operations, and time in the same run.

A selector that costs as much as the model saves nothing, however well it ranks.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import torch

from ltrp_bench.harness.audit.audit_images import AuditImages
from ltrp_bench.harness.evaluation.flops import count_flops
from ltrp_bench.harness.evaluation.scorer import Scorer
from ltrp_bench.selectors.base import Selector
from ltrp_bench.selectors.errors import UsageError, near_or

SHAPES_DETECTOR: Final = "shapes-detector"
"""Name of the detector of `shapes-det` for --cost-model."""

DEFAULT: Final = {"shapes": SHAPES_DETECTOR, "photos": "vit_base_patch16_224"}
"""Default model of each domain."""

ROUNDS: Final = 5
TIMED_IMAGES: Final = 8
"""Number of images of a round; a whole batch if that is more."""

Run = Callable[[AuditImages], object]


@dataclass(frozen=True)
class Cost:
    """Cost per image, of a selector and of a model.

    Attributes:
        images_per_second: throughput of the selector at this batch size, resizing and normalizing included.
        gflops: floating-point operations of the selector, in units of 1e9; a multiplication and an addition are two.
            Only matrix products and convolutions are counted.
        model: name of the model.
        model_images_per_second, model_gflops: the same of the model.
        time_share, flops_share: the selector's time and operations divided by the model's.
        batch: number of images per call.
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
        """Entry of the audit's JSON file."""
        return asdict(self)


def measure_cost(selector: Selector, model: str, images: AuditImages, *, device: str, batch_size: int) -> Cost:
    """Count and time a selector and a model on the same images, in turns, so that both see the same machine.

    Args:
        selector: the selector.
        model: `SHAPES_DETECTOR`, or the name of a timm model (untrained: that changes no cost).
        images: images of one size; the first `TIMED_IMAGES` of them, or a batch, are used.
        device: where both run.
        batch_size: number of images per call.

    Raises:
        UsageError: timm has no such model.
    """
    some = images.at(range(min(max(TIMED_IMAGES, batch_size), len(images))))
    batch = min(batch_size, len(some))
    scorer = Scorer(selector, torch.device(device), batch)

    def select(given: AuditImages) -> object:
        return scorer.scores(given.samples, given.grids, 0, given.objects)

    run_model = _model(model, device, batch)
    one = some.at([0])
    flops, model_flops = count_flops(lambda: select(one)), count_flops(lambda: run_model(one))
    seconds, model_seconds = _times(select, run_model, some, device)
    return Cost(
        images_per_second=1 / seconds,
        gflops=flops / 1e9,
        model=model,
        model_images_per_second=1 / model_seconds,
        model_gflops=model_flops / 1e9,
        time_share=seconds / model_seconds,
        flops_share=flops / model_flops,
        batch=batch,
    )


def _times(first: Run, second: Run, images: AuditImages, device: str) -> tuple[float, float]:
    """Median seconds per image of each, run in turns; the first round only warms up."""
    taken: tuple[list[float], list[float]] = ([], [])
    for turn in range(ROUNDS + 1):
        for run, times in zip((first, second), taken, strict=True):
            began = time.perf_counter()
            run(images)
            if device.startswith("cuda"):
                torch.cuda.synchronize(device)
            if turn:
                times.append((time.perf_counter() - began) / len(images))
    return statistics.median(taken[0]), statistics.median(taken[1])


def check_model(name: str) -> None:
    """Raise `UsageError` unless `measure_cost` knows the model."""
    import timm

    known = [SHAPES_DETECTOR, *timm.list_models()]
    if name not in known:
        hint = near_or(name, known, f"give {SHAPES_DETECTOR!r}, 'none', or a model of timm.list_models()")
        raise UsageError(f"--cost-model {name}: timm has no such model; {hint}")


def _model(name: str, device: str, batch: int) -> Run:
    """A function that runs the model on images, `batch` at a time."""
    if name == SHAPES_DETECTOR:
        return _detector(device, batch)
    import timm

    check_model(name)
    model = timm.create_model(name, pretrained=False).to(device).eval()
    channels, height, width = model.default_cfg["input_size"]
    blank = torch.zeros(batch, channels, height, width, device=device)

    def run(images: AuditImages) -> None:
        with torch.inference_mode():
            for first in range(0, len(images), batch):
                model(blank[: len(images) - first])

    return run


def _detector(device: str, batch: int) -> Run:
    """A function that runs the detector of `shapes` on whole images, as `shapes-det` does."""
    from ltrp_bench.tasks.base import Keep
    from ltrp_bench.tasks.data.shapes.world import PATCH
    from ltrp_bench.tasks.models.detectors.loading import SHAPES_CONFIG, SHAPES_WEIGHTS, load_detector
    from ltrp_bench.tasks.models.detectors.running import DetectorRunner
    from ltrp_bench.tasks.models.reduction import patch_grid

    runner = DetectorRunner(
        load_detector(SHAPES_CONFIG, SHAPES_WEIGHTS, device=device), patch=PATCH, score_threshold=0.0
    )

    def run(images: AuditImages) -> None:
        for first in range(0, len(images), batch):
            prepared = [runner.prepare(one.image) for one in images.samples[first : first + batch]]
            grids = [patch_grid(one.content.shape[0], one.content.shape[1], PATCH) for one in prepared]
            runner.rows(prepared, [Keep(np.ones(grid, bool)) for grid in grids])

    return run
