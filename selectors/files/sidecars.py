"""What lies beside a weight file and says how to use it: `config.json` and the like, as hubs store them.

The Hub keeps every model under the same file names (`model.safetensors`, `pytorch_model.bin`), so neither timm's name
nor the normalization is in the file. timm writes them into `config.json` (`architecture`, `pretrained_cfg`),
transformers into `config.json` and `preprocessor_config.json`, open_clip into `open_clip_config.json`.
"""

from __future__ import annotations

import json
import math
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
        depth: number of blocks.
        patch: side of a patch in pixels.
        activation: timm's name of the activation in the blocks.
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
    depth: int | None = None
    patch: int | None = None
    activation: str | None = None
    labels: tuple[str, ...] | None = None
    captioned: bool = False


def sidecar_of(path: Path) -> Sidecar | None:
    """What files beside some weights say of them: `NAME.json`, else `config.json`; None if there are none.

    transformers' `preprocessor_config.json` alone is read as well.

    Raises:
        InputError: a file that cannot be read or is no JSON, or of values that cannot be.
    """
    preparing = path.parent / "preprocessor_config.json"
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
                return _transformers(file, content, _read(preparing) or {})
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            raise _damaged(file, error) from None
    alone = _read(preparing)
    try:
        return None if alone is None else _transformers(preparing, {}, alone)
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise _damaged(preparing, error) from None


def _damaged(file: Path, error: Exception) -> InputError:
    return InputError(f"{file}, beside the weights, cannot be read: {error}; mend or remove it")


def _read(file: Path) -> dict[str, Any] | None:
    if not file.exists():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"{file}, beside the weights, cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise InputError(f"{file}, beside the weights, is no valid JSON: mend or remove it") from None
    return content if isinstance(content, dict) else None


def _timm(file: Path, content: Mapping[str, Any]) -> Sidecar:
    known = content.get("pretrained_cfg") or {}
    architecture, tag = content.get("architecture") or known.get("architecture"), known.get("tag")
    name = (
        None if architecture is None else f"{architecture}.{tag}" if tag and "." not in architecture else architecture
    )
    labels = content.get("label_names") or known.get("label_names")
    labels = tuple(map(str, labels)) if isinstance(labels, list) else None
    classes = _whole(content.get("num_classes", known.get("num_classes")))
    if labels is not None and classes is not None and len(labels) != classes:
        raise ValueError(f"it names {len(labels)} of {classes} classes")
    return Sidecar(
        file=file,
        timm_name=name,
        mean=_three("mean", known.get("mean")),
        std=_three("std", known.get("std")),
        crop_pct=_number(known.get("crop_pct")),
        crop_mode=known.get("crop_mode"),
        interpolation=known.get("interpolation"),
        width=_whole(content.get("num_features")),
        classes=classes if labels is None else len(labels),
        heads=_whole((content.get("model_args") or {}).get("num_heads")),
        labels=labels,
    )


def _transformers(file: Path, content: Mapping[str, Any], preparing: Mapping[str, Any]) -> Sidecar:
    vision = content.get("vision_config") or content
    normalizes = preparing.get("do_normalize", True)
    kind = str(content.get("model_type") or "").lower()
    labels = _labels(content)
    factor = _number(preparing.get("rescale_factor", 1 / 255)) if preparing.get("do_rescale", True) else 1.0
    if not factor or factor < 0:
        raise ValueError(f"its rescale_factor is {factor}")
    scale = 255 * factor
    return Sidecar(
        file=file,
        mean=_three("mean", preparing.get("image_mean"), scale) if normalizes else (0.0, 0.0, 0.0),
        std=_three("std", preparing.get("image_std"), scale) if normalizes else (1 / scale,) * 3,
        crop_pct=_crop(preparing),
        crop_mode=None if not preparing else "center" if _crops(preparing) else "squash",
        interpolation=_PIL.get(int(preparing["resample"])) if preparing.get("resample") is not None else None,
        width=_whole(vision.get("hidden_size")),
        heads=_whole(vision.get("num_attention_heads")),
        eps=_number(vision.get("layer_norm_eps")),
        depth=_whole(vision.get("num_hidden_layers")),
        patch=_whole(vision["patch_size"]) if isinstance(vision.get("patch_size"), (int, float)) else None,
        activation=_activation(vision, clip="clip" in kind),
        classes=None if labels is None else len(labels),
        labels=labels,
        captioned=any(part in kind for part in _CAPTIONED),
    )


def _open_clip(file: Path, content: Mapping[str, Any]) -> Sidecar:
    known = content.get("preprocess_cfg") or {}
    vision = (content.get("model_cfg") or {}).get("vision_cfg") or {}
    return Sidecar(
        file=file,
        mean=_three("mean", known.get("mean")),
        std=_three("std", known.get("std")),
        interpolation=known.get("interpolation"),
        width=_whole(vision.get("width")),
        heads=_heads_of(vision),
        depth=_whole(vision["layers"]) if isinstance(vision.get("layers"), int) else None,
        patch=_whole(vision.get("patch_size")),
        activation="quick_gelu" if (content.get("model_cfg") or {}).get("quick_gelu") else "gelu",
        captioned=True,
    )


def _heads_of(vision: Mapping[str, Any]) -> int | None:
    width = _whole(vision.get("width"))
    return width // int(vision.get("head_width", 64)) if width and isinstance(vision.get("layers"), int) else None


def _activation(vision: Mapping[str, Any], *, clip: bool) -> str | None:
    """timm's name of `hidden_act`; transformers leaves it out where it is the default, for CLIP QuickGELU."""
    said = vision.get("hidden_act")
    name = None if said is None and not clip else str(said or "quick_gelu")
    return "gelu_tanh" if name == "gelu_pytorch_tanh" else name


def _labels(content: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Names by output, from `id2label` or else `label2id`; None if there are none, or only made-up ones."""
    names = content.get("id2label")
    if not names and isinstance(content.get("label2id"), dict):
        names = {str(number): name for name, number in content["label2id"].items()}
    if not names:
        return None
    if sorted(map(str, names)) != sorted(str(i) for i in range(len(names))):
        raise ValueError(f"its id2label does not number its {len(names)} classes from 0 to {len(names) - 1}")
    labels = tuple(str(names[str(i)]) for i in range(len(names)))
    return None if all(name == f"LABEL_{i}" for i, name in enumerate(labels)) else labels


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


def _three(name: str, value: Any, scale: float = 1.0) -> Numbers | None:
    """Mean or standard deviation of pixels in [0, 1], from one of pixels in [0, `scale`]."""
    if value is None:
        return None
    numbers = tuple(float(one) for one in value)
    if not math.isclose(scale, 1):
        numbers = tuple(one / scale for one in numbers)
    if len(numbers) == 1:
        numbers *= 3
    if len(numbers) != 3:
        raise ValueError(f"its {name} has {len(numbers)} numbers for three channels")
    if not all(0 <= one <= 1 for one in numbers) or (name == "std" and min(numbers) == 0):
        raise ValueError(f"its {name} {list(value)} is not one of pixels in [0, 1]")
    return numbers[0], numbers[1], numbers[2]


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _whole(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or int(value) != float(value):
        raise ValueError(f"{value!r} is no whole number")
    return int(value)
