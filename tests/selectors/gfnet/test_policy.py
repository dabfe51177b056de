"""The policy of GFNet: crops, and steps against whole sequences."""

from __future__ import annotations

import torch

from ltrp_bench.selectors.gfnet.policy import PatchProposal, cut, top_left


def test_crops_are_what_slices_give() -> None:
    images, crop = torch.randn(3, 3, 40, 56), 24
    actions = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.51, 0.37]])
    corners = top_left(actions, (40, 56), crop)
    assert corners.tolist() == [[0, 0], [16, 32], [8, 11]]
    found = cut(images, corners, crop)
    for image, (row, column), got in zip(images, corners.tolist(), found, strict=True):
        assert torch.equal(got, image[:, row : row + crop, column : column + crop])


def test_stepping_and_whole_sequences_agree() -> None:
    torch.manual_seed(0)
    for convolution in (True, False):
        policy = PatchProposal(4, (2, 3), hidden=8, convolution=convolution, encoded=10)
        states = torch.randn(3, 5, 4, 2, 3)
        means, _ = policy.sequence(states)
        memory = None
        for step in range(3):
            mean, memory = policy(states[step], memory)
            torch.testing.assert_close(mean, means[step])
