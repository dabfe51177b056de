"""Options of the supervised selectors: ViT (Grad-CAM, attention rollout), EViT, DynamicViT, Cropr, GFNet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ltrp_bench.harness.training.options.training import Stem, TrainingOptions


@dataclass(frozen=True, kw_only=True)
class LabeledShapesOptions:
    """Options of the labeled images of `shapes` and of the initial weights."""

    fold: int = field(default=0, metadata={"help": "Which half of the categories is labeled.", "min": 0, "max": 1})
    init: str = field(
        default="mae.shapes",
        metadata={"help": "Weights to start from: a masked autoencoder, or a ViT trained on the same fold."},
    )
    num_images: int = field(
        default=40_000, metadata={"help": "Number of different images of shapes.", "min": 1, "flag": "--pictures"}
    )


@dataclass(frozen=True, kw_only=True)
class SupervisedOptions(LabeledShapesOptions):
    """Options of a ViT classifier, plain or with token pruning.

    An object fills a twentieth of an image, and a small plain ViT that is trained on whole images stays at chance for
    a long time. Two things help: a convolutional stem with a classifier of its own during training, and windows around
    the labeled object that widen to the whole image.
    """

    stem: Stem = field(
        default="conv",
        metadata={"help": "Patch embedding: a small convolutional network, or the autoencoder's linear projection."},
    )
    """A ViT to start from keeps its own."""
    window: tuple[int, ...] = field(
        default=(12,),
        metadata={
            "help": "Side, in patches, of the window shown around the labeled object; repeat for a curriculum "
            "(vit only)."
        },
    )
    """Each for an equal share of the training; 12 is the whole image."""
    smoothing: float = field(default=0.1, metadata={"help": "Label smoothing.", "min": 0, "max": 0.9})
    stem_loss: float = field(
        default=0.5, metadata={"help": "Weight of the loss of a classifier on the stem's tokens (vit only).", "min": 0}
    )


@dataclass(frozen=True, kw_only=True)
class CroprOptions(SupervisedOptions):
    """Options of a Cropr (Bergner et al., CVPR 2025)."""

    pruning_rate: int | None = field(
        default=None,
        metadata={
            "help": "Number of tokens that each module drops, the first one more; by default nine tenths of the "
            "patches in all.",
            "min": 1,
        },
    )
    last_layer_fusion: bool = field(
        default=False, metadata={"help": "Append the dropped tokens before the last block."}
    )


@dataclass(frozen=True, kw_only=True)
class GFNetOptions(LabeledShapesOptions):
    """Options of a GFNet and its three stages (Wang et al., NeurIPS 2020)."""

    stage_iterations: tuple[int, int, int] = field(
        default=(3000, 1500, 1000), metadata={"help": "Iterations of the three stages.", "min": 0}
    )
    stage_lr: tuple[float, float, float] = field(
        default=(1e-3, 1e-3, 3e-4), metadata={"help": "Peak learning rate of each stage."}
    )
    crop: int = field(default=48, metadata={"help": "Side of a crop in pixels.", "min": 8})
    glances: int = field(
        default=5, metadata={"help": "Number of inputs per image: the glance and the crops.", "min": 2}
    )
    pool: Literal["avg", "max", "token"] = field(
        default="avg", metadata={"help": "Pooling of a crop's tokens for the classifier."}
    )
    hidden: int = 256
    """Width of the GRUs of the policy and of the classifier."""
    encoder_loss: float = 1.0
    """Weight of the encoders' own classifiers in stages 1 and 3 (released code: 1)."""


@dataclass(frozen=True, kw_only=True)
class GFNetTrainingOptions(TrainingOptions):
    """Options of GFNet's loops; iterations and learning rate belong to the stages."""

    iterations: int = 1
    lr: float = 1e-3
    accumulate: int = 1
