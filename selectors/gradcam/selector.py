"""Grad-CAM on vision transformers and ResNets: where the score of a classifier comes from.

Patches are ranked by the channels of a late layer, weighted by their mean gradient with respect to the class score.
Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017,
equations 1 and 2. On a ViT the layer is the first norm of the last block, as in the examples of the `grad-cam` package.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import torch
from timm.models.resnet import ResNet
from torch import Tensor, nn

from ltrp_bench.selectors.base import BatchContext, Selector
from ltrp_bench.selectors.checkpoints import load_state, resolve
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.gradcam.resnet import STRIDE, ResNetBackbone, is_resnet, load_resnet
from ltrp_bench.selectors.option_checks import check_value
from ltrp_bench.selectors.vit.backbones import Backbone, load_backbone, qkv_of
from ltrp_bench.selectors.vit.blocks import attend, close_attention, feed_forward, is_plain
from ltrp_bench.selectors.vit.embedding import rotary_tables
from ltrp_bench.selectors.vit.families import ViT, run_block
from ltrp_bench.selectors.vit.reading import ViTReader

Combine = Literal["sum", "max"]


class ViTLayer(nn.Module):
    """A ViT, split at the first norm of its last block."""

    def __init__(self, vit: ViT) -> None:
        super().__init__()
        self.vit = vit
        last: Any = vit.blocks[-1]
        norm = getattr(last, "norm1", None) or getattr(last, "in_norm", None)
        if not isinstance(norm, nn.Module):
            raise InputError(
                f"gradcam needs a last block with one first norm, these weights have {type(last).__name__}"
            )
        self.norm = norm

    def enter(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] normalized images -> [B, N, D] input of the last block."""
        reader = ViTReader(self.vit)
        return reader.input_of(reader.tokens(images), reader.depth - 1)

    def layer(self, x: Tensor) -> Tensor:
        """Output of `enter` -> [B, N, D] output of the layer."""
        if is_plain(self.vit.blocks[-1]):
            return cast(Tensor, self.norm(x))
        seen: list[Tensor] = []
        self._last_block(x, lambda _module, _inputs, output: seen.append(output))
        return seen[0]

    def logits(self, x: Tensor, layer: Tensor) -> Tensor:
        """Outputs of `enter` and `layer` -> [B, classes] logits."""
        block = self.vit.blocks[-1]
        if is_plain(block):
            q, k, v = qkv_of(block.attn, layer)
            # A classifier on the class token does not use the patches after the last block.
            seen = int(self.vit.num_prefix_tokens) if self.vit.global_pool == "token" else x.shape[1]
            x = feed_forward(block, close_attention(block, x[:, :seen], attend(q[:, :, :seen], k, v, block.attn)))
        else:
            x = self._last_block(x, lambda _module, _inputs, _output: layer)
        return cast(Tensor, self.vit.forward_head(self.vit.norm(x)))

    def _last_block(self, x: Tensor, hook: Callable[..., Tensor | None]) -> Tensor:
        """The last block with a forward hook on the layer, whose tensor takes the place of the layer's output."""
        sides = self.vit.patch_embed.grid_size
        handle = self.norm.register_forward_hook(hook)
        try:
            return run_block(self.vit.blocks[-1], x, rotary_tables(self.vit, (int(sides[0]), int(sides[1])))[-1])
        finally:
            handle.remove()

    def patches(self, layer: Tensor) -> Tensor:
        """Output of the layer, or its gradient, without the tokens before the patches: [B, L, D]."""
        return layer[:, int(self.vit.num_prefix_tokens) :]


