"""Weights of task models: from a checkpoint with its configuration, or from a random seed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ltrp_bench.selectors.checkpoints import Weights, read_weights, stored_config
from ltrp_bench.selectors.errors import UsageError


def check_weights(what: str, weights: str | Path | None, random_weights: int | None) -> None:
    """Checks that exactly one of a checkpoint and a seed is given.

    Args:
        what: the model, for the error message: "detector NAME".
        weights: checkpoint.
        random_weights: seed of an untrained model.

    Raises:
        UsageError: neither or both are given.
    """
    if (weights is None) == (random_weights is None):
        raise UsageError(
            f"{what}: give its checkpoint with --model-weights, or --task-option random_weights=SEED for an untrained "
            "one; " + ("neither was given" if weights is None else "not both")
        )


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside the block torch's random numbers on the CPU follow from `seed`; afterwards they go on as before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def read_float_weights(path: Path, ema: bool | None = None) -> Weights:
    """Weights of a checkpoint, see `read_weights`, with all floating-point tensors as float32."""
    found = read_weights(path, ema)
    state = {key: value.float() if value.is_floating_point() else value for key, value in found.state.items()}
    return replace(found, state=state)


def file_config(path: Path) -> dict[str, Any]:
    """Configuration in the metadata of weights trained with ltrp-bench; empty for other files."""
    return stored_config(path)
