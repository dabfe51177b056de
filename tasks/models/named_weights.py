"""Models of tasks by the names of official checkpoints, see `selectors.zoo`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ltrp_bench.selectors.zoo.cache import take
from ltrp_bench.selectors.zoo.table import find


def with_named_weights(task: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a task whose `model_weights` are the name of an official checkpoint, with its file in their place.

    The checkpoint brings options that its file does not hold, such as the model; given ones come first. A file that is
    there is taken before a checkpoint of the same name.

    Args:
        task: name of the task.
        options: its options, by name.

    Returns:
        The options as the task takes them; the same ones if no checkpoint is named.

    Raises:
        InputError: the checkpoint is neither in the cache nor to be fetched.
    """
    named = options.get("model_weights")
    published = None if named is None or Path(str(named)).exists() else find(task, str(named))
    if published is None:
        return dict(options)
    given = {name: value for name, value in options.items() if value is not None}
    weights: str | Path = published.url if published.on_hub else take(published)
    if published.convert == "yolox":
        # Imported here, because it imports torch.
        from ltrp_bench.tasks.models.detectors.yolox_layout import converted_beside

        weights = converted_beside(Path(weights))
    return {**options, **published.options, **given, "model_weights": weights}
