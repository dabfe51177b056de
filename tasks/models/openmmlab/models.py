"""Building, loading and running models of mmdet and mmseg, and the parts of their configs that tasks need."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ltrp_bench.selectors.checkpoints import Weights, mismatch
from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.models.openmmlab import setup as openmmlab
from ltrp_bench.tasks.models.weights import seeded

_IMAGENET_BGR_MEAN = (255 * 0.406, 255 * 0.456, 255 * 0.485)


def load_model_config(name: str | Path, package: openmmlab.Package) -> Any:
    """`openmmlab.load_config` of a config with a model, without its downloads; InputError if it has no model."""
    config = openmmlab.load_config(name, package)
    if not config.get("model"):
        raise InputError(f"config {name} has no 'model'")
    openmmlab.strip_downloads(config.model)
    return config


def build_model(config: Any, package: openmmlab.Package, what: str, seed: int) -> nn.Module:
    """Builds the model of a config and initializes it.

    Args:
        config: mmengine config with a `model`.
        package: the package whose registries are used.
        what: name of the model for error messages, "detector NAME".
        seed: seed of its random weights.

    Raises:
        InputError: it cannot be built.
    """
    openmmlab.setup(package)
    try:
        with openmmlab.scope(package), seeded(seed):
            model: nn.Module = _registries(package).MODELS.build(config.model)
            model.init_weights()  # type: ignore[operator]
    except InputError:
        raise
    except Exception as error:  # modules of any config raise exceptions of any type
        raise InputError(f"{what} cannot be built: {type(error).__name__}: {openmmlab.first_line(error)}") from error
    return model


def _registries(package: openmmlab.Package) -> Any:
    return importlib.import_module(f"{package}.registry")


def load_weights(model: nn.Module, weights: Weights, what: str) -> None:
    """Loads a checkpoint that must hold every parameter in its shape, and nothing else.

    mmdet's own conversions of older checkpoints apply. Raises InputError naming the keys that do not fit.
    """
    own = model.state_dict()
    # Old versions keep the weights before averaging among the averaged ones, as "ema_backbone_conv_weight".
    second = {f"ema_{key.replace('.', '_')}" for key in own}
    state = {k: v for k, v in weights.state.items() if not k.startswith("data_preprocessor.") and k not in second}
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


def run_test_step(model: Any, batch: Mapping[str, Any], package: openmmlab.Package, what: str) -> list[Any]:
    """Data samples that a model's `test_step` returns for a batch; InputError if it fails, naming `what`."""
    try:
        with torch.inference_mode(), openmmlab.scope(package):
            return list(model.test_step(batch))
    except InputError:
        raise
    except Exception as error:  # modules of any model raise exceptions of any type
        raise InputError(
            f"the {what} fails on an image: {type(error).__name__}: {openmmlab.first_line(error)}"
        ) from error


def _dataset_config(config: Any) -> Any:
    """The config of the test data set, without wrappers around it; empty if there is none."""
    data = config.get("test_dataloader", {}).get("dataset", {})
    while "dataset" in data:
        data = data["dataset"]
    return data


def class_names(config: Any, name: str | Path = "", package: openmmlab.Package = "mmdet") -> tuple[str, ...]:
    """Category names in the order of a model's outputs, from the config's test data set or that data set's type.

    Args:
        config: mmengine config.
        name: name of the config, for error messages.
        package: package with the data set types.

    Raises:
        InputError: the config does not determine them.
    """
    openmmlab.setup(package)
    data = _dataset_config(config)
    classes = (data.get("metainfo") or {}).get("classes") or (config.get("metainfo") or {}).get("classes")
    if classes is None and data.get("type"):
        classes = getattr(_registries(package).DATASETS.get(data["type"]), "METAINFO", {}).get("classes")
    if not classes:
        raise InputError(
            f"config {name} does not say the names of its classes (test_dataloader.dataset.metainfo.classes)"
        )
    return tuple(str(c) for c in ([classes] if isinstance(classes, str) else classes))


def agreed_classes(
    config: Any,
    name: str | Path,
    weights: Weights | None,
    given: Sequence[str] | None = None,
    package: openmmlab.Package = "mmdet",
) -> tuple[str, ...]:
    """Names of a model's outputs in their order, on which checkpoint and config agree.

    Args:
        config: mmengine config.
        name: name of the config, for error messages.
        weights: checkpoint, which may name its classes (`meta.dataset_meta.classes`, older ones `meta.CLASSES`).
        given: names that the user gave, which count more than both.
        package: package with the data set types.

    Raises:
        InputError: they name other classes, or another order; or neither names them.
    """
    if given is not None:
        return tuple(given)
    trained, file = (None, None) if weights is None else (checkpoint_classes(weights), weights.path)
    try:
        configured = class_names(config, name, package)
    except InputError:
        if trained is None:
            raise
        return trained
    if trained is not None and [_plain(c) for c in trained] != [_plain(c) for c in configured]:
        pairs = zip(trained, configured, strict=False)
        shorter = min(len(trained), len(configured))
        first = next((i for i, (a, b) in enumerate(pairs) if _plain(a) != _plain(b)), shorter)
        said, wanted = (", ".join(names[first : first + 3]) or "no more" for names in (trained, configured))
        raise InputError(
            f"checkpoint {file} was trained on {len(trained)} classes, config {name} has {len(configured)}; from "
            f"number {first} on they differ: {said}, … instead of {wanted}, …: correct the config's metainfo.classes, "
            "or give classes=FILE"
        )
    return configured


def checkpoint_classes(weights: Weights) -> tuple[str, ...] | None:
    """Names of the classes that a checkpoint of mmengine or of older versions holds; None if it holds none."""
    meta = weights.beside.get("meta")
    if not isinstance(meta, Mapping):
        return None
    inner = meta.get("dataset_meta")
    for place in (inner if isinstance(inner, Mapping) else {}, meta):
        for key in ("classes", "CLASSES"):
            found = place.get(key)
            if isinstance(found, str):
                return (found,)
            if isinstance(found, (list, tuple)) and found and all(isinstance(one, str) for one in found):
                return tuple(found)
    return None


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def pipeline_steps(config: Any) -> list[dict[str, Any]]:
    """The config's test pipeline without the steps that read files, read annotations or pack results."""
    steps = _dataset_config(config).get("pipeline") or config.get("test_pipeline")
    if not steps:
        raise InputError("the config of the model has no test pipeline, so how it resizes images is unknown")
    left_out = ("LoadImageFromFile", "LoadAnnotations", "LoadPanopticAnnotations", "PackDetInputs")
    return [dict(step) for step in steps if str(step["type"]).rpartition(".")[2] not in left_out]


def fill_value(model: Any) -> tuple[float, float, float]:
    """Value of dropped BGR pixels: the mean that the model's normalization subtracts, ImageNet's if there is none."""
    preprocessor = model.data_preprocessor
    if not getattr(preprocessor, "_enable_normalize", False):
        return _IMAGENET_BGR_MEAN
    mean = [float(value) for value in preprocessor.mean.flatten()]
    mean = mean * 3 if len(mean) == 1 else mean
    swaps_channels = getattr(preprocessor, "_channel_conversion", False)
    return (mean[2], mean[1], mean[0]) if swaps_channels else (mean[0], mean[1], mean[2])
