"""`ltrp-bench train classifier|multilabel|segmentor|detector`: models of tasks, on whole images or on kept patches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from ltrp_bench.harness.cli.options import Overrides
from ltrp_bench.harness.cli.train_card import ExportOptions, export_weights, write_card
from ltrp_bench.harness.training.options.tasks import (
    SHAPES_CLASSIFIER,
    SHAPES_MULTILABEL,
    SHAPES_SEGMENTOR,
    ClassifierOptions,
    DetectorOptions,
    DetectorTrainingOptions,
    FineTuningOptions,
    MultiLabelOptions,
    SegmentorOptions,
    TaskTrainingOptions,
)
from ltrp_bench.harness.training.options.training import SHAPES, PatchOptions, TrainingOptions
from ltrp_bench.selectors.errors import UsageError

if TYPE_CHECKING:
    from ltrp_bench.harness.training.data.labelled import TrainingSet

Recipe = TypeVar("Recipe", bound=FineTuningOptions)


def classifier(
    context: typer.Context,
    options: Overrides[ClassifierOptions],
    patches: PatchOptions,
    training: Overrides[TaskTrainingOptions],
    export: ExportOptions,
) -> None:
    """Train a plain ViT with one label per image, by the recipe of MAE's fine-tuning."""
    from ltrp_bench.harness.training.patch_policy import patch_policy
    from ltrp_bench.harness.training.recipes.classifier import classifier_data, train_classifier

    export.set_up()
    policy = patch_policy(patches, patches.domain(options.given["data"]))
    recipe = _recipe(options, SHAPES_CLASSIFIER)
    dataset = classifier_data(recipe)
    loop = _loop(training, dataset)
    made = train_classifier(dataset, recipe, loop, policy, notice=typer.echo)
    export_weights("classifier", made, loop.out, export, context.obj)


def multilabel(
    context: typer.Context,
    options: Overrides[MultiLabelOptions],
    patches: PatchOptions,
    training: Overrides[TaskTrainingOptions],
    export: ExportOptions,
) -> None:
    """Train a plain ViT with an ML-Decoder that predicts every category in an image."""
    from ltrp_bench.harness.training.patch_policy import patch_policy
    from ltrp_bench.harness.training.recipes.multilabel import multilabel_data, train_multilabel

    export.set_up()
    policy = patch_policy(patches, patches.domain(options.given["data"]))
    recipe = _recipe(options, SHAPES_MULTILABEL)
    dataset = multilabel_data(recipe)
    loop = _loop(training, dataset)
    made = train_multilabel(dataset, recipe, loop, policy, notice=typer.echo)
    export_weights("multilabel", made, loop.out, export, context.obj)


def segmentor(
    context: typer.Context,
    options: Overrides[SegmentorOptions],
    patches: PatchOptions,
    training: TrainingOptions,
    export: ExportOptions,
) -> None:
    """Train a plain ViT with a light head that classifies every pixel."""
    from ltrp_bench.harness.training.patch_policy import patch_policy
    from ltrp_bench.harness.training.recipes.segmentor import train_segmentor

    export.set_up()
    shapes = options.given["data"] == SHAPES
    recipe = options.build(**(SHAPES_SEGMENTOR if shapes else {}))
    if shapes and recipe.init is None and recipe.stem is None:
        recipe = replace(recipe, stem="conv")
    made = train_segmentor(recipe, training, patch_policy(patches, patches.domain(recipe.data)))
    export_weights("segmentor", made, training.out, export, context.obj)


def detector(
    context: typer.Context,
    options: DetectorOptions,
    patches: PatchOptions,
    training: DetectorTrainingOptions,
    export: ExportOptions,
) -> None:
    """Train a detector of `shapes-det`: RTMDet on partly filled images, or a plain ViT that drops patches."""
    from ltrp_bench.harness.training.patch_policy import patch_policy
    from ltrp_bench.harness.training.recipes import detector as rtmdet
    from ltrp_bench.harness.training.recipes import vit_detector

    export.set_up()
    policy = patch_policy(patches, patches.domain(SHAPES))
    if options.architecture == "vit":
        config = vit_detector.CONFIG
        state, record = vit_detector.train_vit_detector(options, training, policy)
    elif policy.whole:
        config = rtmdet.CONFIG
        state, record = rtmdet.train_detector(options, training), rtmdet.detector_record(options, training)
    else:
        raise UsageError("--keep-ratio: rtmdet is trained on filled images; add --architecture vit to drop patches")
    if export.export is not None:
        record, arguments = export.shared(record, context.obj)
        rtmdet.export_detector(state, export.export, record, config, export.torch_dtype)
        write_card(export.export, "detector", {"what": "detector", **record}, training.out, arguments)


def _recipe(options: Overrides[Recipe], on_shapes: Mapping[str, Any]) -> Recipe:
    """Options of the recipe, with the defaults of the data and the weights to start from."""
    from ltrp_bench.harness.training.fine_tuning import initial_weights

    shapes = options.given["data"] == SHAPES
    recipe = options.build(**(on_shapes if shapes else {}))
    return replace(recipe, init=initial_weights(recipe.init, shapes))


def _loop(training: Overrides[TaskTrainingOptions], dataset: TrainingSet) -> TaskTrainingOptions:
    """Options of the loop: on photos MAE's length and learning rate, unless they are given."""
    from ltrp_bench.harness.training.task_tuning import with_epochs

    iterations, lr = training.given.get("iterations"), training.given.get("lr")
    if not dataset.synthetic:
        return with_epochs(training.build(clip=0.0), dataset.count, iterations=iterations, lr=lr)
    options = training.build()
    if options.epochs is None:
        return options
    return replace(with_epochs(options, dataset.count, iterations=iterations, lr=options.lr), warmup=options.warmup)
