"""What lies beside a weight file and says how to use it: `config.json` and the like, as hubs store them.

The Hub keeps every model under the same file names (`model.safetensors`, `pytorch_model.bin`), so neither timm's name
nor the normalization is in the file. timm writes them into `config.json` (`architecture`, `pretrained_cfg`),
transformers into `config.json` and `preprocessor_config.json`, open_clip into `open_clip_config.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ltrp_bench.selectors.errors import InputError

_PIL: Final = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""Names of Pillow's filters, which transformers stores by number."""

_CAPTIONED: Final = ("clip", "siglip", "align", "blip", "florence", "metaclip", "aimv2", "eva_clip")
"""Parts of transformers' model types that learn from texts."""

Numbers = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Sidecar:
    """What the files beside some weights say; None where they do not.

    Attributes:
        file: the file that was read.
        timm_name: timm's name with its tag, "vit_tiny_patch16_224.augreg_in21k_ft_in1k".
        mean, std: per channel of RGB in [0, 1].
        crop_pct, crop_mode, interpolation: as in timm's configurations.
        width: width of the tokens or features.
        classes: number of outputs.
        heads: number of attention heads.
        eps: epsilon of the norms.
        labels: names of the outputs in their order.
        captioned: True if they say that the model learned from texts.
    """

    file: Path
    timm_name: str | None = None
    mean: Numbers | None = None
    std: Numbers | None = None
    crop_pct: float | None = None
    crop_mode: str | None = None
    interpolation: str | None = None
    width: int | None = None
    classes: int | None = None
    heads: int | None = None
    eps: float | None = None
    labels: tuple[str, ...] | None = None
    captioned: bool = False


def sidecar_of(path: Path) -> Sidecar | None:
    """What files beside some weights say of them: `NAME.json`, else `config.json`; None if there are none.

    Raises:
        InputError: a file that is no JSON, or of values that cannot be.
    """
    for file in (path.with_suffix(".json"), path.parent / "config.json", path.parent / "open_clip_config.json"):
        content = _read(file)
        if content is None:
            continue
        try:
            if "model_cfg" in content or "preprocess_cfg" in content:
                return _open_clip(file, content)
            if "architecture" in content or "pretrained_cfg" in content:
                return _timm(file, content)
            if "model_type" in content or "architectures" in content:
                return _transformers(file, content, _read(path.parent / "preprocessor_config.json") or {})
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            raise InputError(f"{file}, beside the weights, cannot be read: {error}; mend or remove it") from None
    return None


def _read(file: Path) -> dict[str, Any] | None:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return None
    try:
        content = json.loads(text)
    except ValueError:
        raise InputError(f"{file}, beside the weights, is no valid JSON: mend or remove it") from None
    return content if isinstance(content, dict) else None


def _timm(file: Path, content: Mapping[str, Any]) -> Sidecar:
    known = content.get("pretrained_cfg") or {}
    architecture, tag = content.get("architecture") or known.get("architecture"), known.get("tag")
    name = (
        None if architecture is None else f"{architecture}.{tag}" if tag and "." not in architecture else architecture
    )
    labels = content.get("label_names") or known.get("label_names")
    return Sidecar(
        file=file,
        timm_name=name,
        mean=_three(known.get("mean")),
        std=_three(known.get("std")),
        crop_pct=_number(known.get("crop_pct")),
        crop_mode=known.get("crop_mode"),
        interpolation=known.get("interpolation"),
        width=_whole(content.get("num_features")),
        classes=_whole(content.get("num_classes", known.get("num_classes"))),
        heads=_whole((content.get("model_args") or {}).get("num_heads")),
        labels=tuple(map(str, labels)) if isinstance(labels, list) else None,
    )


def _transformers(file: Path, content: Mapping[str, Any], preparing: Mapping[str, Any]) -> Sidecar:
    vision = content.get("vision_config") or content
    normalizes = preparing.get("do_normalize", True)
    kind = str(content.get("model_type") or "").lower()
    names = content.get("id2label")
    labels = tuple(str(names[str(i)]) for i in range(len(names))) if isinstance(names, dict) and names else None
    return Sidecar(
        file=file,
        mean=_three(preparing.get("image_mean")) if normalizes else (0.0, 0.0, 0.0),
        std=_three(preparing.get("image_std")) if normalizes else (1.0, 1.0, 1.0),
        crop_pct=_crop(preparing),
        crop_mode=None if not preparing else "center" if _crops(preparing) else "squash",
        interpolation=_PIL.get(int(preparing["resample"])) if preparing.get("resample") is not None else None,
        width=_whole(vision.get("hidden_size")),
        heads=_whole(vision.get("num_attention_heads")),
        eps=_number(vision.get("layer_norm_eps")),
        # Names that transformers makes up say nothing.
        labels=None if labels is None or all(name == f"LABEL_{i}" for i, name in enumerate(labels)) else labels,
        captioned=any(part in kind for part in _CAPTIONED),
    )


def _open_clip(file: Path, content: Mapping[str, Any]) -> Sidecar:
    known = content.get("preprocess_cfg") or {}
    vision = (content.get("model_cfg") or {}).get("vision_cfg") or {}
    return Sidecar(
        file=file,
        mean=_three(known.get("mean")),
        std=_three(known.get("std")),
        interpolation=known.get("interpolation"),
        width=_whole(vision.get("width")),
        captioned=True,
    )


def _crops(preparing: Mapping[str, Any]) -> bool:
    return bool(preparing.get("do_center_crop") or preparing.get("crop_pct"))


def _crop(preparing: Mapping[str, Any]) -> float | None:
    if not preparing:
        return None
    if preparing.get("crop_pct"):
        return _number(preparing["crop_pct"])
    whole, part = _side(preparing.get("size")), _side(preparing.get("crop_size"))
    return part / whole if preparing.get("do_center_crop") and whole and part and part <= whole else 1.0


def _side(size: Any) -> int | None:
    if isinstance(size, dict):
        size = size.get("shortest_edge") or size.get("height")
    return _whole(size)


def _three(value: Any) -> Numbers | None:
    if value is None:
        return None
    numbers = tuple(float(one) for one in value)
    if len(numbers) == 1:
        numbers *= 3
    if len(numbers) != 3:
        raise ValueError(f"{len(numbers)} numbers for three channels")
    return numbers[0], numbers[1], numbers[2]


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _whole(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or int(value) != float(value):
        raise ValueError(f"{value!r} is no whole number")
    return int(value)
