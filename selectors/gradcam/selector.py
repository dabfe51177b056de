"""Grad-CAM on vision transformers and ResNets: where a classifier's score comes from.

Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017,
equations 1 and 2. On a ViT the layer is the last block's first norm, as in the `grad-cam` package's examples.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, cast, get_args

import torch
from timm.models.resnet import ResNet
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ltrp_bench.selectors.base import BatchContext, Selector
from ltrp_bench.selectors.checkpoints import load_state, resolve
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.gradcam.resnet import STRIDE, is_resnet, load_resnet
from ltrp_bench.selectors.vit.backbones import blocks_until, load_backbone, qkv_of, tokens
from ltrp_bench.selectors.vit.blocks import attend, check_plain, close_attention, feed_forward

Combine = Literal["sum", "max"]


class ViTLayer(nn.Module):
    """A ViT cut in two at its last block's first norm."""

    def __init__(self, vit: VisionTransformer) -> None:
        super().__init__()
        check_plain(vit, "gradcam")
        self.vit = vit

    def enter(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] normalised -> [B, N, D] tokens entering the last block."""
        return blocks_until(self.vit, tokens(self.vit, images), len(self.vit.blocks) - 1)

    def layer(self, x: Tensor) -> Tensor:
        """What `enter` gives -> the layer's output, [B, N, D]."""
        return cast(Tensor, self.vit.blocks[-1].norm1(x))

    def logits(self, x: Tensor, layer: Tensor) -> Tensor:
        """What `enter` and `layer` give -> [B, classes]."""
        block = self.vit.blocks[-1]
        q, k, v = qkv_of(block.attn, layer)
        # A classifier on the class token never sees what the last block makes of the patches.
        seen = self.vit.num_prefix_tokens if self.vit.global_pool == "token" else x.shape[1]
        x = close_attention(block, x[:, :seen], attend(q[:, :, :seen], k, v, block.attn))
        return self.vit.forward_head(self.vit.norm(feed_forward(block, x)))

    def patches(self, layer: Tensor) -> Tensor:
        """The layer's output, or its gradient, without class token: [B, L, D]."""
        return layer[:, self.vit.num_prefix_tokens :]


