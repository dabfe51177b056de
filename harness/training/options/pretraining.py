"""Options of training without labels: MAE, LTRP's ranker, DINO."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ltrp_bench.harness.training.options.training import TrainingOptions

CROP_SCALE = 0.3
"""Least share of an image's area in a random crop, unless another is given."""


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """Options of the unlabeled training images."""

    data: str = field(default="shapes", metadata={"help": "`shapes`, or a folder of images (searched recursively)."})
    num_images: int = field(
        default=40_000, metadata={"help": "Number of different images of shapes.", "min": 1, "flag": "--pictures"}
    )


@dataclass(frozen=True, kw_only=True)
class CroppedImageOptions(ImageOptions):
    """Options of images of which random crops are taken."""

    crop_scale: float = field(
        default=CROP_SCALE,
        metadata={
            "help": "Least share of an image's area in a random crop, in (0, 1]; 1 takes the whole of every image. "
            "Images of shapes are not cropped."
        },
    )


@dataclass(frozen=True, kw_only=True)
class MaeOptions(CroppedImageOptions):
    """Options of a masked autoencoder (He et al., CVPR 2022; with a cross-attending decoder, Fu et al., 2024)."""

    preset: Literal["tiny", "small", "base", "large", "huge"] = field(
        default="tiny", metadata={"help": "Size of the model."}
    )
    size: int = field(default=96, metadata={"help": "Side of the images in pixels.", "min": 16})
    patch: int = field(default=8, metadata={"help": "Side of a patch in pixels.", "min": 2})
    mask_ratio: float = field(default=0.75, metadata={"help": "Share of patches that are masked, in (0, 1)."})
    init: str | None = field(
        default=None,
        metadata={
            "help": "Initial weights: a file or the tag of bundled ones. Of a file with the other kind of decoder, the "
            "encoder alone."
        },
    )
    norm_pix: bool = field(
        default=True, metadata={"help": "Predict pixels normalized per patch (He et al., section 4.1)."}
    )
    decoder: Literal["self", "cross"] = field(
        default="self",
        metadata={
            "help": "self: all tokens attend to one another (MAE). cross: masked positions attend to the visible "
            "patches only (CrossMAE)."
        },
    )
    decoder_depth: int | None = field(
        default=None, metadata={"help": "Number of decoder blocks; that of the preset by default.", "min": 1}
    )
    predict_ratio: float | None = field(
        default=None,
        metadata={
            "help": "Share of an image's patches that a cross decoder predicts in training; 0.25 by default, a third "
            "of those masked at 0.75."
        },
    )


@dataclass(frozen=True, kw_only=True)
class LtrpOptions(CroppedImageOptions):
    """Options of LTRP's ranker (Luo et al., CVPR 2024)."""

    mae: str = field(metadata={"help": "Frozen MAE or CrossMAE: a file, or a bundled one such as mae.shapes."})
    ranker: Literal["ti", "s", "b", "mae"] = field(
        default="s", metadata={"help": "Size of the ranker; `mae` copies the autoencoder's encoder and its weights."}
    )
    init: str | None = field(
        default=None,
        metadata={
            "help": "Ranker to go on from, instead of --ranker: a file, or a bundled one such as ltrp.photos. Its "
            "patches must be those of --mae; position embeddings are interpolated where the image size differs."
        },
    )
    loss: Literal["list_mle", "list_net", "rank_net", "focused_rank", "pointwise"] = field(
        default="list_mle", metadata={"help": "Ranking loss; the paper uses list_mle."}
    )
    distance: Literal["l1", "l2", "ssim", "psnr", "lpips"] = field(
        default="l1", metadata={"help": "Distance between reconstructions; the paper uses l1."}
    )
    hide: Literal["decoder", "encoder_decoder"] = field(
        default="decoder", metadata={"help": "Part of the autoencoder from which a patch is removed to score it."}
    )
    mask_ratio: float = field(
        default=0.9, metadata={"help": "Share of patches hidden from the autoencoder, in (0, 1)."}
    )
    asymmetric: bool = field(
        default=True, metadata={"help": "Show the ranker the visible patches only, not the whole image."}
    )
    sublist: int = field(
        default=20, metadata={"help": "Patches in each random sub-list of ListMLE; 0 uses the whole list.", "min": 0}
    )
    positions: str = field(
        default="all",
        metadata={
            "help": "Masked positions that a CrossMAE reconstructs: all, a number, or a share such as 0.25.",
            "metavar": "all | N | SHARE",
        },
    )
    samples: int | None = field(
        default=None,
        metadata={
            "help": "Number of these at which a CrossMAE is asked without a patch, drawn for each patch where it "
            "matters; all by default.",
            "min": 1,
        },
    )
    tiles: int = field(
        default=1,
        metadata={
            "help": "Train the ranker on images of N times the autoencoder's side, which scores them in N x N tiles.",
            "min": 1,
            "metavar": "N",
        },
    )


@dataclass(frozen=True, kw_only=True)
class CropOptions:
    """Views of one image (Caron et al., ICCV 2021, section 3.1 and appendix)."""

    local_crops: int = field(
        default=4, metadata={"help": "Number of small crops per image, besides the two large ones.", "min": 0}
    )
    """Each costs about a quarter of a large one."""
    local_size: int = 0
    """Side of a small crop in pixels; 0: half of the image, in whole patches."""
    global_scale: tuple[float, float] = (0.4, 1.0)
    """Range of the share of the image's area in a large crop."""
    local_scale: tuple[float, float] = (0.1, 0.4)
    """Range of the share of the image's area in a small crop."""
    jitter: float = 0.4
    """Strength of the changes of brightness, contrast and saturation; hue turns a quarter as far."""
    jitter_chance: float = 0.8
    """Share of the views with jittered colors."""
    grey_chance: float = 0.2
    """Share of the views turned to grayscale."""


@dataclass(frozen=True, kw_only=True)
class DinoOptions(ImageOptions):
    """Options of DINO's self-distillation (Caron et al., ICCV 2021)."""

    mae: str = field(
        default="mae.shapes", metadata={"help": "Masked autoencoder; the training starts from its encoder."}
    )
    momentum: float = 0.99
    """Momentum of the teacher's moving average at the start; it rises to 1 by a cosine."""
    teacher_temperature: float = 0.04
    """Temperature of the teacher's softmax (sharpening); the student's is 0.1."""
    hidden: int = 512
    """Width of the projection head's hidden layers."""
    bottleneck: int = 64
    """Width of the projection head's last hidden layer."""
    prototypes: int = 1024
    """Outputs of the projection head."""
    freeze_last: float = 0.02
    """Share of the iterations in which the last layer of the head stays fixed."""


@dataclass(frozen=True, kw_only=True)
class DinoTrainingOptions(TrainingOptions):
    """Options of DINO's loop."""

    iterations: int = field(default=2000, metadata={"help": "Number of optimizer steps.", "min": 1})
    lr: float = field(default=2e-4, metadata={"help": "Peak learning rate."})
    weight_decay: float = field(default=0.04, metadata={"help": "Weight decay of AdamW.", "min": 0})
    accumulate: int = 1
