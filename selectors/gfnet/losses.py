"""What teaches a GFNet: cross entropy of every look, and PPO for the policy (Wang et al., NeurIPS 2020, section 3.2).

PPO is Schulman et al., 2017, with a Gaussian of fixed width about the policy's mean action. Values as the authors
released them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ltrp_bench.selectors.gfnet.model import GFNet, Looks, Place
from ltrp_bench.selectors.gfnet.policy import PatchProposal


@dataclass(frozen=True)
class PolicyOptions:
    """How the policy is taught.

    Attributes:
        discount: of later rewards (gamma).
        clip: how far the ratio of probabilities may leave 1 (epsilon).
        spread: standard deviation of the actions about their mean.
        value, entropy: weights of the critic's loss and of the entropy. The entropy of a Gaussian of fixed width is
            a constant: its term changes the loss and no gradient, here as in the released code.
        epochs: updates on the same looks (the released code: 1).
    """

    discount: float = 0.7
    clip: float = 0.2
    spread: float = 0.1
    value: float = 0.5
    entropy: float = 0.01
    epochs: int = 1


@dataclass(frozen=True)
class Rollout:
    """Looks of a policy and what they earned, T - 1 crops of B images.

    Attributes:
        states: [T - 1, B, C, h, w] maps that the policy was shown.
        actions: [T - 1, B, 2] that were taken.
        log_probs: [T - 1, B] of these actions, when they were taken.
        returns: [T - 1, B] discounted rewards, normalised over the batch.
        reward: mean reward of a crop.
    """

    states: Tensor
    actions: Tensor
    log_probs: Tensor
    returns: Tensor
    reward: Tensor


def anywhere(batch: int, generator: torch.Generator) -> Place:
    """Crops at random (stage 1): actions uniform in [0, 1]²."""

    def place(step: int, mean: Tensor) -> Tensor:
        return torch.rand(batch, 2, generator=generator).to(mean)

    return place


def near(spread: float, generator: torch.Generator) -> Place:
    """Crops about the policy's mean (stages 2 and 3): a Gaussian, clamped to [0, 1]."""

    def place(step: int, mean: Tensor) -> Tensor:
        noise = torch.randn(mean.shape, generator=generator).to(mean)
        return (mean + spread * noise).clamp(0, 1)

    return place


def look_loss(looks: Looks, labels: Tensor, own: float) -> Tensor:
    """Mean over looks of the sequence's cross entropy plus `own` times that of the encoders' own classifiers."""
    steps = looks.logits.shape[1]
    wanted = labels.repeat_interleave(steps)
    together = F.cross_entropy(looks.logits.flatten(0, 1).float(), wanted)
    return together + own * F.cross_entropy(looks.own.flatten(0, 1).float(), wanted)


def confidence(looks: Looks, labels: Tensor) -> Tensor:
    """[B, T] softmax of the true class after each look."""
    picked = labels.view(-1, 1, 1).expand(-1, looks.logits.shape[1], 1)
    return looks.logits.float().softmax(-1).gather(2, picked).squeeze(-1)


def discounted(rewards: Tensor, discount: float) -> Tensor:
    """[T, B] rewards -> [T, B] sums of what follows: R_t = r_t + discount * R_(t+1)."""
    returns = rewards.clone()
    for step in range(len(rewards) - 2, -1, -1):
        returns[step] += discount * returns[step + 1]
    return returns


def normalised(returns: Tensor) -> Tensor:
    """Zero mean and unit deviation over all steps and images of the batch."""
    return (returns - returns.mean()) / (returns.std() + 1e-5)


def log_prob(actions: Tensor, means: Tensor, spread: float) -> Tensor:
    """[..., 2] actions under Gaussians of deviation `spread` about [..., 2] means -> [...]."""
    away = ((actions - means) / spread).square().sum(-1)
    return -0.5 * away - 2 * math.log(spread) - math.log(2 * math.pi)


def clipped_surrogate(log_probs: Tensor, before: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """PPO's objective, element by element, to be maximised: min(ratio * A, clamp(ratio, 1 - clip, 1 + clip) * A)."""
    ratio = (log_probs - before).exp()
    return torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


@torch.no_grad()
def roll_out(net: GFNet, images: Tensor, labels: Tensor, options: PolicyOptions, generator: torch.Generator) -> Rollout:
    """Look at a batch under the policy as it is; a crop's reward is what it adds to the true class's confidence."""
    looks = net(images, place=near(options.spread, generator))
    rewards = confidence(looks, labels).diff(dim=1).transpose(0, 1)
    actions = looks.actions.transpose(0, 1)
    means, _ = net.policy.sequence(looks.states)
    returns = normalised(discounted(rewards, options.discount))
    before = log_prob(actions, means, options.spread)
    return Rollout(looks.states, actions, before, returns, rewards.mean())


def policy_loss(policy: PatchProposal, seen: Rollout, options: PolicyOptions) -> Tensor:
    """PPO's loss of one update: - surrogate + value * (critic - return)² - entropy * H, means over looks."""
    means, values = policy.sequence(seen.states)
    advantages = seen.returns - values.detach()
    now = log_prob(seen.actions, means, options.spread)
    surrogate = clipped_surrogate(now, seen.log_probs, advantages, options.clip).mean()
    entropy = 1 + math.log(2 * math.pi) + 2 * math.log(options.spread)
    return -surrogate + options.value * F.mse_loss(values, seen.returns) - options.entropy * entropy
