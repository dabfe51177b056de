"""Files of a training run's folder: checkpoints, and the record of its options (training.json)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypedDict

from torch import Tensor

from ltrp_bench.selectors.checkpoints import load_state
from ltrp_bench.selectors.errors import InputError, UsageError

LAST = "last_checkpoint"
TRAINED = "trained."
"""Prefix of the trained module's keys in a checkpoint of `LossModel`."""


class TrainedModel(TypedDict):
    """Result of a recipe.

    Keys:
        state: state dict of the weights.
        config: arguments of the constructor that builds the model.
        training: options and data that made the weights, and the accuracy if it was measured; JSON-able.
    """

    state: dict[str, Tensor]
    config: dict[str, Any]
    training: dict[str, Any]


def write_text(path: Path, text: str) -> None:
    """Write a small file atomically."""
    part = path.with_name(path.name + ".tmp")
    part.write_text(text)
    part.replace(path)


def last_checkpoint(out: Path) -> Path | None:
    """The newest complete checkpoint in the folder of a training run, or None."""
    found = sorted(out.glob("iter_*.pth"), key=lambda f: int(f.stem.split("_")[1]))
    return found[-1] if found else None


def checkpoint_state(out: Path) -> dict[str, Tensor]:
    """State dict of the model in the last checkpoint of `out`; `InputError` if there is none."""
    last = last_checkpoint(out)
    if last is None:
        raise InputError(f"no checkpoint iter_*.pth in {out}: wait until the training has saved one")
    return load_state(last)


def trained_state(out: Path) -> dict[str, Tensor]:
    """State dict of the module that a `LossModel` trained, from the last checkpoint of `out`."""
    state = checkpoint_state(out)
    return {k.removeprefix(TRAINED): v for k, v in state.items() if k.startswith(TRAINED)}


def check_same_training(path: Path, config: dict[str, Any]) -> None:
    """Write the options of a training run to `path`; `UsageError` if it contains those of another run."""
    text = json.dumps(config, sort_keys=True, indent=1)
    if path.is_file() and path.read_text() != text:
        raise UsageError(f"{path.parent} holds a training with other options (see training.json); use another --out")
    write_text(path, text)
