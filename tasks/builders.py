"""Builders of the task families: build a task, its data set and its model from options.

Tasks and models are imported inside the builders, so that the catalog's options can be read without torch or mmdet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.tasks.data.class_masks.regions import MaskRegionDataset
from ltrp_bench.tasks.data.image_labels import MultiLabelDataset
from ltrp_bench.tasks.data.objects import ObjectDataset
from ltrp_bench.tasks.data.semantic import MaskSemanticDataset, SemanticDataset
from ltrp_bench.tasks.data.shapes.semantic import ShapesSemanticDataset
from ltrp_bench.tasks.data.shapes.single_label import ShapesSingleLabelDataset
from ltrp_bench.tasks.data.single_label import SingleLabelDataset
from ltrp_bench.tasks.data.synsets import imagenet_classes
from ltrp_bench.tasks.data_sources import (
    MASK_FOLDERS,
    Data,
    open_clear_masks,
    open_labelled,
    open_nuswide,
    open_objects,
    split_of,
)
from ltrp_bench.tasks.models.bundled import shipped_model
from ltrp_bench.tasks.models.class_order import read_class_names
from ltrp_bench.tasks.options import (
    ClassificationOptions,
    CoverageOptions,
    ImageNetData,
    MultiLabelOptions,
    SegmentationOptions,
    ShapesData,
)
from ltrp_bench.tasks.splits.split import load_split
from ltrp_bench.tasks.untrained import PHOTO_SEGMENTOR, SHAPES_CLASSIFIER, SHAPES_MULTILABEL, SHAPES_SEGMENTOR

if TYPE_CHECKING:
    from ltrp_bench.tasks.classification import ClassificationTask
    from ltrp_bench.tasks.coverage import CoverageTask
    from ltrp_bench.tasks.models.segmentors.running import SegmentorRunner
    from ltrp_bench.tasks.multilabel import MultiLabelTask
    from ltrp_bench.tasks.segmentation import SegmentationTask
    from ltrp_bench.tasks.task_spec import TaskSpec

DEFAULT_PATCH: Final = 16
"""Patch size in pixels for models that do not use patches themselves."""


def build_coverage(spec: TaskSpec, data: Data, options: CoverageOptions) -> CoverageTask:
    """Build a task that measures the coverage of objects, or of segments if the data set has class masks."""
    from ltrp_bench.tasks.coverage import CoverageTask
    from ltrp_bench.tasks.segment_coverage import SegmentCoverageTask

    grid = _two_sides(options.grid)
    if isinstance(data, ShapesData) or spec.dataset not in MASK_FOLDERS:
        dataset = open_objects(data)
        split = split_of(spec, data, options)
        return CoverageTask(spec.name, dataset, split, grid=grid, narrow_as=options.narrow_as, corloc=options.corloc)
    folder = open_clear_masks(spec.dataset, data)
    split = load_split(folder.split if options.split is None else options.split)
    segments = MaskRegionDataset(folder, limit=data.images_in_use, exif=data.exif)
    things = frozenset(load_split("imagenet1k_coco80").states) if spec.dataset == "stuff" else frozenset()
    return SegmentCoverageTask(
        spec.name,
        segments,
        split,
        grid=grid,
        narrow_as=options.narrow_as,
        corloc=options.corloc,
        things=things,
    )


def build_classification(
    spec: TaskSpec, data: ShapesData | ImageNetData, options: ClassificationOptions
) -> ClassificationTask:
    """Build a single-label classification task."""
    from ltrp_bench.tasks.classification import ClassificationTask
    from ltrp_bench.tasks.models.vit.loading import load_timm

    dataset: SingleLabelDataset
    if isinstance(data, ShapesData):
        dataset = ShapesSingleLabelDataset(data.images, seed=data.seed, limit=data.images_in_use)
        weights, config = _weights_or_shipped("classifier", options), SHAPES_CLASSIFIER
    else:
        # A split that lists numbers is for classes of one's own.
        own = any(name.isdecimal() for name in split_of(spec, data, options).states)
        dataset = open_labelled(data, imagenet_indices=not own)
        weights, config = options.model_weights, None
    model = load_timm(
        weights,
        model=options.model,
        random_weights=options.random_weights,
        image_size=options.image_size,
        crop_pct=options.crop_pct,
        heads=options.heads,
        config=config,
        classes=len(dataset.categories),
        mean=options.mean,
        std=options.std,
        ema=options.ema,
        device=options.device,
    )
    if isinstance(data, ImageNetData) and data.classes is not None and model.class_names is None:
        model = replace(model, class_names=dataset.categories)
    if spec.dataset == "imagenet" and options.split is None:
        _check_imagenet(dataset)
    return ClassificationTask(
        spec.name,
        dataset,
        split_of(spec, data, options),
        model,
        reduction=options.reduction,
        patch=options.patch,
        narrow_as=options.narrow_as,
    )


def build_multilabel(spec: TaskSpec, data: Data, options: MultiLabelOptions) -> MultiLabelTask:
    """Build a multi-label classification task."""
    from ltrp_bench.tasks.models.vit.multilabel_models import load_multilabel
    from ltrp_bench.tasks.multilabel import MultiLabelTask

    split = split_of(spec, data, options)
    own_labels = spec.dataset == "nuswide"
    dataset: MultiLabelDataset | ObjectDataset = open_nuswide(data) if own_labels else open_objects(data)
    weights, config = options.model_weights, None
    if isinstance(data, ShapesData):
        weights, config = _weights_or_shipped("multilabel", options), SHAPES_MULTILABEL
    elif weights is None and options.random_weights is None:
        raise UsageError(
            f"{spec.name} needs a model of the data set's {len(dataset.categories)} categories: give its checkpoint "
            "with --model-weights (and a timm name with --model if the file does not contain it), or --task-option "
            "random_weights=SEED for an untrained one"
        )
    model = load_multilabel(
        weights,
        model=options.model,
        random_weights=options.random_weights,
        classes=len(dataset.categories),
        head=options.head,
        image_size=options.image_size,
        config=config,
        mean=options.mean,
        std=options.std,
        ema=options.ema,
        device=options.device,
    )
    if (names := read_class_names(options.classes)) is not None:
        model = replace(model, class_names=names)
    return MultiLabelTask(
        spec.name,
        dataset,
        split,
        model,
        reduction=options.reduction,
        patch=options.patch,
        threshold=options.threshold,
        narrow_as=options.narrow_as,
    )


def build_segmentation(spec: TaskSpec, data: Data, options: SegmentationOptions) -> SegmentationTask:
    """Build a semantic segmentation task."""
    from ltrp_bench.tasks.segmentation import SegmentationTask

    dataset: SemanticDataset
    if isinstance(data, ShapesData):
        runner = _plain_segmentor(_weights_or_shipped("segmentor", options), SHAPES_SEGMENTOR, options)
        dataset = ShapesSemanticDataset(data.images, seed=data.seed, limit=data.images_in_use)
        split = split_of(spec, data, options)
    else:
        folder = open_clear_masks(spec.dataset, data)
        # VOC's benchmark counts background, value 0, as a class; the others do not.
        background = 0 if spec.dataset == "voc" else None
        dataset = MaskSemanticDataset(folder, limit=data.images_in_use, background=background, exif=data.exif)
        runner = _segmentor(dataset, options)
        split = load_split(folder.split if options.split is None else options.split)
    return SegmentationTask(spec.name, dataset, split, runner, narrow_as=options.narrow_as)


def _check_imagenet(dataset: SingleLabelDataset) -> None:
    """Raise UsageError unless the classes are ImageNet-1K's, whose default split counts all of them as seen."""
    if dataset.categories != tuple(imagenet_classes().values()):
        raise UsageError(
            "these are not ImageNet-1K's classes, so it is unknown which of them are seen: give --split FILE"
        )


