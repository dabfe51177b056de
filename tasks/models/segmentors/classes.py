"""Matching of a segmentor's outputs with the classes of a data set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.models.class_order import match_outputs
from ltrp_bench.tasks.models.segmentors.running import SegmentorRunner


def matched(name: str, runner: SegmentorRunner, classes: Sequence[str]) -> np.ndarray:
    """Class of each output of a model.

    Outputs match by order if the model has no class names, else by names, see `match_outputs`.

    Args:
        name: of the task, for error messages.
        runner: the model.
        classes: the classes of the data set.

    Returns:
        [outputs] int64 indices into `classes`.

    Raises:
        InputError: the model has other classes.
    """
    if runner.classes is None:
        if runner.outputs != len(classes):
            raise InputError(
                f"{name}: the model has {runner.outputs} outputs, the data set {len(classes)} classes "
                f"({classes[0]}, …): wrong model for this data set"
            )
        return np.arange(runner.outputs)
    return match_outputs(name, runner.classes, classes)
