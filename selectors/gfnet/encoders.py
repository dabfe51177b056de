"""Encoders of the crops in GFNet: the published convolutional networks and plain ViTs, behind one interface."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import timm
import torch
from timm.models.mobilenetv3 import _gen_mobilenet_v3
from torch import Tensor, nn

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.vit.backbones import build_vit

Pool = Literal["avg", "max", "token"]


class Encoder(nn.Module, ABC):
    """Base class of encoders of crops.

    Attributes:
        channels: number of channels of the feature map, the input of the policy.
        width: size of the pooled features, the input of the classifier.
    """

    channels: int
    width: int

    @abstractmethod
    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 3, S, S] normalized crops -> pooled features [B, width] and feature map [B, channels, h, w]."""

    @abstractmethod
    def classify(self, pooled: Tensor) -> Tensor:
        """[B, width] -> [B, classes] logits of the classifier of this encoder alone."""

    def map_size(self, crop: int) -> tuple[int, int]:
        """(h, w) of the feature map of crops of `crop` pixels."""
        training = self.training
        with torch.no_grad():
            _, found = self.eval()(torch.zeros(1, 3, crop, crop, device=next(self.parameters()).device))
        self.train(training)
        return int(found.shape[-2]), int(found.shape[-1])


@dataclass(frozen=True)
class Published:
    """Released configuration of GFNet on one backbone.

    Attributes:
        image_size: side of the images in pixels.
        glance: interpolation that shrinks the image for the first glimpse.
        convolution: True if the policy starts with a 1x1 convolution instead of a linear layer.
        recurrent: True if the classifier is a GRU; False for one linear layer per length of the sequence.
        own_first: True if the first glimpse is classified by the classifier of the prime encoder.
    """

    image_size: int = 224
    glance: Literal["bicubic", "bilinear"] = "bicubic"
    convolution: bool = True
    recurrent: bool = True
    own_first: bool = True


_RESNET = Published(convolution=False, own_first=False)
_DENSENET = Published(glance="bilinear", convolution=False, own_first=False)
_REGNET = Published(glance="bilinear")
_MOBILENET = Published(recurrent=False)
PUBLISHED: Mapping[str, Published] = {
    "resnet50": _RESNET,
    "densenet121": _DENSENET,
    "densenet169": _DENSENET,
    "densenet201": _DENSENET,
    "mobilenetv3_large_100": _MOBILENET,
    "mobilenetv3_large_125": _MOBILENET,
    "efficientnet_b2": Published(image_size=260, recurrent=False),
    "efficientnet_b3": Published(image_size=300, recurrent=False),
    "regnety_600m": _REGNET,
    "regnety_800m": _REGNET,
    "regnety_1.6g": _REGNET,
}
"""Backbones of the released files, by their `model_name`."""

TIMM_NAMES = {"regnety_600m": "regnety_006", "regnety_800m": "regnety_008", "regnety_1.6g": "regnety_016"}


class CnnEncoder(Encoder):
    """One of the published convolutional backbones, built by timm.

    Args:
        name: key of `PUBLISHED`.
        classes: number of outputs of its classifier.
    """

    def __init__(self, name: str, classes: int = 1000) -> None:
        super().__init__()
        if name not in PUBLISHED:
            raise UsageError(f"no GFNet backbone {name!r}; there are {', '.join(PUBLISHED)}")
        if name == "mobilenetv3_large_125":
            # The only width without a name in timm.
            net = _gen_mobilenet_v3("mobilenetv3_large_100", 1.25, pretrained=False, num_classes=classes)
        else:
            net = timm.create_model(TIMM_NAMES.get(name, name), pretrained=False, num_classes=classes)
        self.net = net
        self.width = int(net.get_classifier().in_features)
        # MobileNetV3 pools before its last convolution: the feature map has fewer channels than the features.
        self.channels = int(net.num_features)

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """See `Encoder.forward`."""
        found = self.net.forward_features(crops)
        return self.net.forward_head(found, pre_logits=True), found

    def classify(self, pooled: Tensor) -> Tensor:
        """See `Encoder.classify`."""
        return cast(Tensor, self.net.get_classifier()(pooled))


class VitEncoder(Encoder):
    """A plain ViT on crops, with its patch tokens as the feature map.

    Args:
        config: as in `build_vit`; `image_size` is the side of a crop.
        classes: number of outputs of its classifier.
        pool: input of the classifier: mean ("avg") or maximum ("max") of the patch tokens, or the class token.
    """

    def __init__(self, config: Mapping[str, Any], classes: int, pool: Pool = "avg") -> None:
        super().__init__()
        if pool not in ("avg", "max", "token"):
            raise UsageError(f"no pooling {pool!r}; there are avg, max and token")
        self.pool = pool
        self.net = build_vit({**config, "classes": 0, "fc_norm": False})
        self.channels = self.width = int(self.net.embed_dim)
        self.head = nn.Linear(self.width, classes)
        self.grid = tuple(int(n) for n in self.net.patch_embed.grid_size)

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """See `Encoder.forward`."""
        tokens = self.net.forward_features(crops)
        patches = tokens[:, 1:]
        pooled = {"avg": patches.mean(1), "max": patches.amax(1), "token": tokens[:, 0]}[self.pool]
        return pooled, patches.transpose(1, 2).unflatten(2, self.grid)

    def classify(self, pooled: Tensor) -> Tensor:
        """See `Encoder.classify`."""
        return cast(Tensor, self.head(pooled))


def make_encoder(config: Mapping[str, Any], classes: int) -> Encoder:
    """Build an encoder from {"backbone": name of `PUBLISHED`} or {"backbone": "vit", "pool": …, as in `build_vit`}."""
    name = str(config["backbone"])
    if name == "vit":
        return VitEncoder(config, classes, config.get("pool", "avg"))
    return CnnEncoder(name, classes)


# Names of the parts of a bottleneck in pycls, and in timm.
_PYCLS = (
    (r"\.f\.([abc])\.", lambda m: f".conv{'abc'.index(m[1]) + 1}.conv."),
    (r"\.f\.([abc])_bn\.", lambda m: f".conv{'abc'.index(m[1]) + 1}.bn."),
    (r"\.f\.se\.f_ex\.0\.", ".se.fc1."),
    (r"\.f\.se\.f_ex\.2\.", ".se.fc2."),
    (r"^(s\d+\.b\d+)\.proj\.", r"\1.downsample.conv."),
    (r"^(s\d+\.b\d+)\.bn\.", r"\1.downsample.bn."),
    (r"^fc\.", "head.fc."),
)


def timm_keys(name: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict of a released backbone under timm's keys (RegNets are from pycls; `fc` is a DenseNet's classifier)."""
    if name.startswith("regnety"):
        renamed = dict(state)
        for pattern, into in _PYCLS:
            renamed = {re.sub(pattern, into, key): value for key, value in renamed.items()}
        return renamed
    if name.startswith("densenet"):
        return {re.sub(r"^fc\.", "classifier.", key): value for key, value in state.items()}
    return dict(state)
