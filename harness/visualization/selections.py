"""What `ltrp-bench show` draws: each selector's scores of an image and the patches that a run would keep of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ltrp_bench.harness.evaluation.options import Request, SweepOptions
from ltrp_bench.harness.evaluation.plan import SEED_LIMIT, SelectorEntry, TaskEntry
from ltrp_bench.harness.evaluation.request import RequestedSelectors, resolve_request
from ltrp_bench.harness.evaluation.scorer import Scorer
from ltrp_bench.harness.visualization.images import DisplayImage
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.topk import top_k
from ltrp_bench.tasks.base import Downsample, Keep, ReducedInput

FILES_DOMAIN = "photos"


@dataclass(frozen=True)
class Shown:
    """What one selector makes of one image.

    Attributes:
        entry: the selector.
        scores: [gh, gw] float32; None for `downsample`, which keeps no patches.
        kept: keep ratio -> what a task is handed.
    """

    entry: SelectorEntry
    scores: np.ndarray | None
    kept: dict[float, ReducedInput]


def file_selectors(request: Request) -> list[SelectorEntry]:
    """The selectors of a request whose images are files: as `resolve_request` builds them, for photographs.

    Raises:
        UsageError, InputError: as there.
    """
    chosen = RequestedSelectors.from_request(request)
    chosen.check_names(FILES_DOMAIN)
    return [chosen.build(name, FILES_DOMAIN) for name in chosen.names]


def task_selectors(request: Request, notice: Callable[[str], None]) -> tuple[list[SelectorEntry], TaskEntry]:
    """The selectors of a request and its one task.

    Raises:
        UsageError: as `resolve_request`, and for `downsample` on a task that cannot shrink its images.
    """
    pairs = resolve_request(request, notice)
    task = pairs[0][1]
    entries = [entry for entry, _ in pairs]
    if any(entry.reduces_by_downsampling for entry in entries) and not task.task.supports_downsample:
        raise UsageError(f"task {task.info.name!r} cannot shrink its images: leave out --selector downsample")
    return entries, task


def asks_truth(entries: Sequence[SelectorEntry]) -> bool:
    """Whether one of the selectors ranks by ground truth."""
    return any(entry.selector.needs_context for entry in entries)


def shown(
    entry: SelectorEntry, images: Sequence[DisplayImage], keep_ratios: Sequence[float], seed: int, device: str
) -> list[Shown]:
    """One selector's scores and kept patches of each image, by the very calls of a sweep.

    Args:
        entry: the selector.
        images: see there; with `share` where the selector asks for ground truth.
        keep_ratios: shares in (0, 1]; `full` is shown at 1 alone, as it runs.
        seed: the cell's.
        device: where the selector runs.

    Raises:
        UsageError: a seed out of range. InputError: the selector fails, or asks for ground truth that is not there.
    """
    if not 0 <= seed < SEED_LIMIT:
        raise UsageError(f"--seed {seed}: seeds are whole numbers from 0 on, below 2**63")
    ratios = (1.0,) if entry.selector.keeps_every_patch else tuple(keep_ratios)
    if entry.reduces_by_downsampling:
        return [Shown(entry, None, {ratio: Downsample(ratio) for ratio in ratios}) for _ in images]
    scorer = Scorer(entry.selector, torch.device(device), SweepOptions(device=device).effective_batch_size)
    objects = None
    if scorer.needs_context:
        objects = [_share(entry, image) for image in images]
    samples = [image.sample for image in images]
    found = scorer.scores(samples, [image.grid for image in images], seed, objects)
    return [Shown(entry, scores, _kept(scores, p, ratios, seed)) for scores, p in zip(found, images, strict=True)]


def _kept(scores: np.ndarray, image: DisplayImage, ratios: Sequence[float], seed: int) -> dict[float, ReducedInput]:
    one, ids = torch.from_numpy(scores)[None], [image.sample.image_id]
    return {ratio: Keep(top_k(one, ratio, image_ids=ids, seed=seed).mask()[0].numpy()) for ratio in ratios}


def _share(entry: SelectorEntry, image: DisplayImage) -> np.ndarray:
    if image.share is None:
        where = image.sample.image_id
        raise InputError(
            f"selector {entry.name!r} ranks by ground truth, {where} has none: give --truth or leave it out"
        )
    return image.share
