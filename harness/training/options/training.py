"""Options shared by several training recipes: those of the loop, and of the patches that a batch keeps.

The modules of this folder import neither torch nor the recipes, so that `--help` is quick. A field with a help text is
an option of the command line (see `harness/cli/options.py`); "optional" ones have a default that depends on the data.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

Amp = Literal["none", "float16", "bfloat16"]
Device = Literal["auto", "cpu", "cuda"]
LogTo = Literal["tensorboard", "wandb", "mlflow"]
Stem = Literal["conv", "patch"]
"""Patch embedding of a plain ViT: a small convolutional network, or one linear projection."""

Pool = Literal["token", "avg"]
"""What a classifier reads: the class token, or the mean of the patches with a norm behind it."""

SHAPES = "shapes"
"""Name of the built-in data set."""


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """What a training may be told about the files of its data set, by the options that tasks have."""

    task_option: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "Option of the data set, as of the task on it: annotations, images, masks, classes, labels, exif, "
            "zero_based, limit; repeat.",
            "metavar": "key=value",
        },
    )
    strict: bool = field(
        default=False, metadata={"help": "Refuse annotations and files that would be left out or changed."}
    )


NO_OPTIONS: Final = FileOptions()
"""Nothing is said about the files."""

# What makes the weights: the keys of training.json and of the cards. Paths, device and the like are left out.
RECIPE_KEYS = ("iterations", "batch_size", "lr", "weight_decay", "betas", "clip", "accumulate", "amp", "seed")


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """Options of the training loop: AdamW with a linear warm-up and a cosine decay to zero."""

    out: Path = field(metadata={"help": "Folder of checkpoints and logs."})
    iterations: int = field(
        default=3_400,
        metadata={"help": "Number of iterations; --accumulate of them make an optimizer step.", "min": 1},
    )
    batch_size: int = field(default=64, metadata={"help": "Images per iteration and process.", "min": 1})
    lr: float = field(default=1.5e-3, metadata={"help": "Peak learning rate."})
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.95)
    warmup: int = 200
    """Iterations of the warm-up, at most a tenth of the training."""
    clip: float = 1.0
    """Largest norm of the gradient; 0 does not clip."""
    accumulate: int = field(
        default=1, metadata={"help": "Iterations per optimizer step (gradient accumulation).", "min": 1}
    )
    amp: Amp = field(default="none", metadata={"help": "Mixed precision; float16 needs a GPU."})
    workers: int = field(default=1, metadata={"help": "Data loader processes; affects speed only.", "min": 0})
    save_every: int = field(default=500, metadata={"help": "Iterations between checkpoints.", "min": 1})
    log_every: int = 50
    log_to: tuple[LogTo, ...] = field(
        default=("tensorboard",),
        metadata={"help": "Where the curves go, besides the log file; wandb and mlflow are extras; repeat."},
    )
    skip_bad_images: bool = field(
        default=False, metadata={"help": "Draw other images instead of unreadable ones, which are reported."}
    )
    seed: int = field(default=0, metadata={"help": "Seed of weights, image order, augmentation and masks.", "min": 0})
    device: Device = field(default="auto", metadata={"help": "Where to train; use torchrun for several GPUs."})

    @property
    def images_drawn(self) -> int:
        """Images drawn over the whole training, by all processes."""
        return self.iterations * self.batch_size * int(os.environ.get("WORLD_SIZE", "1"))

    def recipe(self) -> dict[str, Any]:
        """The options that determine the weights, with the warm-up as it is used."""
        return {**{key: getattr(self, key) for key in RECIPE_KEYS}, "warmup": min(self.warmup, self.iterations // 10)}


@dataclass(frozen=True, kw_only=True)
class PatchOptions:
    """Options of the patches that a training batch keeps."""

    selector: str | None = field(
        default=None, metadata={"help": "Selector that chooses the kept patches; random smooth fields by default."}
    )
    keep_ratio: str = field(
        default="1",
        metadata={
            "help": "Share of patches to keep, in (0, 1]; random: a different share for each batch.",
            "metavar": "R | random",
        },
    )
    weights: str | None = field(default=None, metadata={"help": "Weights of the selector.", "metavar": "FILE"})
    selector_option: tuple[str, ...] = field(
        default=(), metadata={"help": "Option of the selector; repeat.", "metavar": "key=value"}
    )
    fold: int = field(
        default=0,
        metadata={
            "help": "On shapes: which half of the categories supervised selectors were trained on.",
            "min": 0,
            "max": 1,
        },
    )

    def domain(self, data: str) -> tuple[str, ...]:
        """Tags of the bundled weights of selectors on these images."""
        return (SHAPES, f"{SHAPES}{self.fold}") if data == SHAPES else ("photos",)
