"""Options of the task models: classifier, multi-label classifier, segmentor, detector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from ltrp_bench.harness.training.options.training import FileOptions, Pool, Stem, TrainingOptions

NUM_IMAGES: Final = {"help": "Number of different images of shapes.", "min": 1, "flag": "--pictures"}
DATA: Final = {"help": "`shapes`, or the folder of a data set; of the format coco also its JSON file."}
IMAGE_SIZE: Final = {"help": "Side of the input in pixels; by default that of the weights.", "min": 8}
STEM: Final = {"help": "Patch embedding; by default that of the weights."}
INIT: Final = {
    "help": "Weights to start from: a masked autoencoder, a plain ViT or a segmentor; on shapes mae.shapes by default."
}


@dataclass(frozen=True, kw_only=True)
class FineTuningOptions:
    """Options of fine-tuning a plain ViT; the defaults are MAE's for photos (He et al., CVPR 2022, table 9)."""

    init: str | None = field(default=None, metadata=INIT)
    image_size: int | None = field(default=None, metadata=IMAGE_SIZE)
    stem: Stem | None = field(default=None, metadata=STEM)
    layer_decay: float = field(
        default=0.65,
        metadata={"help": "Factor per layer of the learning rate, in (0, 1]; 0.65, on shapes 1.", "optional": True},
    )
    drop_path: float = field(
        default=0.1,
        metadata={"help": "Stochastic depth of the last block, in [0, 1); 0.1, on shapes 0.", "optional": True},
    )
    augment: str = field(
        default="rand-m9-mstd0.5-inc1",
        metadata={"help": "RandAugment in timm's notation, or none; photos only.", "optional": True},
    )
    erasing: float = field(
        default=0.25,
        metadata={"help": "Probability that a rectangle of an image is erased with noise.", "optional": True},
    )
    """timm's random erasing in its "pixel" mode."""
    ema: float = field(
        default=0.0,
        metadata={"help": "Decay of the moving average of the weights, in [0, 1); 0 for none.", "optional": True},
    )
    cache_scores: bool = field(
        default=False,
        metadata={"help": "Score each image once, and crop the scores with the image instead of scoring every crop."},
    )


SHAPES_TUNING: Final[Mapping[str, Any]] = {"layer_decay": 1.0, "drop_path": 0.0, "augment": "none", "erasing": 0.0}
"""Defaults that differ on `shapes`: hue and texture define its categories, so colors are not augmented; its ViTs are
small, so all layers have the same learning rate."""


@dataclass(frozen=True, kw_only=True)
class ClassifierOptions(FileOptions, FineTuningOptions):
    """Options of a single-label classifier."""

    data: str = field(
        default="shapes", metadata={"help": "`shapes`, or a folder with train/CLASS/ (ImageNet-1K or your own)."}
    )
    subset: str = field(default="train", metadata={"help": "Subfolder of the training images."})
    num_images: int = field(default=40_000, metadata=NUM_IMAGES)
    pool: Pool | None = field(
        default=None,
        metadata={
            "help": "What the classifier reads: the class token, or the mean of the patches with a norm; by default as "
            "in the weights, avg if they have no classifier. A head that read the other starts anew."
        },
    )
    smoothing: float = field(default=0.1, metadata={"help": "Label smoothing, in [0, 1)."})
    mixup: float = field(default=0.8, metadata={"help": "Alpha of mixup; 0.8, on shapes 0 (none).", "optional": True})
    cutmix: float = field(default=1.0, metadata={"help": "Alpha of CutMix; 1, on shapes 0 (none).", "optional": True})
    """With both, each batch has one of the two at even odds (timm's `Mixup`)."""


SHAPES_CLASSIFIER: Final[Mapping[str, Any]] = {**SHAPES_TUNING, "mixup": 0.0, "cutmix": 0.0}


@dataclass(frozen=True, kw_only=True)
class MultiLabelOptions(FileOptions, FineTuningOptions):
    """Options of a multi-label classifier: ML-Decoder (WACV 2023) and asymmetric loss (ICCV 2021), Ridnik et al."""

    data: str = field(default="shapes", metadata=DATA)
    form: Literal["coco", "voc", "nuswide"] = field(
        default="coco", metadata={"help": "Format of the data set.", "flag": "--format"}
    )
    subset: str | None = field(
        default=None, metadata={"help": "Subset to train on; train2017 of coco, trainval of voc, train of nuswide."}
    )
    num_images: int = field(default=40_000, metadata=NUM_IMAGES)
    erasing: float = field(
        default=0.0,
        metadata={"help": "Probability that a rectangle of an image is erased with noise.", "optional": True},
    )
    ema: float = field(
        default=0.9997,
        metadata={"help": "Decay of the moving average of the weights, in [0, 1); 0 for none.", "optional": True},
    )
    gamma_neg: float = field(default=4.0, metadata={"help": "Asymmetric loss: focusing exponent of absent categories."})
    gamma_pos: float = field(
        default=0.0, metadata={"help": "Asymmetric loss: focusing exponent of present categories."}
    )
    shift: float = field(
        default=0.05, metadata={"help": "Asymmetric loss: absent categories below this probability cost nothing."}
    )
    dim: int = field(
        default=768, metadata={"help": "Width of the ML-Decoder; 768, on shapes 128.", "min": 1, "optional": True}
    )
    heads: int = field(
        default=8,
        metadata={"help": "Attention heads of the ML-Decoder; 8, on shapes 4.", "min": 1, "optional": True},
    )
    hidden: int = field(
        default=2048,
        metadata={
            "help": "Width of the ML-Decoder's feed-forward layer; 2048, on shapes 256.",
            "min": 1,
            "optional": True,
        },
    )


