"""Losses of GFNet: cross entropy of every glimpse, and PPO for the policy (Wang et al., NeurIPS 2020, section 3.2).

PPO (Schulman et al., 2017) with a Gaussian of fixed width around the mean action of the policy. Default values
as in the released code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ltrp_bench.selectors.gfnet.model import GFNet, Glimpses, Place
from ltrp_bench.selectors.gfnet.policy import PatchProposal


@dataclass(frozen=True)
class PolicyOptions:
    """Options of the training of the policy.

    Attributes:
        discount: discount of later rewards (gamma).
        clip: limit of the distance of the probability ratio from 1 (epsilon).
        spread: standard deviation of the actions around their mean.
        value, entropy: weights of the loss of the critic and of the entropy. The entropy of a Gaussian of fixed width
            is constant, so its term changes the loss but no gradient, as in the released code.
        epochs: number of updates on the same glimpses (1 in the released code).
    """

    discount: float = 0.7
    clip: float = 0.2
    spread: float = 0.1
    value: float = 0.5
    entropy: float = 0.01
    epochs: int = 1


@dataclass(frozen=True)
class Rollout:
    """Glimpses of a policy and their rewards, T - 1 crops of B images.

    Attributes:
        states: [T - 1, B, C, h, w] feature maps, the inputs of the policy.
        actions: [T - 1, B, 2] actions taken.
        log_probs: [T - 1, B] log-probabilities of these actions when they were taken.
        returns: [T - 1, B] discounted rewards, normalized over the batch.
        reward: mean reward of a crop.
    """

    states: Tensor
    actions: Tensor
    log_probs: Tensor
    returns: Tensor
    reward: Tensor


def uniform_actions(batch: int, generator: torch.Generator) -> Place:
    """Random crops (stage 1): actions uniform in [0, 1]²."""

    def place(step: int, mean: Tensor) -> Tensor:
        return torch.rand(batch, 2, generator=generator).to(mean)

    return place


def gaussian_actions(spread: float, generator: torch.Generator) -> Place:
    """Crops around the mean action of the policy (stages 2 and 3): a Gaussian, clamped to [0, 1]."""

    def place(step: int, mean: Tensor) -> Tensor:
        noise = torch.randn(mean.shape, generator=generator).to(mean)
        return (mean + spread * noise).clamp(0, 1)

    return place


def glimpse_loss(glimpses: Glimpses, labels: Tensor, own: float) -> Tensor:
    """Mean cross entropy over glimpses of the sequence's logits, plus `own` times that of each glimpse alone."""
    steps = glimpses.logits.shape[1]
    targets = labels.repeat_interleave(steps)
    together = F.cross_entropy(glimpses.logits.flatten(0, 1).float(), targets)
    return together + own * F.cross_entropy(glimpses.own.flatten(0, 1).float(), targets)


def confidence(glimpses: Glimpses, labels: Tensor) -> Tensor:
    """[B, T] softmax probability of the true class after each glimpse."""
    picked = labels.view(-1, 1, 1).expand(-1, glimpses.logits.shape[1], 1)
    return glimpses.logits.float().softmax(-1).gather(2, picked).squeeze(-1)


def discounted(rewards: Tensor, discount: float) -> Tensor:
    """[T, B] rewards -> [T, B] discounted returns: R_t = r_t + discount * R_(t+1)."""
    returns = rewards.clone()
    for step in range(len(rewards) - 2, -1, -1):
        returns[step] += discount * returns[step + 1]
    return returns


def standardized(returns: Tensor) -> Tensor:
    """[T, B] with zero mean and unit standard deviation over all steps and images."""
    return (returns - returns.mean()) / (returns.std() + 1e-5)


def log_prob(actions: Tensor, means: Tensor, spread: float) -> Tensor:
    """[..., 2] actions under Gaussians of deviation `spread` about [..., 2] means -> [...]."""
    away = ((actions - means) / spread).square().sum(-1)
    return -0.5 * away - 2 * math.log(spread) - math.log(2 * math.pi)


def clipped_surrogate(log_probs: Tensor, before: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """PPO objective per element, to be maximized: min(ratio * A, clamp(ratio, 1 - clip, 1 + clip) * A)."""
    ratio = (log_probs - before).exp()
    return torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


@torch.no_grad()
def roll_out(net: GFNet, images: Tensor, labels: Tensor, options: PolicyOptions, generator: torch.Generator) -> Rollout:
    """Run the current policy on a batch; the reward of a crop is the increase in confidence in the true class."""
    glimpses = net(images, place=gaussian_actions(options.spread, generator))
    rewards = confidence(glimpses, labels).diff(dim=1).transpose(0, 1)
    actions = glimpses.actions.transpose(0, 1)
    means, _ = net.policy.sequence(glimpses.states)
    returns = standardized(discounted(rewards, options.discount))
    before = log_prob(actions, means, options.spread)
    return Rollout(glimpses.states, actions, before, returns, rewards.mean())


def policy_loss(policy: PatchProposal, rollout: Rollout, options: PolicyOptions) -> Tensor:
    """PPO loss of one update: - surrogate + value * (critic - return)² - entropy * H, means over glimpses."""
    means, values = policy.sequence(rollout.states)
    advantages = rollout.returns - values.detach()
    now = log_prob(rollout.actions, means, options.spread)
    surrogate = clipped_surrogate(now, rollout.log_probs, advantages, options.clip).mean()
    entropy = 1 + math.log(2 * math.pi) + 2 * math.log(options.spread)
    return -surrogate + options.value * F.mse_loss(values, rollout.returns) - options.entropy * entropy