class ResNetLayer(nn.Module):
    """A ResNet, split after its last stage; methods as in `ViTLayer`."""

    def __init__(self, resnet: ResNet) -> None:
        super().__init__()
        self.resnet = resnet

    def enter(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] normalized images -> [B, C, H/32, W/32] output of the last stage."""
        return self.resnet.forward_features(images)

    def layer(self, x: Tensor) -> Tensor:
        """The output of `enter` itself."""
        return x

    def logits(self, x: Tensor, layer: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, classes]."""
        return self.resnet.forward_head(layer)

    def patches(self, layer: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, h*w, C]."""
        return layer.flatten(2).transpose(1, 2)


class GradCAMSelector(Selector):
    """Ranks patches by the channels of a layer, weighted by their mean gradient.

    Batched; the backward pass ends at the layer.

    Args:
        weights: a ViT (a file of timm, official or of ours, or a tag such as "vit.shapes0") or a ResNet (state dict of
            timm or torchvision), with its classifier.
        model, heads, label_set: as in `load_backbone`; a ResNet has no heads.
        target: "predicted" (the greatest logit), a class index, or "top-N" (the N greatest logits).
        combine: how "top-N" combines classes: "sum" takes the Grad-CAM of the sum of the logits; "max" divides the map
            of each class by its maximum and takes the maximum over classes.
        relu: clip negative values to 0, as published. Patches that speak against the class then tie, and `top_k`
            breaks ties by a hash; without the ReLU they are ranked too.
        image_size: side of the square images of a ResNet, a multiple of 32; None takes 224. A ViT has its own size.
        mean, std: normalization of the images per channel, if the file does not say it; see `load_backbone`.
        ema: which set of weights to take from a file that holds a model and its moving average; see `read_weights`.
    """

    name = "gradcam"
    weights_family = "vit"
    later_options = ("mean", "std", "ema")

    def __init__(
        self,
        weights: str | Path,
        *,
        model: str | None = None,
        heads: int | None = None,
        label_set: str | None = None,
        target: str | int = "predicted",
        combine: Combine = "sum",
        relu: bool = True,
        image_size: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        ema: bool | None = None,
    ) -> None:
        self.net: ViTLayer | ResNetLayer
        given: dict[str, Any] = {"model": model, "label_set": label_set, "mean": mean, "std": std, "ema": ema}
        if is_resnet(load_state(resolve(weights))):
            self._use_resnet(load_resnet(weights, **given), image_size)
        else:
            self._use_vit(load_backbone(weights, heads=heads, **given), Path(weights), image_size)
        self.target, self.count = self._parse(target)
        check_value("selector 'gradcam'", "combine", combine, Combine)
        if combine == "max" and (self.count is None or not relu):
            raise UsageError("selector 'gradcam': combine=max needs target=top-N and relu")
        self.combine, self.relu = combine, bool(relu)

    def _use_vit(self, backbone: Backbone, weights: Path, size: int | None) -> None:
        if not backbone.classes:
            raise InputError(f"Grad-CAM needs a classifier, but {weights} contains none (no head.weight)")
        if backbone.supervision.label_sets == ("captions",):
            raise InputError(f"Grad-CAM needs a classifier, but the outputs of {weights} are an embedding of texts")
        if size is not None and (size, size) != backbone.image_size:
            raise UsageError(f"selector 'gradcam': image_size is a ResNet's; this ViT takes {backbone.image_size}")
        self.net, self.classes = ViTLayer(backbone.model), backbone.classes
        backbone.configure(self)

    def _use_resnet(self, backbone: ResNetBackbone, size: int | None) -> None:
        side = 224 if size is None else size
        if not isinstance(side, int) or isinstance(side, bool) or side < STRIDE or side % STRIDE:
            raise UsageError(f"selector 'gradcam': image_size is a multiple of {STRIDE}, got {size!r}")
        self.net, self.classes = ResNetLayer(backbone.model), int(backbone.model.num_classes)
        self.mean, self.std, self.supervision = backbone.mean, backbone.std, backbone.supervision
        self.assumptions, self.readings = backbone.assumptions, backbone.readings
        self.patch_size, self.input_size = STRIDE, (side, side)

    def _parse(self, target: str | int) -> tuple[int | None, int | None]:
        """(class index, None), (None, N) for "top-N", or (None, None) for the predicted class."""
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
        x = self.net.enter(images)
        # Only the part after the layer is differentiated, in float32 under any autocast.
        with torch.inference_mode(False), torch.enable_grad(), torch.autocast(images.device.type, enabled=False):
            x = x.float().clone()  # a clone outside inference mode can be saved by autograd
            layer = self.net.layer(x).detach().requires_grad_()
            targets = self._targets(self.net.logits(x, layer))
            maps = [self._map(layer, t, t is not targets[-1]) for t in targets]
        if self.combine == "max":
            maps = [m / m.amax(dim=1, keepdim=True).clamp(min=torch.finfo(m.dtype).tiny) for m in maps]
        return torch.stack(maps).amax(0).unflatten(1, self.grid_of(images))

    def _targets(self, logits: Tensor) -> list[Tensor]:
        """Scores to differentiate, each [B]."""
        if self.target is not None:
            return [logits[:, self.target]]
        best = logits.topk(self.count or 1, dim=1).values
        return list(best.unbind(1)) if self.combine == "max" else [best.sum(1)]

    def _map(self, layer: Tensor, target: Tensor, again: bool) -> Tensor:
        """[B, L] map of one score; `again` keeps the graph for another one. Images do not mix."""
        (gradient,) = torch.autograd.grad(target.sum(), layer, retain_graph=again)
        weights = self.net.patches(gradient).mean(dim=1)
        cam = (self.net.patches(layer.detach()) @ weights.unsqueeze(-1)).squeeze(-1)
        return cam.clamp(min=0) if self.relu else cam
