"""Which patches a training batch keeps: those a frozen selector ranks first, or random ones that favour no selector.

A selector is shown the very image that the model gets, augmentation and all, the way `run` shows it images
(`Scorer`). Everything that is random is drawn from the generator of (seed, iteration, rank), so that a training that
was killed goes on with the same patches.
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

from ltrp_bench.harness.evaluation.option_strings import parse_value
from ltrp_bench.harness.evaluation.scorer import Scorer
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.registry import SelectorSpec, resolve
from ltrp_bench.selectors.topk import count_kept, top_k
from ltrp_bench.tasks.base import Sample
from ltrp_bench.tasks.data.shapes.drawing import power_noise

RANDOM = "random"
LEAST_RATIO = 0.1
NO_SELECTION = {"oracle": "looks at the labels", "downsample": "keeps no patches", "full": "keeps every patch"}
"""Selectors that cannot choose what a training keeps, and why."""


@dataclass(frozen=True)
class PatchPolicy:
    """How many patches a batch keeps, and who chooses them.

    Attributes:
        ratio: in (0, 1]; None for one a batch, drawn from [0.1, 1].
        selector: who chooses; None for random fields.
    """

    ratio: float | None = 1.0
    selector: SelectorSpec | None = None

    @property
    def whole(self) -> bool:
        """Whether nothing is ever dropped."""
        return self.ratio == 1.0

    def identity(self) -> dict[str, Any]:
        """What it depends on, JSON-able."""
        chosen = RANDOM if self.selector is None else self.selector.identity()
        return {"keep_ratio": self.ratio or RANDOM, **({} if self.whole else {"selector": chosen})}


WHOLE = PatchPolicy()


def patch_policy(
    ratio: str,
    selector: str | None = None,
    weights: str | None = None,
    options: Sequence[str] = (),
    domain: str | Sequence[str] = "photos",
) -> PatchPolicy:
    """From a command's words.

    Args:
        ratio: a number in (0, 1], or "random".
        selector: its name; None for random fields.
        weights: its file of weights, or NAME=FILE.
        options: "key=value" or "NAME.key=value".
        domain: of the images, or several tags, see `selectors.registry.resolve`.

    Raises:
        UsageError: a ratio out of range, an unknown selector, one that cannot choose patches here, options without a
            selector. InputError: missing weights.
    """
    share = _ratio(ratio)
    if selector is None:
        if weights is not None or options:
            raise UsageError("--weights and --selector-option are the selector's: name it with --selector")
        return PatchPolicy(share)
    if share == 1.0:
        raise UsageError(f"--selector {selector} has nothing to choose: give --keep-ratio below 1, or random")
    if (why := NO_SELECTION.get(selector)) is not None:
        raise UsageError(f"--selector {selector} {why}: no training can use it")
    if weights is not None:
        weights = weights.removeprefix(f"{selector}=")
    given = dict(_option(text, selector) for text in options)
    if ":" in selector and (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)  # a file beside the user, as for `run`
    return PatchPolicy(share, resolve(selector, weights, domain, **given))


def _ratio(text: str) -> float | None:
    if text == RANDOM:
        return None
    try:
        value = float(text)
    except ValueError:
        raise UsageError(f"--keep-ratio {text}: write a share of the patches in (0, 1], or {RANDOM}") from None
    if not 0 < value <= 1:
        raise UsageError(f"--keep-ratio {text} is not in (0, 1]: it is the share of patches kept")
    return value


def _option(text: str, selector: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    key = key.removeprefix(f"{selector}.")
    if not equals or not key.isidentifier():
        raise UsageError(f"--selector-option {text}: write key=value or {selector}.key=value")
    return key, parse_value(value)


class PatchKeeper:
    """Says which patches each batch keeps.

    Args:
        keep: how many, and by whom.
        grid: (gh, gw) of the model's patches.
        mean, std: by which its images are normalised.

    Raises:
        UsageError, InputError: a selector that cannot be built.
    """

    def __init__(self, keep: PatchPolicy, grid: tuple[int, int], mean: Sequence[float], std: Sequence[float]) -> None:
        self.keep, self.grid = keep, grid
        self._mean, self._std = (torch.tensor(tuple(x)).view(1, 3, 1, 1) for x in (mean, std))
        # Built at once: a wrong option must not wait for the first batch.
        self._selector = None if keep.selector is None else keep.selector.create()
        self._scorer: Scorer | None = None

    def __call__(self, images: Tensor, generator: torch.Generator, scores: Tensor | None = None) -> Tensor | None:
        """Patches of this batch.

        Args:
            images: [B, 3, H, W], normalised.
            generator: of the ratio, the fields, a random selector and ties.
            scores: [B, gh, gw], where they are known already.

        Returns:
            [B, k] int64 raster indices, on the images' device; None for all.
        """
        if self.keep.whole:
            return None
        ratio = self.keep.ratio
        if ratio is None:
            ratio = LEAST_RATIO + (1 - LEAST_RATIO) * float(torch.rand((), generator=generator))
        seed = int(torch.randint(2**31, (), generator=generator))
        if self._selector is None:
            return random_fields(len(images), self.grid, ratio, seed).to(images.device)
        ids = tuple(f"{i}" for i in range(len(images)))
        if scores is None:
            scores = self._ask(images, ids, seed)
        return top_k(scores, ratio, ids, seed).indices.to(images.device)

    def _ask(self, images: Tensor, ids: Sequence[str], seed: int) -> Tensor:
        """[B, gh, gw] scores on the CPU of the images as they are, at full precision."""
        if self._scorer is None:
            self._scorer = Scorer(self._selector, images.device, len(images))
        pixels = images.detach().float().cpu() * self._std + self._mean
        # Erased pixels are noise beyond what an image can hold.
        levels = (255 * pixels).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
        samples = [Sample(name, image, None) for name, image in zip(ids, levels, strict=True)]
        with torch.autocast(images.device.type, enabled=False):
            found = self._scorer.scores(samples, [self.grid] * len(samples), seed)
        return torch.from_numpy(np.stack(found))


def random_fields(batch: int, grid: tuple[int, int], ratio: float, seed: int) -> Tensor:
    """[B, k] int64: the k = max(1, round(ratio * gh * gw)) greatest patches of a random field, another an image.

    The fields lie between white noise and smooth blobs, as patches that selectors choose do.
    """
    rng = np.random.default_rng(seed)
    kept, side = count_kept(ratio, grid[0] * grid[1]), max(2, *grid)
    rows = []
    for _ in range(batch):
        field = power_noise(rng, side, float(rng.uniform(0, 2)), 1)[0][: grid[0], : grid[1]].ravel()
        rows.append(np.sort(np.argsort(-field, kind="stable")[:kept]))
    return torch.from_numpy(np.stack(rows))