class ResNetLayer(nn.Module):
    """A ResNet cut in two after its last stage; methods as in `ViTLayer`."""

    def __init__(self, resnet: ResNet) -> None:
        super().__init__()
        self.resnet = resnet

    def enter(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] normalised -> [B, C, H/32, W/32] output of the last stage."""
        return self.resnet.forward_features(images)

    def layer(self, x: Tensor) -> Tensor:
        """What `enter` gives is the layer."""
        return x

    def logits(self, x: Tensor, layer: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, classes]."""
        return self.resnet.forward_head(layer)

    def patches(self, layer: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, h*w, C]."""
        return layer.flatten(2).transpose(1, 2)


class GradCAMSelector(Selector):
    """The channels of a layer, weighted by their mean gradient: where the score of a class comes from.

    Batched; gradients run from the logits back to the layer and no farther.

    Args:
        weights: ViT with a class token (timm's, official, ours, or a tag such as "vit.shapes0") or ResNet (timm's or
            torchvision's state dict), with its classifier.
        model: a timm model name, where file and tensors do not tell.
        heads: attention heads of a ViT, where neither file nor width tells.
        label_set: of the classifier, where neither file nor number of outputs tells.
        target: "predicted" (the greatest logit), a class index, or "top-N" (the N greatest logits).
        combine: of "top-N": "sum" is Grad-CAM of the sum of the logits; "max" makes each class's own map, divides it
            by its greatest value, and takes the greatest of them at each patch.
        relu: cut negative values to zero, as published. Then patches that speak against the class tie, and `top_k`
            breaks ties at random; without, they are ranked too.
        image_size: side of the square images that a ResNet scores, a multiple of 32; None: 224. A ViT has its own.
    """

    name = "gradcam"
    weights_family = "vit"

    def __init__(
        self,
        weights: str | Path,
        model: str | None = None,
        heads: int | None = None,
        label_set: str | None = None,
        target: str | int = "predicted",
        combine: Combine = "sum",
        relu: bool = True,
        image_size: int | None = None,
    ) -> None:
        self.net: ViTLayer | ResNetLayer
        if is_resnet(load_state(resolve(weights))):
            self._take_resnet(weights, model, label_set, image_size)
        else:
            self._take_vit(weights, model, heads, label_set, image_size)
        self.target, self.count = self._parse(target)
        if combine not in get_args(Combine):
            raise UsageError(f"selector 'gradcam': no combine {combine!r}; there are {', '.join(get_args(Combine))}")
        if combine == "max" and (self.count is None or not relu):
            raise UsageError("selector 'gradcam': combine=max needs target=top-N and relu")
        self.combine, self.relu = combine, bool(relu)

    def _take_vit(
        self, weights: str | Path, model: str | None, heads: int | None, label_set: str | None, size: int | None
    ) -> None:
        backbone = load_backbone(weights, model, heads, label_set)
        if not backbone.classes:
            raise InputError(f"Grad-CAM needs a classifier, and {weights} holds none (no head.weight)")
        if size is not None and (size, size) != backbone.image_size:
            raise UsageError(f"selector 'gradcam': image_size is a ResNet's; this ViT takes {backbone.image_size}")
        self.net, self.classes = ViTLayer(backbone.model), backbone.classes
        self.mean, self.std, self.supervision = backbone.mean, backbone.std, backbone.supervision
        self.patch_size, self.input_size = backbone.patch_size, backbone.image_size

    def _take_resnet(self, weights: str | Path, model: str | None, label_set: str | None, size: int | None) -> None:
        backbone = load_resnet(weights, model, label_set)
        side = 224 if size is None else size
        if not isinstance(side, int) or isinstance(side, bool) or side < STRIDE or side % STRIDE:
            raise UsageError(f"selector 'gradcam': image_size is a multiple of {STRIDE}, got {size!r}")
        self.net, self.classes = ResNetLayer(backbone.model), int(backbone.model.num_classes)
        self.mean, self.std, self.supervision = backbone.mean, backbone.std, backbone.supervision
        self.patch_size, self.input_size = STRIDE, (side, side)

    def _parse(self, target: str | int) -> tuple[int | None, int | None]:
        """(class index, None), (None, N of top-N), or (None, None) for the predicted class."""
        text = str(target).strip()
        if text == "predicted":
            return None, None
        found = re.fullmatch(r"(top-)?(\d+)", text)
        if found is None or isinstance(target, bool):
            raise UsageError(f"selector 'gradcam': target is predicted, a class index or top-N, got {target!r}")
        number = int(found[2])
        if found[1] and not 1 <= number <= self.classes:
            raise UsageError(f"selector 'gradcam': top-N goes from top-1 to top-{self.classes}, got {target!r}")
        if not found[1] and number >= self.classes:
            raise UsageError(f"selector 'gradcam': classes go from 0 to {self.classes - 1}, got {target!r}")
        return (None, number) if found[1] else (number, None)

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        grid = images.shape[-2] // self.patch_size, images.shape[-1] // self.patch_size
        x = self.net.enter(images)
        # Only what follows the layer is differentiated, in float32 whatever precision came before.
        with torch.inference_mode(False), torch.enable_grad(), torch.autocast(images.device.type, enabled=False):
            x = x.float().clone()  # outside inference mode a clone is a tensor that autograd may keep
            layer = self.net.layer(x).detach().requires_grad_()
            targets = self._targets(self.net.logits(x, layer))
            maps = [self._map(layer, t, t is not targets[-1]) for t in targets]
        if self.combine == "max":
            maps = [m / m.amax(dim=1, keepdim=True).clamp(min=torch.finfo(m.dtype).tiny) for m in maps]
        return torch.stack(maps).amax(0).unflatten(1, grid)

    def _targets(self, logits: Tensor) -> list[Tensor]:
        """What is differentiated, one scalar an image: each entry [B]."""
        if self.target is not None:
            return [logits[:, self.target]]
        best = logits.topk(self.count or 1, dim=1).values
        return list(best.unbind(1)) if self.combine == "max" else [best.sum(1)]

    def _map(self, layer: Tensor, target: Tensor, again: bool) -> Tensor:
        """[B, L]: the layer's channels weighted by the mean over patches of their gradient; images do not mix."""
        (gradient,) = torch.autograd.grad(target.sum(), layer, retain_graph=again)
        weights = self.net.patches(gradient).mean(dim=1)
        cam = (self.net.patches(layer.detach()) @ weights.unsqueeze(-1)).squeeze(-1)
        return cam.clamp(min=0) if self.relu else cam
