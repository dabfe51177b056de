"""Patch proposal network of GFNet: the position of the next glimpse (Wang et al., NeurIPS 2020, section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

CONVOLVED = 32
"""Output channels of the 1x1 convolution (as released)."""
ENCODED = 2048
"""Width of the first linear layer without a convolution (as released)."""


class PatchProposal(nn.Module):
    """GRU over feature maps: the actor gives the mean action, the position of the next crop; the critic the return.

    Parameter names follow the released files.

    Args:
        channels: number of channels of the feature map.
        size: (h, w) of the feature map.
        hidden: width of the GRU.
        convolution: start with a 1x1 convolution to 32 channels, without bias, instead of a linear layer to `encoded`.
        encoded: width of that linear layer.
    """

    def __init__(
        self, channels: int, size: tuple[int, int], *, hidden: int, convolution: bool, encoded: int = ENCODED
    ) -> None:
        super().__init__()
        self.hidden, self.convolution = hidden, convolution
        places = size[0] * size[1]
        if convolution:
            self.state_encoder = nn.Sequential(
                nn.Conv2d(channels, CONVOLVED, 1, bias=False),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(CONVOLVED * places, hidden),
                nn.ReLU(),
            )
        else:
            self.state_encoder = nn.Sequential(
                nn.Linear(channels * places, encoded), nn.ReLU(), nn.Linear(encoded, hidden), nn.ReLU()
            )
        self.gru = nn.GRU(hidden, hidden)
        self.actor = nn.Sequential(nn.Linear(hidden, 2), nn.Sigmoid())
        self.critic = nn.Sequential(nn.Linear(hidden, 1))

    def forward(self, state: Tensor, memory: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One step.

        Args:
            state: [B, C, h, w] feature map of the last glimpse.
            memory: [1, B, hidden] state of the GRU after the step before; None at the first step.

        Returns:
            [B, 2] mean action (row, column) in [0, 1], and the memory for the next step.
        """
        encoded = self.state_encoder(state if self.convolution else state.flatten(1))
        out, memory = self.gru(encoded.unsqueeze(0), memory)
        return self.actor(out[0]), memory

    def sequence(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """All steps at once: [T, B, C, h, w] maps -> mean actions [T, B, 2] and expected returns [T, B]."""
        steps, batch = states.shape[:2]
        flat = states.flatten(0, 1)
        encoded = self.state_encoder(flat if self.convolution else flat.flatten(1))
        out, _ = self.gru(encoded.view(steps, batch, -1))
        return self.actor(out).float(), self.critic(out).squeeze(-1).float()


def top_left(actions: Tensor, image: tuple[int, int], crop: int) -> Tensor:
    """[..., 2] actions in [0, 1] -> [..., 2] int64 (row, column) of a crop's first pixel: floor(a * (side - crop))."""
    room = torch.tensor([image[0] - crop, image[1] - crop], device=actions.device)
    return (actions.float() * room).floor().long().clamp(torch.zeros_like(room), room)


def cut(images: Tensor, corners: Tensor, crop: int) -> Tensor:
    """[B, 3, H, W] and [B, 2] first pixels -> [B, 3, crop, crop]."""
    span = torch.arange(crop, device=images.device)
    rows = (corners[:, 0, None] + span)[:, None, :, None]
    columns = (corners[:, 1, None] + span)[:, None, None, :]
    batch = torch.arange(len(images), device=images.device)[:, None, None, None]
    channel = torch.arange(images.shape[1], device=images.device)[None, :, None, None]
    return images[batch, channel, rows, columns]
