"""Scores and kept patches of single images, computed by the same calls as in a sweep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch

from ltrp_bench.harness.evaluation.options import Request, SweepOptions
from ltrp_bench.harness.evaluation.plan import SEED_LIMIT, SelectorEntry, TaskEntry
from ltrp_bench.harness.evaluation.request import (
    announce_assumptions,
    build_selector,
    check_selectors,
    resolve_request,
    selector_recipes,
)
from ltrp_bench.harness.evaluation.scorer import Scorer, check_ranks_all_objects
from ltrp_bench.harness.visualization.images import DisplayImage
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.topk import top_k
from ltrp_bench.tasks.base import Downsample, Keep, ReducedInput

FILES_DOMAIN: Final = "photos"
"""Domain of image files, which decides the bundled weights of a selector."""


@dataclass(frozen=True, kw_only=True)
class ImageSelection:
    """Scores of one selector for one image, and the reduced inputs that follow from them.

    Attributes:
        entry: the selector.
        scores: [gh, gw] float32; None for `downsample`, which scores no patches.
        reduced: keep ratio -> the reduced input that a task would be given.
    """

    entry: SelectorEntry
    scores: np.ndarray | None
    reduced: dict[float, ReducedInput]


def build_selectors(request: Request, notice: Callable[[str], None]) -> list[SelectorEntry]:
    """Builds the selectors of a request for image files, which are taken as photographs.

    Args:
        request: names and options.
        notice: called with a line about everything that was assumed of weights.

    Raises:
        UsageError, InputError: as `resolve_request`.
    """
    recipes = selector_recipes(request)
    check_selectors(recipes, FILES_DOMAIN)
    entries = [build_selector(replace(recipe, tags=(FILES_DOMAIN,))) for recipe in recipes]
    announce_assumptions(entries, notice)
    return entries


def build_selectors_and_task(request: Request, notice: Callable[[str], None]) -> tuple[list[SelectorEntry], TaskEntry]:
    """Builds the selectors and the one task of a request.

    Raises:
        UsageError: as `resolve_request`; `downsample` on a task that does not support it.
        InputError: as `resolve_request`.
    """
    pairs = resolve_request(request, notice)
    task = pairs[0][1]
    entries = [entry for entry, _ in pairs]
    if any(entry.selector.reduces_by_downsampling for entry in entries) and not task.task.supports_downsample:
        raise UsageError(f"task {task.info.name!r} does not support --selector downsample: leave it out")
    return entries, task


def needs_oracle_scores(entries: Sequence[SelectorEntry]) -> bool:
    """True if one of the selectors ranks patches by ground truth."""
    return any(entry.selector.needs_context for entry in entries)


def check_seed(seed: int) -> None:
    """Raises `UsageError` for a seed out of range."""
    if not 0 <= seed < SEED_LIMIT:
        raise UsageError(f"--seed {seed}: a seed is an integer from 0 to 2**63 - 1")


def select_patches(
    entry: SelectorEntry, images: Sequence[DisplayImage], keep_ratios: Sequence[float], *, seed: int, device: str
) -> list[ImageSelection]:
    """Scores each image with one selector and keeps the best patches, as a sweep does.

    Args:
        entry: the selector.
        images: images to score; with `oracle_scores` if the selector ranks by ground truth.
        keep_ratios: keep ratios in (0, 1]; `full` has keep ratio 1 only.
        seed: seed of stochastic selectors and of the tie-break.
        device: device of the selector.

    Returns:
        One selection an image.

    Raises:
        UsageError: a seed out of range, or an oracle of a group of objects.
        InputError: the selector fails, or needs ground truth that the image does not have.
    """
    check_seed(seed)
    ratios = (1.0,) if entry.selector.keeps_every_patch else tuple(keep_ratios)
    if entry.selector.reduces_by_downsampling:
        reduced: dict[float, ReducedInput] = {ratio: Downsample(ratio) for ratio in ratios}
        return [ImageSelection(entry=entry, scores=None, reduced=reduced) for _ in images]
    scorer = Scorer(entry.selector, torch.device(device), SweepOptions(device=device).effective_batch_size)
    oracle_scores = [_oracle_scores(entry, image) for image in images] if entry.selector.needs_context else None
    scores = scorer.scores([image.sample for image in images], [image.grid for image in images], seed, oracle_scores)
    return [
        ImageSelection(entry=entry, scores=own, reduced=_keep(own, image.sample.image_id, ratios, seed))
        for own, image in zip(scores, images, strict=True)
    ]


def _keep(scores: np.ndarray, image_id: str, ratios: Sequence[float], seed: int) -> dict[float, ReducedInput]:
    batch = torch.from_numpy(scores)[None]
    return {ratio: Keep(top_k(batch, ratio, image_ids=[image_id], seed=seed).mask()[0].numpy()) for ratio in ratios}


def _oracle_scores(entry: SelectorEntry, image: DisplayImage) -> np.ndarray:
    check_ranks_all_objects(entry.selector)
    if image.oracle_scores is None:
        raise InputError(
            f"selector {entry.name!r} ranks by ground truth, {image.sample.image_id} has none: give --truth, or leave "
            "the selector out"
        )
    return image.oracle_scores
