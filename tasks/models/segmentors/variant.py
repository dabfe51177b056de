"""`variant.yml`, which Segmenter's trainings write beside their checkpoint: normalization and attention heads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.vit.assumptions import three_channels

Channels = tuple[float, float, float]

HALF: Final = (0.5, 0.5, 0.5)
STATS: Final[Mapping[str, tuple[Channels, Channels]]] = {
    "vit": (HALF, HALF),
    "deit": (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD),
}
"""Segmenter's names of normalizations -> mean and standard deviation."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What `variant.yml` says; None where it does not.

    Attributes:
        mean, std: per channel of RGB in [0, 1].
        heads: attention heads of the encoder.
    """

    mean: Channels | None = None
    std: Channels | None = None
    heads: int | None = None


class _Plain(yaml.SafeLoader):  # type: ignore[misc]
    """YAML of plain data, in which Python's tuples are lists."""


_Plain.add_constructor("tag:yaml.org,2002:python/tuple", lambda loader, node: loader.construct_sequence(node))


def variant_of(path: Path) -> Variant:
    """What `variant.yml` beside a checkpoint says; nothing if there is none.

    Raises:
        InputError: a damaged file, or an unknown normalization.
    """
    file = path.parent / "variant.yml"
    if not file.exists():
        return Variant()
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), _Plain)
        parts = [content.get(key) or {} for key in ("net_kwargs", "dataset_kwargs")]
        said: dict[str, Any] = {**parts[1], **parts[0], **{k: content[k] for k in ("mean", "std") if k in content}}
        mean, std = STATS[said["normalization"]] if "normalization" in said else (None, None)
        mean = three_channels("mean", said["mean"]) if "mean" in said else mean
        std = three_channels("std", said["std"]) if "std" in said else std
        return Variant(mean=mean, std=std, heads=None if said.get("n_heads") is None else int(said["n_heads"]))
    except KeyError as error:
        raise InputError(
            f"{file}, beside the checkpoint, names the normalization {error}; known are {', '.join(STATS)}: give mean= "
            "and std=, and mend or remove it"
        ) from None
    except (OSError, ValueError, TypeError, AttributeError, RecursionError, yaml.YAMLError, UsageError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{file}, beside the checkpoint, cannot be read: {first}; mend or remove it") from None