SHAPES_MULTILABEL: Final[Mapping[str, Any]] = {**SHAPES_TUNING, "dim": 128, "heads": 4, "hidden": 256}


@dataclass(frozen=True, kw_only=True)
class TaskTrainingOptions(TrainingOptions):
    """Options of the loop of classifiers, with a length in iterations or epochs."""

    epochs: int | None = field(
        default=None, metadata={"help": "Passes over the images, instead of --iterations; 100 on photos.", "min": 1}
    )
    iterations: int = field(
        default=3_400, metadata={"help": "Number of iterations; 3400 on shapes.", "min": 1, "optional": True}
    )
    lr: float = field(
        default=1e-3,
        metadata={"help": "Peak learning rate; 1e-3 on shapes, 5e-4 per 256 images on photos.", "optional": True},
    )
    weight_decay: float = field(default=0.05, metadata={"help": "Weight decay of AdamW.", "min": 0})
    betas: tuple[float, float] = (0.9, 0.999)


@dataclass(frozen=True, kw_only=True)
class SegmentorOptions(FileOptions):
    """Options of a plain ViT with a light segmentation head.

    If `init` is a segmentor of the same classes, its head and stem stay.
    """

    data: str = field(default="shapes", metadata=DATA)
    form: Literal["ade20k", "voc", "context", "cocostuff"] = field(
        default="ade20k", metadata={"help": "Format of the data set.", "flag": "--format"}
    )
    subset: str | None = field(
        default=None, metadata={"help": "Subset of the data set; by default its training images."}
    )
    num_images: int = field(default=40_000, metadata=NUM_IMAGES)
    init: str | None = field(default=None, metadata=INIT)
    image_size: int | None = field(default=None, metadata=IMAGE_SIZE)
    head: Literal["linear", "mask-transformer"] = field(
        default="linear", metadata={"help": "Segmentation head behind the ViT."}
    )
    cells: int = field(
        default=1,
        metadata={
            "help": "Predictions along a patch's side, each with a class; 4 on shapes, else 1.",
            "min": 1,
            "optional": True,
        },
    )
    depth: int = field(default=1, metadata={"help": "Number of blocks of the mask transformer.", "min": 1})
    stem: Stem | None = field(
        default=None, metadata={"help": "Patch embedding; by default that of the weights, on shapes conv."}
    )
    missing: Literal["zero", "token"] = field(
        default="token", metadata={"help": "Placeholder of dropped patches in the head's input."}
    )
    stem_loss: float = field(
        default=0.0,
        metadata={
            "help": "Weight of the loss of a linear head on the stem's tokens; 0.5 on shapes, else 0.",
            "min": 0,
            "optional": True,
        },
    )


SHAPES_SEGMENTOR: Final[Mapping[str, Any]] = {"cells": 4, "stem_loss": 0.5}


@dataclass(frozen=True, kw_only=True)
class DetectorOptions:
    """Options of the detectors of `shapes-det`."""

    architecture: Literal["rtmdet", "vit"] = field(
        default="rtmdet", metadata={"help": "Detector: RTMDet, or a plain ViT that drops patches."}
    )
    init: str = field(
        default="mae.shapes",
        metadata={
            "help": "Weights that a vit starts from: a masked autoencoder, a plain ViT, a segmentor or a detector."
        },
    )
    pool: int = 16384
    """Number of different images; each time an image is used, flips, turns and filled patches are drawn again."""


@dataclass(frozen=True, kw_only=True)
class DetectorTrainingOptions(TrainingOptions):
    """Options of the detectors' loop."""

    iterations: int = field(default=4_000, metadata={"help": "Number of optimizer steps.", "min": 1})
    batch_size: int = field(default=32, metadata={"help": "Images per step.", "min": 1})
    lr: float = field(default=2e-3, metadata={"help": "Peak learning rate."})
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float = 35.0
    accumulate: int = 1
    amp: Literal["none", "bfloat16"] = field(default="none", metadata={"help": "Mixed precision."})
    workers: int = 0
    save_every: int = field(default=250, metadata={"help": "Iterations between checkpoints.", "min": 1})
