"""Class masks that are numbered from 1, with 0 for no class, or from 0, with 255 for none (`reduce_zero_label`).

Nothing in a mask says which it is, so the values of a sample of masks decide where the user does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.data.decoding import read_mask

VOID: Final = 255
"""Value of pixels without a class in masks that are numbered from 0."""
_SAMPLE: Final = 100
"""Masks that are looked at."""


@dataclass(frozen=True)
class Numbering:
    """What a sample of masks says about the numbers of their classes.

    Attributes:
        from_zero: True if they are numbered from 0; False if from 1, or if nothing shows it.
        why: a line for the user; empty where the number of the last class proves it.
        unclear: True if the masks may just as well be numbered the other way.
    """

    from_zero: bool
    why: str = ""
    unclear: bool = False


def look_at_masks(masks: Sequence[Path], last: int, *, most_zeros: float | None = None) -> Numbering:
    """Finds out whether masks are numbered from 0, by a sample of them.

    Args:
        masks: all masks, in a fixed order.
        last: number of the last class, counted from 1: where it occurs, masks are numbered from 1.
        most_zeros: share of the pixels that may be without a class; None if much background is usual.
    """
    zeros = voids = 0.0
    count = 0
    for path in masks[:: max(1, len(masks) // _SAMPLE)]:
        try:
            values = read_mask(path)
        except InputError:
            continue  # reported when its image is used
        if (values == last).any():
            return Numbering(False)
        count += 1
        zeros += float((values == 0).mean())
        voids += float((values == VOID).mean())
    # Where much background is usual, it is 0 or 255, whichever covers more.
    from_zero = voids > (0 if most_zeros is not None else zeros)
    share = zeros / max(count, 1)
    if from_zero:
        why = f"{voids / count:.1%} of the pixels looked at are {VOID} and none is {last}"
    else:
        why = f"none of the pixels looked at is {last} and {share:.1%} are 0"
    other = ("false", 1) if from_zero else ("true", 0)
    line = (
        f"the masks in {masks[0].parent} are read as numbered from {1 - other[1]}, since {why}; --task-option "
        f"zero_based={other[0]} reads them from {other[1]}"
    )
    return Numbering(from_zero, line, not from_zero and most_zeros is not None and share > most_zeros)
