"""GFNet: a glance at the whole, shrunk image, then a sequence of crops.

Wang et al., "Glance and Focus", NeurIPS 2020, section 3.1: two encoders (of the glance and of the crops), a classifier
of the sequence, and a policy that places the crops.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltrp_bench.selectors.base import IMAGENET_MEAN, IMAGENET_STD, Channels
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.gfnet.encoders import Encoder, make_encoder
from ltrp_bench.selectors.gfnet.policy import ENCODED, PatchProposal, cut, top_left

LONGEST_CASCADE = 5
"""Greatest number of glimpses that released files without a GRU have classifiers for."""

Place = Callable[[int, Tensor], Tensor]
"""Takes the step (>= 1) and the [B, 2] mean action; returns the [B, 2] action to take."""


@dataclass(frozen=True)
class Glimpses:
    """Actions and outputs of GFNet on a batch, with T glimpses, of which the first is the glance.

    Attributes:
        actions: [B, T - 1, 2] positions of the crops, (row, column) in [0, 1].
        corners: [B, T - 1, 2] int64 first pixels of the crops.
        logits: [B, T, classes] after each glimpse.
        own: [B, T, classes] logits of the classifiers of the encoders, from each glimpse alone.
        states: [T - 1, B, C, h, w] feature maps, the inputs of the policy.
    """

    actions: Tensor
    corners: Tensor
    logits: Tensor
    own: Tensor
    states: Tensor


class SequenceClassifier(nn.Module):
    """Classifier of the glimpses so far: a GRU, or one linear layer per number of glimpses (names as released).

    Args:
        width: size of the features of a glimpse.
        classes: number of outputs.
        hidden: width of the GRU; None takes linear layers.
    """

    def __init__(self, width: int, classes: int, hidden: int | None) -> None:
        super().__init__()
        self.hidden = hidden
        if hidden is not None:
            self.rnn = nn.GRU(width, hidden)
            self.fc = nn.Linear(hidden, classes)
        else:
            for count in range(2, LONGEST_CASCADE + 1):
                self.add_module(f"fc_{count}", nn.Linear(width * count, classes))

    def forward(self, features: Tensor, memory: Tensor | None) -> tuple[Tensor | None, Tensor]:
        """[B, F] features of a glimpse and the memory of those before -> logits [B, classes] and memory.

        Without a GRU there are no logits of the first glimpse: the classifier of its encoder gives them.
        """
        if self.hidden is not None:
            out, memory = self.rnn(features.unsqueeze(0), memory)
            return self.fc(out[0]), memory
        memory = features if memory is None else torch.cat([memory, features], dim=1)
        count = memory.shape[1] // features.shape[1]
        return (None if count == 1 else self.get_submodule(f"fc_{count}")(memory)), memory


@dataclass(frozen=True, kw_only=True)
class GFNetConfig:
    """Architecture of a `GFNet`, as in the metadata of our files.

    Attributes:
        encoder: configuration of both encoders, see `make_encoder`.
        classes: number of categories, or their names.
        crop: side of a crop in pixels; the glance is the whole image at this size.
        glances: number of glimpses, T of the paper: the glance and T - 1 crops.
        image_size: side of the training images in pixels.
        policy_hidden, policy_convolution, policy_encoded: `hidden`, `convolution` and `encoded` of `PatchProposal`.
        fc_hidden: width of the GRU of the classifier; None takes one linear layer per number of glimpses.
        own_first: classify the glance by the classifier of its encoder.
        glance: interpolation that shrinks the image, "bicubic" or "bilinear" (corners aligned).
        patch_size: side of the patches that are ranked by default, in pixels.
        mean, std: normalization of the images, per channel of RGB in [0, 1].
        label_set: name of the label set.
    """

    encoder: Mapping[str, Any]
    classes: int | list[str]
    crop: int
    glances: int
    image_size: int
    policy_hidden: int = 1024
    policy_convolution: bool = False
    policy_encoded: int = ENCODED
    fc_hidden: int | None = 1024
    own_first: bool = False
    glance: str = "bicubic"
    patch_size: int = 16
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD
    label_set: str = ""


class GFNet(nn.Module):
    """Glance and focus.

    Raises:
        UsageError: crops larger than the images, or a config with neither a GRU nor `own_first`.
    """

    def __init__(self, config: GFNetConfig) -> None:
        super().__init__()
        if config.crop > config.image_size:
            raise UsageError(f"a crop of {config.crop} pixels does not fit into images of {config.image_size}")
        if config.fc_hidden is None and not config.own_first:
            raise UsageError("without a GRU the glance needs the classifier of its encoder: own_first")
        mean, std = list(config.mean), list(config.std)
        self.config: dict[str, Any] = {**asdict(config), "encoder": dict(config.encoder), "mean": mean, "std": std}
        self.crop, self.glances, self.image_size = config.crop, config.glances, config.image_size
        self.glance, self.own_first, self.patch_size = config.glance, config.own_first, config.patch_size
        self.mean, self.std = cast(Channels, tuple(mean)), cast(Channels, tuple(std))
        count = len(config.classes) if isinstance(config.classes, list) else config.classes
        self.prime: Encoder = make_encoder(config.encoder, count)
        self.local: Encoder = make_encoder(config.encoder, count)
        self.policy = PatchProposal(
            self.local.channels,
            self.local.map_size(config.crop),
            hidden=config.policy_hidden,
            convolution=config.policy_convolution,
            encoded=config.policy_encoded,
        )
        self.fc = SequenceClassifier(self.local.width, count, config.fc_hidden)

    def forward(self, images: Tensor, glances: int | None = None, place: Place | None = None) -> Glimpses:
        """Glance, then focus `glances` - 1 times.

        Args:
            images: [B, 3, H, W] normalized, H and W not smaller than the crop.
            glances: number of glimpses; None takes that of the training. At most 5 without a GRU.
            place: chooses the action, given the mean action of the policy; None takes the mean, as at inference. No
                gradient flows through the actions.
        """
        total = self.glances if glances is None else glances
        if self.fc.hidden is None and total > LONGEST_CASCADE:
            raise UsageError(f"a GFNet without a GRU classifies at most {LONGEST_CASCADE} glimpses, not {total}")
        size = (int(images.shape[-2]), int(images.shape[-1]))
        view = F.interpolate(images, (self.crop, self.crop), mode=self.glance, align_corners=True)
        pooled, state = self.prime(view)
        first, memory = self.fc(pooled, None)
        own = [self.prime.classify(pooled)]
        logits = [own[0] if first is None or self.own_first else first]
        actions: list[Tensor] = []
        corners: list[Tensor] = []
        states: list[Tensor] = []
        policy_memory: Tensor | None = None
        for step in range(1, total):
            states.append(state.detach())
            with torch.no_grad():
                action, policy_memory = self.policy(state, policy_memory)
                action = action if place is None else place(step, action)
            corner = top_left(action, size, self.crop)
            pooled, state = self.local(cut(images, corner, self.crop))
            out, memory = self.fc(pooled, memory)
            assert out is not None
            for kept, new in ((actions, action), (corners, corner), (logits, out), (own, self.local.classify(pooled))):
                kept.append(new)
        return Glimpses(_stack(actions), _stack(corners), _stack(logits), _stack(own), torch.stack(states))

    def focus(self, images: Tensor, glances: int | None = None) -> Tensor:
        """[B, 3, H, W] -> [B, T - 1, 2] first pixels (row, column) of the crops, as in `forward`."""
        size = (int(images.shape[-2]), int(images.shape[-1]))
        view = F.interpolate(images, (self.crop, self.crop), mode=self.glance, align_corners=True)
        state, policy_memory = self.prime(view)[1], None
        corners: list[Tensor] = []
        for step in range(1, self.glances if glances is None else glances):
            if step > 1:
                state = self.local(cut(images, corners[-1], self.crop))[1]
            action, policy_memory = self.policy(state, policy_memory)
            corners.append(top_left(action, size, self.crop))
        return _stack(corners)


def _stack(steps: list[Tensor]) -> Tensor:
    """Steps of [B, …] -> [B, T, …]."""
    return torch.stack(steps, dim=1)
