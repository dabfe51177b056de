"""Losses of GFNet: PPO against hand-computed cases, and training a policy that must find a bright spot."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltrp_bench.selectors.gfnet.encoders import Encoder
from ltrp_bench.selectors.gfnet.losses import (
    PolicyOptions,
    Rollout,
    clipped_surrogate,
    confidence,
    discounted,
    gaussian_actions,
    glimpse_loss,
    log_prob,
    policy_loss,
    roll_out,
    standardized,
    uniform_actions,
)
from ltrp_bench.selectors.gfnet.model import GFNet, GFNetConfig, Glimpses
from ltrp_bench.selectors.gfnet.policy import PatchProposal

VIT = {"backbone": "vit", "image_size": 48, "patch_size": 8, "embed_dim": 16, "depth": 1, "heads": 2}


CONFIG = GFNetConfig(
    encoder=VIT, classes=3, crop=48, glances=5, image_size=96, policy_hidden=16, policy_convolution=True, fc_hidden=16
)


def tiny() -> GFNet:
    torch.manual_seed(0)
    return GFNet(CONFIG)


def test_discounted_rewards_by_hand() -> None:
    rewards = torch.tensor([[1.0, 0.0], [2.0, -1.0], [4.0, 2.0]])
    # R3 = 4, R2 = 2 + 0.5 * 4, R1 = 1 + 0.5 * 4; and 2, -1 + 1, 0 + 0.
    assert discounted(rewards, 0.5).tolist() == [[3.0, 0.0], [4.0, 0.0], [4.0, 2.0]]
    assert rewards[0, 0] == 1.0


def test_returns_are_normalised_over_all_steps_together() -> None:
    found = standardized(torch.tensor([[0.0, 2.0], [4.0, 6.0]]))
    # Mean 3, deviation sqrt(20 / 3).
    expected = torch.tensor([[-3.0, -1.0], [1.0, 3.0]]) / math.sqrt(20 / 3)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_log_probability_is_that_of_a_gaussian() -> None:
    means, actions = torch.rand(4, 3, 2), torch.rand(4, 3, 2)
    expected = torch.distributions.Normal(means, 0.1).log_prob(actions).sum(-1)
    torch.testing.assert_close(log_prob(actions, means, 0.1), expected)


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected", "learns"),
    [
        (1.0, 2.0, 2.0, True),
        (1.5, 2.0, 2.4, False),  # more probable by half and good: no more than 1.2 is rewarded
        (1.5, -2.0, -3.0, True),  # more probable and bad: the whole of it is punished
        (0.5, 2.0, 1.0, True),
        (0.5, -2.0, -1.6, False),  # less probable and bad: no more than 0.8 is rewarded
    ],
)
def test_clipped_surrogate_by_hand(ratio: float, advantage: float, expected: float, learns: bool) -> None:
    now = torch.tensor([math.log(ratio)], requires_grad=True)
    found = clipped_surrogate(now, torch.zeros(1), torch.tensor([advantage]), 0.2)
    assert found.item() == pytest.approx(expected, abs=1e-6)
    (gradient,) = torch.autograd.grad(found.sum(), now)
    assert gradient.item() == pytest.approx(ratio * advantage if learns else 0.0, abs=1e-6)


def test_policy_loss_by_hand() -> None:
    torch.manual_seed(0)
    policy = PatchProposal(4, (2, 2), hidden=8, convolution=True)
    states, actions = torch.randn(3, 5, 4, 2, 2), torch.rand(3, 5, 2)
    means, values = policy.sequence(states)
    before = log_prob(actions, means, 0.1).detach() + torch.linspace(-0.6, 0.6, 15).view(3, 5)
    returns = torch.randn(3, 5)
    options = PolicyOptions(clip=0.2, value=0.5, entropy=0.01)
    found = policy_loss(policy, Rollout(states, actions, before, returns, torch.zeros(())), options)
    total = 0.0
    for step in range(3):
        for image in range(5):
            normal = torch.distributions.Normal(means[step, image], 0.1)
            ratio = (normal.log_prob(actions[step, image]).sum() - before[step, image]).exp().item()
            value, wanted = values[step, image].item(), returns[step, image].item()
            gain = min(ratio * (wanted - value), min(max(ratio, 0.8), 1.2) * (wanted - value))
            total += -gain + 0.5 * (wanted - value) ** 2 - 0.01 * normal.entropy().sum().item()
    assert found.item() == pytest.approx(total / 15, abs=1e-4)


def test_rewards_are_what_a_crop_adds_to_the_true_class() -> None:
    net, images, labels = tiny(), torch.randn(4, 3, 96, 96), torch.tensor([0, 1, 2, 0])
    options = PolicyOptions()
    seen = roll_out(net, images, labels, options, torch.Generator().manual_seed(5))
    with torch.no_grad():
        glimpses = net(images, place=gaussian_actions(options.spread, torch.Generator().manual_seed(5)))
    sure = torch.stack([glimpses.logits[i].softmax(-1)[:, label] for i, label in enumerate(labels)])
    torch.testing.assert_close(confidence(glimpses, labels), sure)
    rewards = (sure[:, 1:] - sure[:, :-1]).T
    torch.testing.assert_close(seen.returns, standardized(discounted(rewards, 0.7)))
    assert seen.reward.item() == pytest.approx(rewards.mean().item())
    assert (
        torch.equal(seen.actions, glimpses.actions.transpose(0, 1))
        and 0 <= seen.actions.min() <= seen.actions.max() <= 1
    )
    # Nothing was learnt yet: every ratio is one.
    means, _ = net.policy.sequence(seen.states)
    torch.testing.assert_close(log_prob(seen.actions, means, 0.1), seen.log_probs)


def test_look_loss_by_hand_and_whom_it_teaches() -> None:
    net, images, labels = tiny(), torch.randn(4, 3, 96, 96), torch.tensor([0, 1, 2, 0])
    glimpses: Glimpses = net(images, place=uniform_actions(4, torch.Generator().manual_seed(0)))
    expected = sum(
        F.cross_entropy(glimpses.logits[:, t], labels) + 0.5 * F.cross_entropy(glimpses.own[:, t], labels)
        for t in range(5)
    )
    loss = glimpse_loss(glimpses, labels, 0.5)
    torch.testing.assert_close(loss, expected / 5)
    loss.backward()
    for name, parameter in net.named_parameters():
        has_gradient = parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
        assert has_gradient != name.startswith("policy."), name


def test_random_crops_cover_the_image_and_depend_on_the_generator() -> None:
    place, mean = uniform_actions(1000, torch.Generator().manual_seed(0)), torch.zeros(1000, 2)
    first, second = place(1, mean), place(2, mean)
    assert not torch.equal(first, second) and first.min() < 0.01 and first.max() > 0.99
    assert torch.equal(first, uniform_actions(1000, torch.Generator().manual_seed(0))(1, mean))
    away = gaussian_actions(0.1, torch.Generator().manual_seed(0))(1, mean + 0.5) - 0.5
    assert away.std().item() == pytest.approx(0.1, abs=0.01)


class Brightness(Encoder):
    """Sees how bright a crop is, and nothing else."""

    channels, width = 2, 1

    def __init__(self) -> None:
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(1))

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        bright = crops.mean((1, 2, 3))
        return bright[:, None], bright.view(-1, 1, 1, 1).expand(-1, 2, 2, 2)

    def classify(self, pooled: Tensor) -> Tensor:
        return torch.cat([pooled, -pooled], dim=1)


class LastLook(nn.Module):
    """Believes in class 0 as much as the last look was bright."""

    hidden = 1

    def forward(self, features: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor]:
        return torch.cat([4 * features, -4 * features], dim=1), features


def learn_the_spot(updates: int) -> tuple[float, float]:
    """Mean reward of the first crop under the mean action, before and after PPO; the spot is in one corner."""
    torch.manual_seed(0)
    net = GFNet(replace(CONFIG, classes=2, glances=3))
    net.prime, net.local, net.fc = Brightness(), Brightness(), LastLook()  # type: ignore[assignment]
    net.policy = PatchProposal(2, (2, 2), hidden=16, convolution=True)
    images = torch.zeros(32, 3, 96, 96)
    images[:, :, 60:96, 0:36] = 1.0
    labels, options = torch.zeros(32, dtype=torch.long), PolicyOptions(epochs=4)
    optimiser = torch.optim.Adam(net.policy.parameters(), lr=3e-3)

    def worth() -> float:
        with torch.no_grad():
            return float(net(images).logits[:, 1:, 0].mean() / 4)

    before = worth()
    for update in range(updates):
        seen = roll_out(net, images, labels, options, torch.Generator().manual_seed(update))
        for _ in range(options.epochs):
            optimiser.zero_grad()
            policy_loss(net.policy, seen, options).backward()
            optimiser.step()
    return before, worth()


def test_ppo_finds_a_bright_spot() -> None:
    before, after = learn_the_spot(60)
    # 36 x 36 of 48 x 48 pixels is all there is: 0.5625.
    assert before < 0.3 and after > 0.5, (before, after)
