"""Outputs of a classifier of ImageNet-1K whose file names them, and ImageNet's classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.data.synsets import imagenet_lemmas
from ltrp_bench.tasks.models.class_order import plain_name


def match_imagenet(name: str, outputs: Sequence[str]) -> np.ndarray | None:
    """Class of ImageNet-1K of each output of a model, by names or by wnids ("n01440764").

    Names of ImageNet's classes differ from source to source, and some are shared. So only those that name one class
    count: if nearly all of them are at that class's place, the order is the usual one.

    Returns:
        [1000] int64 indices, or None if the names are not ImageNet's and so tell nothing.

    Raises:
        InputError: another order than the usual one that the names do not tell completely.
    """
    lemmas = list(imagenet_lemmas().items())
    places: dict[str, list[int]] = {}
    for place, (wnid, names) in enumerate(lemmas):
        for one in {wnid, *map(plain_name, names)}:
            places.setdefault(one, []).append(place)
    found = [places.get(plain_name(output), []) for output in outputs]
    clear = [(i, one[0]) for i, one in enumerate(found) if len(one) == 1]
    if len(outputs) != len(lemmas) or len(clear) < len(lemmas) // 10:
        return None
    if sum(i == place for i, place in clear) >= 0.9 * len(clear):
        return np.arange(len(lemmas))
    left = set(range(len(lemmas))) - {place for _, place in clear}
    order = [one[0] if len(one) == 1 else next((p for p in one if p in left), -1) for one in found]
    if sorted(order) != list(range(len(lemmas))):
        raise InputError(
            f"{name}: the model's file names its outputs in another order than ImageNet's ({outputs[0]}, "
            f"{outputs[1]}, …), and the names do not tell all classes apart: give a file with wnids in its order by "
            "classes=FILE"
        )
    return np.array(order)
