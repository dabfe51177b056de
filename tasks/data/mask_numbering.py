"""Class masks that are numbered from 1, with 0 for no class, or from 0, with 255 for none (`reduce_zero_label`).

Nothing in a mask says which it is, so the values of a sample of masks decide where the user does not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.data.decoding import read_mask
from ltrp_bench.tasks.data.mask_folders import MaskFolder

VOID: Final = 255
"""Value of pixels without a class in masks that are numbered from 0."""
_SAMPLE: Final = 100
"""Masks that are looked at."""


@dataclass(frozen=True)
class _Evidence:
    """Values of a sample of masks.

    Attributes:
        highest: True if a mask holds the number of the last class, counted from 1.
        void: True if a mask holds `VOID`.
        zeros: mean share of the pixels of value 0.
    """

    highest: bool
    void: bool
    zeros: float


def numbered(folder: MaskFolder, zero_based: bool | None, *, most_zeros: float | None = None) -> MaskFolder:
    """The folder with its mask values counted from 0 or from 1.

    Args:
        folder: as numbered from 1.
        zero_based: True for 0, False for 1; None decides by the masks.
        most_zeros: share of the pixels that may have no class, if more would be unusual; None if it is not known.
    """
    last = max(folder.names)
    if zero_based is None:
        found = _look_at(folder, last)
        if found.highest:
            return folder
        zero_based = found.void or (most_zeros is not None and found.zeros > most_zeros)
        if found.void:
            why = f"a mask holds {VOID} and none of those looked at holds {last}"
        else:
            why = f"none of those looked at holds {last} or {VOID}, and {found.zeros:.1%} of their pixels are 0"
        line = (
            f"the masks in {folder.masks} are read as numbered from {0 if zero_based else 1}, since {why}; "
            f"--task-option zero_based={'false' if zero_based else 'true'} reads them from {1 if zero_based else 0}"
        )
        folder = replace(folder, assumptions=(*folder.assumptions, line))
    if not zero_based:
        return folder
    return replace(
        folder,
        names={value - 1: name for value, name in folder.names.items()},
        ignored_values=frozenset({VOID}),
        listed_in=f"{folder.listed_in.partition(' (')[0]} (0 to {last - 1}, as zero_based=true)",
    )


def _look_at(folder: MaskFolder, last: int) -> _Evidence:
    """Values of at most `_SAMPLE` masks, evenly chosen; stops at a mask that holds the number of the last class."""
    void, shares = False, []
    for stem in folder.stems[:: max(1, len(folder.stems) // _SAMPLE)]:
        try:
            values = read_mask(folder.mask_paths[stem])
        except InputError:
            continue  # reported when its image is used
        if (values == last).any():
            return _Evidence(True, void, 0.0)
        void = void or bool((values == VOID).any())
        shares.append(float((values == 0).mean()))
    return _Evidence(False, void, float(np.mean(shares)) if shares else 0.0)
