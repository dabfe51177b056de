"""Label sets of timm's weights, from their names.

timm's tags list what a model was trained with: in `vit_tiny_patch16_224.augreg_in21k_ft_in1k`, augreg is a recipe,
ImageNet-21k came first and ImageNet-1K last. An unknown part of a tag may stand for labels, so it is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from typing import Final

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.selectors.vit.timm_tag_table import IN_ARCHITECTURES, NUMBERS, PARTS, RECIPES, LabelSets, TagPart

ASK_FOR_LABEL_SET: Final = "give label_set=NAME (imagenet1k, imagenet21k+imagenet1k, captions, …; self for none)"
"""What to do if label sets cannot be inferred; the end of error messages."""


@cache
def label_sets_of(name: str) -> LabelSets:
    """Label sets that weights of timm were trained with.

    Args:
        name: architecture and tag, e.g. "vit_tiny_patch16_224.augreg_in21k_ft_in1k".

    Returns:
        Names in the order of training, each once; none for self-supervised weights.

    Raises:
        InputError: the tag has an unknown part or says nothing about labels, or the labels are not published.
    """
    parts = list(_parts(name))
    if not parts:
        raise InputError(f"the name {name!r} does not tell the labels of its training: {ASK_FOR_LABEL_SET}")
    found: list[str] = []
    for part in parts:
        if part.label_sets is None:
            raise InputError(f"the labels of the training of {name!r} are unknown ({part.why}): {ASK_FOR_LABEL_SET}")
        found.extend(part.label_sets)
    return tuple(dict.fromkeys(found))


def _parts(name: str) -> Iterator[TagPart]:
    """Lines of the table for the parts of a name, from left to right; of several that fit, the longest part."""
    architecture, _, tag = name.partition(".")
    words = [word for word in architecture.split("_") if word in IN_ARCHITECTURES] + tag.split("_") if tag else []
    while words:
        for size in range(len(words), 0, -1):
            text = "_".join(words[:size])
            part = _line(architecture, text)
            if part is not None:
                yield part
            if part is not None or text in RECIPES or re.fullmatch(NUMBERS, text):
                break
        else:
            raise InputError(f"the part {words[0]!r} of timm's tag {name!r} is not known here: {ASK_FOR_LABEL_SET}")
        words = words[size:]


def _line(architecture: str, text: str) -> TagPart | None:
    """The line of the table for a part of a tag; the one with the narrowest pattern of architectures if several fit."""
    fitting = [
        part
        for part in PARTS
        if re.fullmatch(part.text, text)
        and any(fnmatchcase(architecture, pattern) for pattern in part.architectures.split("|"))
    ]
    return max(fitting, key=lambda part: max(map(len, part.architectures.split("|"))), default=None)
