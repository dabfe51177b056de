"""Matching of a segmentor's outputs with the classes of a data set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.models.segmentors.running import SegmentorRunner


def matched(name: str, runner: SegmentorRunner, classes: Sequence[str]) -> np.ndarray:
    """Class of each output of a model.

    Outputs match by order if the model has no class names, else by names, compared without case, spaces, dashes and
    everything after a comma or semicolon. Model and data set must have the same classes: an output without a class
    could only be wrong.

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
    own, wanted = [_bare(c) for c in runner.classes], [_bare(c) for c in classes]
    if own == wanted:
        return np.arange(len(own))
    if sorted(own) != sorted(wanted) or len(set(wanted)) != len(wanted):
        differing = sorted(set(wanted) - set(own)) or sorted(set(own) - set(wanted))
        raise InputError(
            f"{name}: the model's {len(own)} classes ({runner.classes[0]}, …) are not the data set's {len(wanted)}: "
            f"{', '.join(differing[:5])} in one alone: wrong model for this data set"
        )
    return np.array([wanted.index(c) for c in own])


def _bare(name: str) -> str:
    """Lower-case letters and digits of a name up to the first comma or semicolon."""
    first = name.lower().partition(",")[0].partition(";")[0]
    return "".join(letter for letter in first if letter.isalnum())
