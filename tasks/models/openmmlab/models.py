"""What mmdet's detectors and mmseg's segmentors share: loading weights, test pipelines, the value of dropped pixels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ltrp_bench.selectors.checkpoints import load_state, mismatch
from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.models.openmmlab import setup as openmmlab


def load_weights(model: nn.Module, path: str | Path, what: str) -> None:
    """Load a checkpoint; every parameter must be there, of its shape, and nothing else.

    mmdet's own conversions of older checkpoints apply. Raises InputError naming the keys that do not fit.
    """
    with openmmlab.plain_checkpoints():
        state = load_state(path)
    state = {key: value for key, value in state.items() if not key.startswith("data_preprocessor.")}
    own = model.state_dict()
    shapes = [
        f"{key} {list(value.shape)} instead of {list(own[key].shape)}"
        for key, value in state.items()
        if key in own and own[key].shape != value.shape
    ]
    if shapes:
        raise mismatch(what, state, *_difference(own, state), shapes)
    result = model.load_state_dict(state, strict=False)
    # Counts of batches are not used in evaluation, and old checkpoints lack them.
    missing = [key for key in result.missing_keys if not key.endswith("num_batches_tracked")]
    if missing or result.unexpected_keys:
        raise mismatch(what, state, missing, list(result.unexpected_keys))


def _difference(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> tuple[list[str], list[str]]:
    return [key for key in own if key not in state], [key for key in state if key not in own]


def pipeline_steps(config: Any) -> list[dict[str, Any]]:
    """The config's own test pipeline, less reading files and annotations and packing."""
    data = config.get("test_dataloader", {}).get("dataset", {})
    while "dataset" in data:
        data = data["dataset"]
    steps = data.get("pipeline") or config.get("test_pipeline")
    if not steps:
        raise InputError("the detector's config has no test pipeline, so how it resizes images is unknown")
    left_out = ("LoadImageFromFile", "LoadAnnotations", "LoadPanopticAnnotations", "PackDetInputs")
    return [dict(step) for step in steps if str(step["type"]).rpartition(".")[2] not in left_out]


def fill_value(model: Any) -> tuple[float, float, float]:
    """What the model's normalisation subtracts, in the order of BGR pixels; ImageNet's mean where it has none."""
    preprocessor = model.data_preprocessor
    if not getattr(preprocessor, "_enable_normalize", False):
        return tuple(255 * value for value in (0.406, 0.456, 0.485))  # type: ignore[return-value]
    mean = [float(value) for value in preprocessor.mean.flatten()]
    mean = mean * 3 if len(mean) == 1 else mean
    flipped = getattr(preprocessor, "_channel_conversion", False)
    return (mean[2], mean[1], mean[0]) if flipped else (mean[0], mean[1], mean[2])