def _weights_or_shipped(
    kind: str, options: ClassificationOptions | MultiLabelOptions | SegmentationOptions
) -> str | Path | None:
    """The given weights, or else the shipped ones for `shapes`; None for an untrained model."""
    if options.model_weights is None and options.random_weights is None:
        return shipped_model(kind, options.reduction)
    return options.model_weights


def _segmentor(dataset: SemanticDataset, options: SegmentationOptions) -> SegmentorRunner:
    """An mmseg model, or a plain ViT if no config is given."""
    from ltrp_bench.tasks.models.segmentors.loading import load_mmseg
    from ltrp_bench.tasks.models.segmentors.running import MMSegRunner

    if options.model is None:
        if options.patch is not None:
            raise UsageError(f"patch={options.patch}: the patch size of a plain ViT cannot be changed")
        return _plain_segmentor(options.model_weights, {**PHOTO_SEGMENTOR, "classes": list(dataset.classes)}, options)
    if options.reduction == "drop":
        raise UsageError("only a plain ViT can drop patches, models of mmseg cannot: use reduction=fill")
    if options.mean is not None or options.std is not None:
        raise UsageError("mean and std of a model of mmseg are in its config: change them there")
    found = load_mmseg(
        options.model,
        weights=options.model_weights,
        random_weights=options.random_weights,
        classes=read_class_names(options.classes),
        ema=options.ema,
        device=options.device,
    )
    return MMSegRunner(found, DEFAULT_PATCH if options.patch is None else options.patch)


def _plain_segmentor(
    weights: str | Path | None, untrained: Mapping[str, Any], options: SegmentationOptions
) -> SegmentorRunner:
    from ltrp_bench.tasks.models.segmentors.loading import load_plain
    from ltrp_bench.tasks.models.segmentors.running import PlainRunner

    found = load_plain(
        weights,
        config=untrained,
        random_weights=options.random_weights,
        mean=options.mean,
        std=options.std,
        ema=options.ema,
        device=options.device,
    )
    names = read_class_names(options.classes)
    if names is not None and names != found.classes:
        found = replace(found, classes=names, identity={**found.identity, "classes": list(names)})
    return PlainRunner(found, reduction=options.reduction or "drop", device=options.device)


def _two_sides(grid: int | Sequence[int]) -> tuple[int, int]:
    """(gh, gw) from one number or a pair. Raises UsageError."""
    both = tuple(grid) if isinstance(grid, Sequence) else (grid, grid)
    if len(both) != 2:
        raise UsageError(f"grid must be one number or two, got {grid}")
    return both[0], both[1]
