"""Class masks that are numbered from 1, with 0 for no class, or from 0, with 255 for none (`reduce_zero_label`).

Nothing in a mask says which it is, so the values of a sample of masks decide where the user does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.data.decoding import read_mask

VOID: Final = 255
"""Value of pixels without a class in masks that are numbered from 0."""
_SAMPLE: Final = 100
"""Masks that are looked at."""


def numbered_from_zero(masks: Sequence[Path], last: int, *, most_zeros: float | None = None) -> tuple[bool, str]:
    """Decides whether masks are numbered from 0, by a sample of them.

    Args:
        masks: all masks, in a fixed order.
        last: number of the last class, counted from 1: where it occurs, masks are numbered from 1.
        most_zeros: share of the pixels that may be without a class; None if that is not known.

    Returns:
        (numbered from 0, a line that says why); the line is empty where the last class occurs, which proves it.

    Raises:
        UsageError: nothing proves it, and more pixels than usual are 0: they may be of no class or of the first one.
    """
    void, shares = False, []
    for path in masks[:: max(1, len(masks) // _SAMPLE)]:
        try:
            values = read_mask(path)
        except InputError:
            continue  # reported when its image is used
        if (values == last).any():
            return False, ""
        void = void or bool((values == VOID).any())
        shares.append(float((values == 0).mean()))
    zeros = sum(shares) / len(shares) if shares else 0.0
    if not void and most_zeros is not None and zeros > most_zeros:
        raise UsageError(
            f"the masks in {masks[0].parent} may be numbered from 0 or from 1: {zeros:.0%} of the pixels looked at are "
            f"0, more than are usually without a class, and none is {last} or {VOID}; give --task-option "
            "zero_based=true (0 is the first class) or zero_based=false (0 is none)"
        )
    if void:
        why = f"one holds {VOID} and none of those looked at holds {last}"
    else:
        why = f"none of those looked at holds {last} or {VOID}, and {zeros:.1%} of their pixels are 0"
    other = ("false", 1) if void else ("true", 0)
    return void, (
        f"the masks in {masks[0].parent} are read as numbered from {1 - other[1]}, since {why}; --task-option "
        f"zero_based={other[0]} reads them from {other[1]}"
    )
