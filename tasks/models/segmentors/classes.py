"""Which of a data set's classes each output of a segmentor is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.models.segmentors.running import SegmentorRunner


def matched(name: str, runner: SegmentorRunner, classes: Sequence[str]) -> np.ndarray:
    """[outputs] int64: the data set's class of each output of a model.

    By order where the file does not say its names; else by names, of which spaces, dashes and what follows a comma do
    not count. A model may know more classes than the data set: those are nobody's there, so that it must not.

    Raises:
        InputError: other classes.
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
        other = sorted(set(wanted) - set(own)) or sorted(set(own) - set(wanted))
        raise InputError(
            f"{name}: the model's {len(own)} classes ({runner.classes[0]}, …) are not the data set's {len(wanted)}: "
            f"{', '.join(other[:5])} in one alone: wrong model for this data set"
        )
    return np.array([wanted.index(c) for c in own])


def _bare(name: str) -> str:
    first = name.lower().partition(",")[0].partition(";")[0]
    return "".join(letter for letter in first if letter.isalnum())
