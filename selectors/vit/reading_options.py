"""Options by which selectors read a ViT from a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict


class ReadingOptions(TypedDict, total=False):
    """What selectors pass on to `load_backbone`, which describes it; None and left out are the same."""

    heads: int | None
    label_set: str | None
    mean: Sequence[float] | None
    std: Sequence[float] | None
    ema: bool | None
