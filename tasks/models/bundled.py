"""The task models of the built-in world that ship: for each task one taught whole images, one random patches."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ltrp_bench.selectors.errors import InputError

FOLDER = Path(__file__).parents[1] / "weights"


def shipped_model(kind: str, reduction: Literal["drop", "fill"] | None) -> Path:
    """The model that a task of `shapes` takes where none is given.

    Args:
        kind: "classifier", "multilabel" or "segmentor".
        reduction: None and "drop" take the one that was taught random patches at random ratios, so that it favours no
            selector; "fill" the one that was taught whole images.

    Raises:
        InputError: it does not lie there.
    """
    path = FOLDER / f"{kind}.shapes{'' if reduction == 'fill' else '-drop'}.safetensors"
    if not path.is_file():
        raise InputError(
            f"{path.name} is not there: make it with tools/train_shapes_tasks.sh, give another with --model-weights "
            "FILE, or --task-option random_weights=0 for an untrained one"
        )
    return path
