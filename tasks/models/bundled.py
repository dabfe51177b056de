"""Paths of the bundled task models of `shapes`: for each task, one trained on whole images and one on patches."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ltrp_bench.selectors.errors import InputError

FOLDER = Path(__file__).parents[1] / "weights"


def shipped_model(kind: str, reduction: Literal["drop", "fill"] | None) -> Path:
    """Path of the model that a task of `shapes` loads by default.

    Args:
        kind: "classifier", "detector", "multilabel" or "segmentor".
        reduction: for "fill" the model that was trained on whole images; for "drop" and None the one that was trained
            on random patches at random keep ratios, so that it favors no selector.

    Raises:
        InputError: the file is missing.
    """
    path = FOLDER / f"{kind}.shapes{'' if reduction == 'fill' else '-drop'}.safetensors"
    if not path.is_file():
        raise InputError(
            f"{path.name} is missing: train it with tools/train_shapes_tasks.sh, give another with --model-weights "
            "FILE, or --task-option random_weights=0 for an untrained one"
        )
    return path
