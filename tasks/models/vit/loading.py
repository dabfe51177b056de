"""timm models from local files: any plain ViT, whose patches can be dropped, and any other model for whole images.

Input size, normalization, crop and interpolation come with the weights: from the file's metadata for weights trained
with ltrp-bench, from `config.json` beside the file, and from timm's pretrained configuration if the timm name is known.
Otherwise the evaluation recipe of the official DeiT and MAE fine-tunes is assumed, and said so (Touvron et al., ICML
2021; He et al., CVPR 2022, appendix A.1: ImageNet's mean and standard deviation, bicubic, a crop of 224/256 up to 224
pixels, no crop above).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import timm
import torch
from timm.data import resolve_data_config
from timm.layers import PatchEmbed
from torch import Tensor, nn

from ltrp_bench.selectors.checkpoints import TIMM, bare_state, load_into, sha256_of
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.vit.assumptions import assumptions_of, normalization_of
from ltrp_bench.selectors.vit.backbones import build_from, build_vit
from ltrp_bench.selectors.vit.embedding import patch_sides
from ltrp_bench.selectors.vit.families import ViT, heads_of, is_vit
from ltrp_bench.selectors.vit.hub import located
from ltrp_bench.selectors.vit.named_models import from_timm
from ltrp_bench.selectors.vit.vit_files import ViTFile, read_vit_file, timm_name
from ltrp_bench.tasks.models.vit.preprocessing import Preprocessing
from ltrp_bench.tasks.models.weights import check_weights, seeded

Size = tuple[int, int]
AnyViT = TypeVar("AnyViT", bound=ViT)


@dataclass(frozen=True, kw_only=True)
class TimmModel:
    """A frozen model and the preprocessing that its weights need.

    Attributes:
        net: module in evaluation mode, float32, without gradients; [B, 3, H, W] -> [B, classes] logits.
        inputs: preprocessing of images.
        classes: number of outputs of the classifier; 0 if there is none.
        class_names: names of the outputs if the file, one beside it or the user names them, else None.
        any_size: True if it takes images of other sizes than `inputs.size`.
        identity: everything that determines its outputs, as JSON values.
        assumptions: one line for each thing that was assumed of the weights.
    """

    net: nn.Module
    inputs: Preprocessing
    classes: int
    class_names: tuple[str, ...] | None
    any_size: bool
    identity: dict[str, Any]
    assumptions: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PlainViT(TimmModel):
    """A ViT of timm (see `selectors.vit.families`), whose patches can be dropped (see `token_dropping`)."""

    @property
    def vit(self) -> ViT:
        """The module with its own type."""
        return cast(ViT, self.net)

    @property
    def patch(self) -> int:
        """Side of a patch in pixels."""
        return patch_sides(self.vit)[0]

    @property
    def grid(self) -> Size:
        """(gh, gw) at its input size."""
        return self.inputs.size[0] // self.patch, self.inputs.size[1] // self.patch


def load_timm(
    weights: str | Path | None,
    model: str | None = None,
    *,
    random_weights: int | None = None,
    image_size: int | Sequence[int] | None = None,
    crop_pct: float | None = None,
    heads: int | None = None,
    config: Mapping[str, Any] | None = None,
    classes: int = 1000,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    ema: bool | None = None,
    device: str = "cpu",
) -> TimmModel:
    """Builds a timm model and loads its weights.

    The architecture comes from the first of these that is known: `model`; the file's metadata (weights trained with
    ltrp-bench); a file name that is a timm model's with its tag; names and shapes of the tensors (plain ViTs of timm,
    DeiT, and official MAE fine-tunes).

    Args:
        weights: torch or safetensors file, or the name of bundled weights.
        model: name of a timm model, with or without "timm:"; without a tag it stands for timm's default weights.
        random_weights: seed of an untrained model, instead of `weights`; needs `model` or `config`.
        image_size: another input size than the weights' own, one number or (H, W); position embeddings of ViTs are
            resampled (bicubic, antialiased).
        crop_pct: another value of `Preprocessing.crop_pct`, in (0, 1].
        heads: attention heads of a plain ViT, if its width does not determine them.
        config: arguments of `build_vit`, for an untrained ViT.
        classes: number of outputs of an untrained model that is built by name.
        mean, std: another normalization of the images than that of the weights, per channel of RGB in [0, 1].
        ema: which set of weights to take from a file that holds a model and its moving average; see `read_weights`.
        device: torch device.

    Raises:
        InputError: a missing, corrupt or foreign file. UsageError: neither or both of weights and random_weights; a
            timm model that does not exist; a size that does not fit.
    """
    check_weights(f"model {model}" if model else "the model", weights, random_weights)
    size = image_sides(image_size)
    if model is None and str(weights).startswith(TIMM):
        model = str(weights)
    if weights is None:
        found = _untrained(model, config, cast(int, random_weights), size, classes)
    else:
        found = _from_file(
            read_vit_file(located(weights), model, ema), model, size, heads, mean, std, crops=crop_pct is None
        )
    inputs = found.inputs.renormalized(mean, std)
    if crop_pct is not None:
        if not 0 < crop_pct <= 1:
            raise UsageError(f"crop_pct must be in (0, 1], got {crop_pct}")
        inputs = replace(inputs, crop_pct=float(crop_pct))
    found.net.to(device).eval().requires_grad_(False)
    if isinstance(found, PlainViT):
        check_patches(found.vit, inputs.size)
    identity = {**found.identity, **inputs.identity()}
    return replace(found, inputs=inputs, identity=identity)


def load_vit(weights: str | Path | None, model: str | None = None, **options: Any) -> PlainViT:
    """`load_timm` with a UsageError if the model is not a plain vision transformer."""
    found = load_timm(weights, model, **options)
    if not isinstance(found, PlainViT):
        raise UsageError(f"{model or weights} is a {type(found.net).__name__}, not a plain vision transformer")
    return found


def _from_file(
    file: ViTFile,
    model: str | None,
    size: Size | None,
    heads: int | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    *,
    crops: bool,
) -> TimmModel:
    path = file.path
    config = file.config if model is None else {}
    name = None if config else file.name
    identity: dict[str, Any] = {"model": name or "of the file", **file_identity(file)}
    if heads is not None:
        identity["heads"] = heads
    if name is None:
        if file.sidecar is not None and heads is None and file.sidecar.heads:
            identity["heads"] = file.sidecar.heads
        net: nn.Module = (vit := build_from(replace(file, config=config), heads))
        found = normalization_of(file, mean, std)
        sides: Any = vit.patch_embed.img_size
        shape = size or (int(sides[0]), int(sides[1]))
        set_input_size(vit, size)
        crop = config.get("crop_pct") or (224 / 256 if max(shape) <= 224 else 1.0)
        inputs = Preprocessing(size=shape, mean=found.mean, std=found.std, crop_pct=crop)
        count = None if heads else heads_of(vit)
        lines = assumptions_of(file, found, count, also={"crop_pct": f"a crop of {crop:.3g}"} if crops else {})
    else:
        net = _named(name, dict(file.state), size, path, heads)
        lines = []
        inputs = inputs_of(net, size)
    made = _model(net, _beside(inputs, file, model), identity, config.get("classes") or _labels(file))
    return replace(made, assumptions=(*file.notes, *lines))


def file_identity(file: ViTFile) -> dict[str, Any]:
    """The weights of a file in a task's identity: their hash, and which of two sets was asked for."""
    chosen = {} if file.ema is None else {"ema": file.ema}
    return {"weights": sha256_of(file.path), **chosen}


