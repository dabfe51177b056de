"""Builder of detection tasks, with COCO's metric or VOC's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.data.voc import VocDataset
from ltrp_bench.tasks.data_sources import Data, open_objects, split_of
from ltrp_bench.tasks.models.bundled import shipped_model
from ltrp_bench.tasks.models.class_order import read_class_names
from ltrp_bench.tasks.options import DetectionOptions, ShapesData, VocDetectionOptions

if TYPE_CHECKING:
    from ltrp_bench.tasks.detection import DetectionTask
    from ltrp_bench.tasks.task_spec import TaskSpec


def build_detection(spec: TaskSpec, data: Data, options: DetectionOptions) -> DetectionTask:
    """Build a detection task, with VOC's own metric if the options are those of VOC."""
    from ltrp_bench.tasks.detection import DetectionTask
    from ltrp_bench.tasks.models.detectors.loading import load_detector
    from ltrp_bench.tasks.voc_detection import VocDetectionTask

    config, weights = options.model, options.model_weights
    if isinstance(data, ShapesData):
        config, weights = _shapes_detector(options)
    elif config is None:
        raise UsageError(
            f"{spec.name} needs a detector: --model an mmdet config's name or file, and --model-weights its checkpoint"
        )
    dataset = open_objects(data)
    detector = load_detector(
        config,
        weights=weights,
        random_weights=options.random_weights,
        classes=read_class_names(options.classes),
        ema=options.ema,
        device=options.device,
    )
    split = split_of(spec, data, options)
    if isinstance(options, VocDetectionOptions):
        return VocDetectionTask(
            spec.name,
            cast(VocDataset, dataset),
            split,
            detector,
            patch=options.patch,
            score_threshold=options.score_threshold,
            narrow_as=options.narrow_as,
            reduction=options.reduction,
            rule=options.rule,
        )
    return DetectionTask(
        spec.name,
        dataset,
        split,
        detector,
        patch=options.patch,
        score_threshold=options.score_threshold,
        narrow_as=options.narrow_as,
        reduction=options.reduction,
    )


def _shapes_detector(options: DetectionOptions) -> tuple[str | Path, str | Path | None]:
    """Config and weights of a detector for `shapes`; the shipped ones by default."""
    from ltrp_bench.tasks.models.detectors.loading import SHAPES_CONFIG, SHAPES_VIT_CONFIG, SHAPES_WEIGHTS

    drop = options.reduction == "drop"
    weights = options.model_weights
    if options.model is None and weights is None and options.random_weights is None:
        weights = shipped_model("detector", "drop") if drop else SHAPES_WEIGHTS
        if not weights.is_file():
            raise InputError(f"{weights} does not exist; create it with `ltrp-bench train detector`")
    return options.model or (SHAPES_VIT_CONFIG if drop else SHAPES_CONFIG), weights
