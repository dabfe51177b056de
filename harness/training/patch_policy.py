"""Patches that a training batch keeps: those that a frozen selector ranks highest, or random ones.

The selector scores the augmented image that the model gets, in the same way as in a run (`Scorer`). All random numbers
come from the generator of (seed, iteration, process), so that a resumed training keeps the same patches.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ltrp_bench.harness.evaluation.scorer import Scorer
from ltrp_bench.harness.training.options.training import PatchOptions
from ltrp_bench.selectors.base import Selector
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.normalization import denormalize
from ltrp_bench.selectors.option_checks import parse_option
from ltrp_bench.selectors.registry import SelectorSpec, option_types, resolve
from ltrp_bench.selectors.topk import count_kept, top_k
from ltrp_bench.tasks.base import Sample
from ltrp_bench.tasks.data.shapes.drawing import power_noise

RANDOM = "random"
LEAST_RATIO = 0.1


@dataclass(frozen=True)
class PatchPolicy:
    """Keep ratio of a training batch, and the selector that ranks its patches.

    Attributes:
        ratio: keep ratio in (0, 1]; None to draw one from [0.1, 1] for each batch.
        selector: ranks the patches; None for random smooth fields, which favor no selector.
    """

    ratio: float | None = 1.0
    selector: SelectorSpec | None = None

    @property
    def whole(self) -> bool:
        """True if no patch is ever dropped."""
        return self.ratio == 1.0

    def identity(self) -> dict[str, Any]:
        """Keep ratio and selector as plain JSON, for the record of a training run."""
        chosen = RANDOM if self.selector is None else self.selector.identity()
        return {"keep_ratio": self.ratio or RANDOM, **({} if self.whole else {"selector": chosen})}


WHOLE = PatchPolicy()


def patch_policy(options: PatchOptions, domain: str | Sequence[str] = "photos") -> PatchPolicy:
    """The policy that a command's options describe.

    Args:
        options: keep ratio and selector.
        domain: domain of the images, or several tags, see `selectors.registry.resolve`.

    Raises:
        UsageError: the ratio is out of range, the selector unknown, or options are given without a selector.
        InputError: missing weights.
    """
    ratio, selector, weights = _ratio(options.keep_ratio), options.selector, options.weights
    if selector is None:
        if weights is not None or options.selector_option:
            raise UsageError("--weights and --selector-option need a selector: add --selector NAME")
        return PatchPolicy(ratio)
    if ratio == 1.0:
        raise UsageError(f"--selector {selector} has nothing to choose: give --keep-ratio below 1, or random")
    if weights is not None:
        weights = weights.removeprefix(f"{selector}=")
    if ":" in selector and (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)  # a file in the current folder, as for `run`
    given = dict(_option(text, selector) for text in options.selector_option)
    return PatchPolicy(ratio, resolve(selector, weights, domain, **given))


def _ratio(text: str) -> float | None:
    if text == RANDOM:
        return None
    try:
        value = float(text)
    except ValueError:
        raise UsageError(f"--keep-ratio {text}: give a share of the patches in (0, 1], or {RANDOM}") from None
    if not 0 < value <= 1:
        raise UsageError(f"--keep-ratio {text} is not in (0, 1]: it is the share of patches kept")
    return value


def _option(text: str, selector: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    key = key.removeprefix(f"{selector}.")
    if not equals or not key.isidentifier():
        raise UsageError(f"--selector-option {text}: write key=value or {selector}.key=value")
    return key, parse_option(value, option_types(selector).get(key, Any))


class PatchKeeper:
    """Chooses the patches of each batch.

    Args:
        policy: keep ratio and selector.
        grid: (gh, gw) of the model's patches.
        mean, std: normalization of its images, per channel of RGB in [0, 1].

    Raises:
        UsageError, InputError: the selector cannot be built, or does not choose patches.
    """

    def __init__(self, policy: PatchPolicy, grid: tuple[int, int], mean: Sequence[float], std: Sequence[float]) -> None:
        self.policy, self.grid = policy, grid
        self._mean, self._std = tuple(mean), tuple(std)
        # Built here, so that a wrong option is reported before the first batch.
        self._selector = None if policy.selector is None else _usable(policy.selector)
        self._scorer: Scorer | None = None

    @property
    def assumptions(self) -> tuple[str, ...]:
        """One line for each thing that the selector assumed of its weights."""
        return (
            () if self._selector is None else tuple(f"{self._selector.name}: {x}" for x in self._selector.assumptions)
        )

    def __call__(self, images: Tensor, generator: torch.Generator, scores: Tensor | None = None) -> Tensor | None:
        """Choose the patches of a batch.

        Args:
            images: [B, 3, H, W], normalized.
            generator: source of the random ratio, the fields, stochastic selectors and the order of ties.
            scores: [B, gh, gw] of the images, if they were computed before.

        Returns:
            [B, k] int64 raster indices on the images' device; None for all patches.
        """
        if self.policy.whole:
            return None
        ratio = self.policy.ratio
        if ratio is None:
            ratio = LEAST_RATIO + (1 - LEAST_RATIO) * float(torch.rand((), generator=generator))
        seed = int(torch.randint(2**31, (), generator=generator))
        if self._selector is None:
            return random_fields(len(images), self.grid, ratio, seed).to(images.device)
        ids = tuple(f"{i}" for i in range(len(images)))
        if scores is None:
            scores = self._score(images, ids, seed)
        return top_k(scores, ratio, ids, seed).indices.to(images.device)

    def _score(self, images: Tensor, ids: Sequence[str], seed: int) -> Tensor:
        """[B, gh, gw] scores of the images on the CPU, at full precision."""
        if self._scorer is None:
            self._scorer = Scorer(self._selector, images.device, len(images))
        pixels = denormalize(images.detach().float().cpu(), self._mean, self._std)
        # Random erasing inserts noise outside the range of an image's pixels.
        levels = (255 * pixels).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
        samples = [Sample(name, image, None) for name, image in zip(ids, levels, strict=True)]
        with torch.autocast(images.device.type, enabled=False):
            found = self._scorer.scores(samples, [self.grid] * len(samples), seed)
        return torch.from_numpy(np.stack(found))


def _usable(spec: SelectorSpec) -> Selector:
    """The selector of a spec; `UsageError` if it cannot choose the patches of a training."""
    selector = spec.create()
    reason = ""
    if selector.keeps_every_patch:
        reason = "keeps every patch"
    elif selector.reduces_by_downsampling:
        reason = "keeps no patches"
    elif selector.role == "reference":
        reason = "reads the ground truth"
    if reason:
        raise UsageError(f"--selector {spec.name} {reason}: it cannot be used for training")
    return selector


def random_fields(batch: int, grid: tuple[int, int], ratio: float, seed: int) -> Tensor:
    """[B, k] int64: the k = max(1, round(ratio * gh * gw)) patches with the highest values of a random field per image.

    The fields lie between white noise and smooth blobs, like the patches that selectors choose.
    """
    rng = np.random.default_rng(seed)
    kept, side = count_kept(ratio, grid[0] * grid[1]), max(2, *grid)
    rows = []
    for _ in range(batch):
        field = power_noise(rng, side, float(rng.uniform(0, 2)), 1)[0][: grid[0], : grid[1]].ravel()
        rows.append(np.sort(np.argsort(-field, kind="stable")[:kept]))
    return torch.from_numpy(np.stack(rows))
