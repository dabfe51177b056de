"""What a weight file does not say, read elsewhere or assumed: the normalization of its images, its attention heads."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import timm
from timm.data.constants import IMAGENET_INCEPTION_MEAN, IMAGENET_INCEPTION_STD
from timm.data.constants import OPENAI_CLIP_MEAN as CLIP_MEAN
from timm.data.constants import OPENAI_CLIP_STD as CLIP_STD

from ltrp_bench.selectors.base import IMAGENET_MEAN, IMAGENET_STD, Channels
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.vit.vit_files import ViTFile

BESIDE: Final = "put its config.json beside it"
MODEL_OR_BESIDE: Final = f"give {{options}} or model=TIMM_NAME, or {BESIDE}"
OPTIONS_OR_BESIDE: Final = f"give {{options}} or {BESIDE}"


@dataclass(frozen=True)
class Normalization:
    """Mean and standard deviation per channel of RGB in [0, 1].

    Attributes:
        mean, std: the values.
        known: False if they were assumed.
        whose: whose they are then, "ImageNet's".
    """

    mean: Channels
    std: Channels
    known: bool
    whose: str = "ImageNet's"


def normalization_of(
    file: ViTFile, mean: Sequence[float] | None = None, std: Sequence[float] | None = None, *, named: bool = False
) -> Normalization:
    """Normalization of a file's images: as given, of its metadata, of files beside it, of timm's name, or ImageNet's.

    Args:
        file: the weights.
        mean, std: values that were given.
        named: True if the timm name was given; it then counts more than files beside the weights.

    Raises:
        UsageError: other than three numbers, or a standard deviation that is not positive.
    """
    by_name = timm.get_pretrained_cfg(file.name) if file.name and not file.config else None
    out: list[Channels] = []
    # torchvision's ViTs and DINOv2 were all trained with ImageNet's.
    known = [file.library == "torchvision" or file.dinov2] * 2
    whose, usual_mean, usual_std = _usual(file)
    for place, (name, given, usual) in enumerate((("mean", mean, usual_mean), ("std", std, usual_std))):
        others = [getattr(source, name, None) for source in (by_name if named else None, file.sidecar, by_name)]
        found = next((one for one in (given, file.config.get(name), *others) if one is not None), None)
        out.append(usual if found is None else three_channels(name, found))
        known[place] = known[place] or found is not None
    return Normalization(out[0], out[1], all(known), whose)


def _usual(file: ViTFile) -> tuple[str, Channels, Channels]:
    """Whose mean and standard deviation are assumed, and they themselves."""
    if file.siglip:
        return "SigLIP's", IMAGENET_INCEPTION_MEAN, IMAGENET_INCEPTION_STD
    return ("CLIP's", CLIP_MEAN, CLIP_STD) if file.clip else ("ImageNet's", IMAGENET_MEAN, IMAGENET_STD)


def three_channels(name: str, values: Sequence[float]) -> Channels:
    """Three numbers from one for all channels or one each; `UsageError` for others, or for an `std` of 0 or less."""
    numbers = [float(one) for one in values]
    numbers = numbers * 3 if len(numbers) == 1 else numbers
    if len(numbers) != 3 or not all(map(math.isfinite, numbers)) or (name == "std" and min(numbers) <= 0):
        raise UsageError(f"{name} is three numbers, for red, green and blue in [0, 1], got {list(values)}")
    if min(numbers) < 0 or max(numbers) > 1:
        raise UsageError(f"{name} is given for pixels in [0, 1], got {list(values)}: divide values for 0 to 255 by 255")
    return numbers[0], numbers[1], numbers[2]


def assumptions_of(
    file: ViTFile,
    normalization: Normalization,
    heads: int | None,
    also: Mapping[str, str] | None = None,
    *,
    remedy: str = MODEL_OR_BESIDE,
) -> list[str]:
    """One line about what was assumed of a file, and one if its tensors look like those of a model of texts.

    Args:
        file: the weights.
        normalization: of its images.
        heads: number of heads that its width suggests; None if it was given.
        also: option -> what else is assumed where the normalization is.
        remedy: what to do, in which {options} stands for the options to give.
    """
    lines = []
    if file.evidence.captions and not file.name and not file.config:
        lines.append(f"{file.path.name} shows {file.evidence.captions}: it counts as trained with captions")
    parts, options = [], []
    if not normalization.known:
        parts.append(f"{normalization.whose} mean {_text(normalization.mean)} and std {_text(normalization.std)}")
        parts += (also or {}).values()
        options += ["mean=", "std=", *(f"{name}=" for name in also or {})]
    told = file.config.get("heads") or file.name or (file.sidecar is not None and file.sidecar.heads)
    if heads is not None and not told and not (file.library == "torchvision" or file.dinov2):
        parts.append(f"{heads} attention heads")
        options.append("heads=")
    if parts:
        what = remedy.format(options=", ".join(options))
        lines.append(
            f"{file.path.name} does not say how it was trained; assumed {', '.join(parts)}: if this is wrong, {what}"
        )
    return lines


def _text(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"