def _beside(inputs: Preprocessing, file: ViTFile, model: str | None) -> Preprocessing:
    """Preprocessing with what files beside the weights say of it, unless the model was named by the user."""
    if file.sidecar is None or model is not None:
        return inputs
    given: dict[str, Any] = {
        name: getattr(file.sidecar, name) for name in ("mean", "std", "crop_pct", "crop_mode", "interpolation")
    }
    return replace(inputs, **{name: value for name, value in given.items() if value is not None})


def _labels(file: ViTFile) -> tuple[str, ...] | None:
    return None if file.sidecar is None else file.sidecar.labels


def _untrained(
    model: str | None, config: Mapping[str, Any] | None, seed: int, size: Size | None, classes: int
) -> TimmModel:
    if model is None and config is None:
        raise UsageError("an untrained model needs a timm name, for example --model vit_tiny_patch16_224")
    with seeded(seed):
        if model is not None:
            net = create_timm(timm_name(model), size, num_classes=classes)
            return _model(net, inputs_of(net, size), {"model": timm_name(model), "random_weights": seed})
        given = dict(config or {})
        net = set_input_size(build_vit(given), size)
    shape = size or cast(Size, tuple(cast(Any, net).patch_embed.img_size))
    inputs = Preprocessing(
        size=shape, mean=tuple(given["mean"]), std=tuple(given["std"]), crop_pct=float(given.get("crop_pct", 1.0))
    )
    return _model(net, inputs, {"config": given, "random_weights": seed}, given.get("classes"))


