"""Plain vision transformers from checkpoints of timm, DeiT-like official files, and bundled weights.

Methods that use attention, gradients or features of a ViT all load it here, so that they are compared on the same
weights, with the normalization, input size and label sets that belong to them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from timm.layers import Mlp, SwiGLUPacked
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ltrp_bench.selectors.base import Channels, Selector, Supervision
from ltrp_bench.selectors.checkpoints import (
    TIMM,
    builds_from_config,
    check_depths,
    load_built,
    load_into,
    looks_like,
    mismatch,
)
from ltrp_bench.selectors.errors import InputError
from ltrp_bench.selectors.ltrp.mae_checkpoints import HEADS, count_blocks
from ltrp_bench.selectors.vit.assumptions import MODEL_OR_BESIDE, assumptions_of, normalization_of
from ltrp_bench.selectors.vit.families import ViT, heads_of
from ltrp_bench.selectors.vit.hub import located
from ltrp_bench.selectors.vit.named_models import check_heads, from_timm
from ltrp_bench.selectors.vit.stem import ConvStem, stem_patch_size
from ltrp_bench.selectors.vit.supervision import supervision_of, unlabelled
from ltrp_bench.selectors.vit.vit_files import ViTFile, read_vit_file


@dataclass
class Backbone:
    """A frozen ViT, and how its images are prepared.

    Attributes:
        model: a ViT of timm in evaluation mode, float32, without gradients.
        mean, std: per channel of RGB in [0, 1].
        image_size: (H, W) of the training.
        patch_size: side of a patch in pixels.
        supervision: label sets of the training.
        assumptions, readings: see `Selector`.
    """

    model: ViT
    mean: Channels
    std: Channels
    image_size: tuple[int, int]
    patch_size: int
    supervision: Supervision
    assumptions: tuple[str, ...] = ()
    readings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def grid(self) -> tuple[int, int]:
        """Patch grid (gh, gw) at the training size."""
        return self.image_size[0] // self.patch_size, self.image_size[1] // self.patch_size

    def configure(self, selector: Selector) -> None:
        """Give a selector the normalization, sizes and supervision of these weights."""
        selector.mean, selector.std, selector.supervision = self.mean, self.std, self.supervision
        selector.input_size, selector.patch_size = self.image_size, self.patch_size
        selector.assumptions, selector.readings = self.assumptions, self.readings

    @property
    def classes(self) -> int:
        """Number of outputs of the classifier; 0 without a classifier."""
        return int(self.model.num_classes)


@builds_from_config
def load_backbone(
    weights: str | Path,
    model: str | None = None,
    *,
    heads: int | None = None,
    label_set: str | None = None,
    supervised: bool = True,
    drop: tuple[str, ...] = (),
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    published: bool = False,
    ema: bool | None = None,
    activation: str | None = None,
    remedy: str = MODEL_OR_BESIDE,
) -> Backbone:
    """Load a ViT.

    The architecture is, in this order, that of `model`; of the metadata of our own files; of the timm model that the
    file is named after ("vit_tiny_patch16_224.augreg_in21k_ft_in1k.pt"), or that `config.json` beside it names; or
    inferred from names and shapes of tensors.

    Args:
        weights: torch or safetensors file, with any prefix before its keys and under the key names of timm,
            transformers, torchvision or mmpretrain; the tag of bundled weights ("vit.shapes0"); or a name on a hub,
            "timm:NAME" or "hf-hub:OWNER/NAME".
        model: name of a timm model, with or without "timm:"; without a tag it means timm's default weights.
        heads: number of attention heads; only needed if neither file nor width identifies it.
        label_set: label sets of the whole training in its order, joined by "+" ("imagenet21k+imagenet1k"); only needed
            if neither file, timm tag nor number of outputs identifies them. "self" for weights trained without labels.
        supervised: False if the weights were trained without labels (DINO, MAE, MoCo); no classifier is needed then.
        drop: prefixes of keys to leave out, which belong to another part of the method.
        mean, std: normalization of the images per channel of RGB in [0, 1], if it is not that of the file, of
            `config.json` beside it or of timm's name.
        published: True if what no file says is known of published weights, so that nothing is assumed.
        ema, remedy: see `read_weights` and `assumptions_of`.
        activation: timm's name of the activation of a CLIP or SigLIP, if neither its file nor one beside it says it.

    Raises:
        InputError: a missing, corrupt or foreign file; the message names its keys and what it looks like.
        UsageError: an unknown timm model, or a statement that the file contradicts.
    """
    if model is None and str(weights).startswith(TIMM):
        model = str(weights)
    file = read_vit_file(located(weights), model, ema)
    found = build_from(file, heads, drop, activation)
    classes = int(found.num_classes) or file.evidence.classes
    # A model without a tag may be meant as an architecture alone.
    tagged = file.tagged if model is None else file.name if "." in model else None
    if supervised:
        supervision = supervision_of(file.name or tagged, file.config, classes, label_set, file.evidence)
    else:
        supervision = unlabelled(tagged, file.config, file.evidence)
    values = normalization_of(file, mean, std, named=model is not None)
    size, patch = found.patch_embed.img_size, found.patch_embed.patch_size
    count = heads_of(found)
    assumed = [] if published else assumptions_of(file, values, None if heads else count, remedy=remedy)
    readings: dict[str, Any] = {}
    if assumed or file.sidecar is not None:
        readings = {"mean": list(values.mean), "std": list(values.std), "heads": count}
    return Backbone(
        found,
        values.mean,
        values.std,
        (int(size[0]), int(size[1])),
        int(patch[0]),
        supervision,
        (*file.notes, *assumed),
        readings,
    )


def build_from(
    file: ViTFile, heads: int | None = None, drop: tuple[str, ...] = (), activation: str | None = None
) -> ViT:
    """The ViT of a file, frozen and in evaluation mode; arguments and errors as of `load_backbone`."""
    state = file.state
    if not any(key.startswith("decoder") for key in state):
        drop = (*drop, "mask_token", "masked_embed")  # of DINOv2, iBOT and the like, for training alone
    state = {k: v for k, v in state.items() if not k.startswith(drop)}
    beside = file.sidecar
    if heads is None and beside is not None and file.name is None:
        heads = beside.heads
    if file.name and not file.config:
        net, state = from_timm(file.name, state, file.path, heads=heads)
        load_into(net, state, f"the ViT {file.name}")
    else:
        known: dict[str, Any] = {}
        if beside is not None and beside.eps is not None:
            known["layer_norm_eps"] = beside.eps
        if file.clip or file.siglip:
            known["act"] = activation or file.activation
        what = f"a plain ViT ({file.path.name})"
        config = {**known, **file.config}
        measured = vit_config(state, config.get("heads", heads), what)
        check_depths(measured, config, what)
        config = {**measured, **config}
        net = load_built(lambda: build_vit(config), state, f"the ViT {file.path.name}")
    net.eval().requires_grad_(False)
    return net


def vit_config(state: Mapping[str, Tensor], heads: int | None, what: str) -> dict[str, Any]:
    """Infer the configuration of a ViT from its state dict.

    Raises:
        InputError: a state dict of another model, or an unknown number of heads.
    """
    pooled = "attn_pool.latent" in state  # SigLIP, which has no class token
    needed = (
        *(() if pooled else ("cls_token",)),
        "pos_embed",
        "patch_embed.proj.weight",
        "blocks.0.attn.qkv.weight",
        "blocks.0.mlp.fc1.weight",
        "blocks.0.mlp.fc2.weight",
    )
    missing = [key for key in needed if key not in state]
    if missing:
        raise mismatch(what, state, missing)
    width, convolved = int(state["pos_embed"].shape[-1]), stem_patch_size(state)
    registers = int(state["reg_token"].shape[-2]) if "reg_token" in state else 0
    places = int(state["pos_embed"].shape[-2])
    prefix = registers + ("cls_token" in state)
    patches = next((n for n in (places - prefix, places) if n > 0 and math.isqrt(n) ** 2 == n), None)
    if patches is None:
        raise InputError(
            f"{what} has {places} positions, which are no square grid, with or without one for the class token: it "
            f"looks like {looks_like(state)}"
        )
    patch = convolved or int(state["patch_embed.proj.weight"].shape[-1])
    heads = heads or HEADS.get(width)
    if heads is None:
        raise InputError(f"cannot infer the number of attention heads of {what} from its width {width}: give heads=N")
    check_heads(heads, width, what)
    swiglu = state["blocks.0.mlp.fc2.weight"].shape[-1] * 2 == state["blocks.0.mlp.fc1.weight"].shape[0]
    return {
        "image_size": math.isqrt(patches) * patch,
        "patch_size": patch,
        "embed_dim": width,
        "depth": count_blocks(state, "blocks"),
        "heads": heads,
        "classes": int(state["head.weight"].shape[0]) if "head.weight" in state else 0,
        "mlp_ratio": state["blocks.0.mlp.fc1.weight"].shape[0] / width,
        "qkv_bias": "blocks.0.attn.qkv.bias" in state,
        "fc_norm": "fc_norm.weight" in state,
        "stem": "conv" if convolved else "patch",
        **({"layer_scale": True} if "blocks.0.ls1.gamma" in state else {}),
        **({"no_embed_class": True} if prefix and patches == places else {}),
        **({"registers": registers} if registers else {}),
        **({"mlp": "swiglu"} if swiglu else {}),
        **({"attention_pool": True, "class_token": "cls_token" in state} if pooled else {}),
        **({"pre_norm": True, "layer_norm_eps": 1e-5} if "norm_pre.weight" in state else {}),
    }


def build_vit(config: Mapping[str, Any]) -> VisionTransformer:
    """Build a timm ViT from a configuration as in `vit_config` and in the metadata of our own files."""
    classes = config.get("classes", 0)
    net = VisionTransformer(
        img_size=config["image_size"],
        patch_size=config["patch_size"],
        embed_dim=config["embed_dim"],
        depth=config["depth"],
        num_heads=config["heads"],
        num_classes=len(classes) if isinstance(classes, list) else classes,
        mlp_ratio=config.get("mlp_ratio", 4.0),
        qkv_bias=config.get("qkv_bias", True),
        init_values=1.0 if config.get("layer_scale") else None,
        no_embed_class=bool(config.get("no_embed_class")),
        reg_tokens=config.get("registers", 0),
        class_token=config.get("class_token", True),
        mlp_layer=SwiGLUPacked if config.get("mlp") == "swiglu" else Mlp,
        pre_norm=bool(config.get("pre_norm")),
        act_layer=config.get("act"),
        global_pool="avg" if config.get("fc_norm") else "map" if config.get("attention_pool") else "token",
        norm_layer=partial(nn.LayerNorm, eps=config.get("layer_norm_eps", 1e-6)),
    )
    if config.get("stem", "patch") == "conv":
        net.patch_embed = ConvStem(config["image_size"], config["patch_size"], config["embed_dim"])
    return net


def tokens(model: VisionTransformer, images: Tensor) -> Tensor:
    """[B, 3, H, W] -> [B, 1 + L, D]: class token and patches with positions, before the first block.

    For images of the training size; others need interpolated positions, see `resample_positions`.
    """
    return embedded(model, model.patch_embed(images))


def embedded(model: VisionTransformer, patches: Tensor) -> Tensor:
    """[B, L, D] patch embeddings -> [B, 1 + L, D] tokens as returned by `tokens`."""
    return model.norm_pre(model.patch_drop(model._pos_embed(patches)))


def qkv_of(attn: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """[B, N, D] tokens after the norm -> queries, keys, values [B, heads, N, D/heads] of a timm attention."""
    b, n, _ = x.shape
    q, k, v = attn.qkv(x).reshape(b, n, 3, attn.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
    return attn.q_norm(q), attn.k_norm(k), v