def _model(net: nn.Module, inputs: Preprocessing, identity: dict[str, Any], names: Any = None) -> TimmModel:
    plain = is_vit(net)
    kind = PlainViT if plain else TimmModel
    known = getattr(net, "pretrained_cfg", None) or {}
    return kind(
        net=net,
        inputs=inputs,
        classes=int(cast(Any, net).num_classes),
        class_names=tuple(names) if isinstance(names, (list, tuple)) else None,
        any_size=plain or not known.get("fixed_input_size", False),
        identity=identity,
    )


def inputs_of(net: nn.Module, size: Size | None = None) -> Preprocessing:
    """Preprocessing with which timm evaluates a model that it built, at `size` or else at timm's test size."""
    config = resolve_data_config(pretrained_cfg=cast(Any, net).pretrained_cfg, use_test_size=True)
    if size is None and is_vit(net):
        size = cast(Size, tuple(cast(Any, net).patch_embed.img_size))
    return Preprocessing(
        size=size or tuple(config["input_size"][1:]),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        crop_pct=float(config["crop_pct"]),
        crop_mode=config["crop_mode"],
        interpolation=config["interpolation"],
    )


def create_timm(name: str, size: Size | None, **options: Any) -> nn.Module:
    """Builds a timm model without weights, for images of `size` if its input size is fixed.

    Raises UsageError if timm refuses the options.
    """
    known = timm.get_pretrained_cfg(name)
    if size is not None and known is not None and known.fixed_input_size:
        options["img_size"] = size
    try:
        return cast(nn.Module, timm.create_model(name, pretrained=False, **options))
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise UsageError(f"timm cannot build {name} with {options}: {' '.join(str(error).split())}") from error


def _named(name: str, state: dict[str, Tensor], size: Size | None, path: Path, heads: int | None = None) -> nn.Module:
    """Builds the timm model of that name, with a classifier if the file has one, and loads `state`."""
    with torch.device("meta"):
        bare = timm.create_model(name, pretrained=False)
    if is_vit(bare):
        vit, state = from_timm(name, state, path, heads=heads, size=size)
        load_into(vit, state, f"timm's {name} from {path.name}")
        return set_input_size(vit, size)
    state = bare_state(state, re.escape(next(iter(bare.state_dict()))))
    known = timm.get_pretrained_cfg(name)
    heads = known.classifier if known is not None else None
    head = heads if isinstance(heads, str) else (heads or ("head",))[0]
    own = f"{head}.weight" in state
    options: dict[str, Any] = {"num_classes": state[f"{head}.weight"].shape[0]} if own else {}
    net = create_timm(name, size, **options)
    load_into(net, state, f"timm's {name} from {path.name}")
    return net


def set_input_size(vit: AnyViT, size: Size | None) -> AnyViT:
    """Resamples a ViT's position embeddings to images of `size`, in place, and returns the ViT.

    A stem of convolutions takes images of any size; its positions are resampled in the forward pass.
    """
    if size is not None and isinstance(vit.patch_embed, PatchEmbed):
        vit.set_input_size(img_size=size)
    return vit


def check_patches(vit: ViT, size: Size) -> None:
    """Checks that patches are square (else InputError) and divide images of `size` (else UsageError)."""
    ph, pw = patch_sides(vit)
    if ph != pw:
        raise InputError(f"the model has patches of {ph}x{pw} pixels: they must be square")
    if size[0] % ph or size[1] % ph:
        raise UsageError(f"images of {size[0]}x{size[1]} pixels cannot be cut into the model's patches of {ph}")


def image_sides(size: int | Sequence[int] | None) -> Size | None:
    """(H, W) of an image size given as one number or two; None stays None, UsageError for anything else."""
    if size is None:
        return None
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2 or any(not isinstance(side, int) or side < 1 for side in sides):
        raise UsageError(f"image_size must be one number of pixels or (height, width), got {size}")
    return sides[0], sides[1]
