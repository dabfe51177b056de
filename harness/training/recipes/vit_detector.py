"""`ltrp-bench train detector --architecture vit`: the plain ViT detector of `shapes-det`, on whole or kept patches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ltrp_bench.harness.training.fine_tuning import start_from
from ltrp_bench.harness.training.patch_policy import PatchKeeper, PatchPolicy
from ltrp_bench.harness.training.recipes.detector import (
    LEAST_LEFT,
    DetectorTraining,
    ShapesDetection,
    build_model,
    export_detector,
    fit,
    pack,
    tight_boxes,
    turned_scene,
)
from ltrp_bench.selectors.checkpoints import load_state, resolve, sha256_of
from ltrp_bench.tasks.data.shapes.world import CATEGORIES, MEAN, PATCH, SIZE, STD

CONFIG = "shapes_vit"
GRID = SIZE // PATCH


class WholeScenes(ShapesDetection):
    """As `ShapesDetection`, of whole images: which patches are kept is decided for a batch.

    Items are {"image": [96, 96, 3] uint8, "masks": [n, 96, 96] bool, "labels": [n] int64, "position": int}.
    """

    def __getitem__(self, index: int) -> dict[str, Any]:
        position = self.start + index
        rng = np.random.default_rng([self.options.seed, position])
        scene = self._scene(int(rng.integers(self.options.pool)))
        image, masks = turned_scene(scene.image, scene.masks, int(rng.integers(8)))
        return {"image": image, "masks": masks, "labels": scene.labels, "position": position}


class KeptBatch:
    """Collates scenes: chooses each batch's patches, and takes out objects of which less than a tenth is left.

    Args:
        keep: how many patches, and by whom.
        seed: with the position of the batch's first sample, of all that is random.
    """

    def __init__(self, keep: PatchPolicy, seed: int) -> None:
        self.seed, self._keeper = seed, PatchKeeper(keep, (GRID, GRID), MEAN, STD)

    def __call__(self, items: list[dict[str, Any]]) -> dict[str, list[Any]]:
        """Samples as mmdet's models take them, with `metainfo["kept_patches"]`."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + items[0]["position"])
        indices = self._keeper(self._normalised(items), generator)
        out: dict[str, list[Any]] = {"inputs": [], "data_samples": []}
        for i, item in enumerate(items):
            kept = np.ones((GRID, GRID), bool)
            if indices is not None:
                kept = np.isin(np.arange(GRID * GRID), indices[i].numpy()).reshape(GRID, GRID)
            masks, labels = item["masks"], item["labels"]
            seen = np.kron(kept, np.ones((PATCH, PATCH), bool))
            left = (masks & seen).sum((1, 2)) >= LEAST_LEFT * masks.sum((1, 2))
            sample = pack(item["image"].astype(np.float32), tight_boxes(masks[left]), labels[left])
            sample["data_samples"].set_metainfo({"kept_patches": kept})
            for key, values in out.items():
                values.append(sample[key])
        return out

    def _normalised(self, items: list[dict[str, Any]]) -> Tensor:
        images = torch.from_numpy(np.stack([item["image"] for item in items])).permute(0, 3, 1, 2).float() / 255
        mean, std = (torch.tensor(x).view(1, 3, 1, 1) for x in (MEAN, STD))
        return (images - mean) / std


def train_vit_detector(
    out: Path,
    options: DetectorTraining,
    keep: PatchPolicy,
    init: str | Path = "mae.shapes",
    device: str = "auto",
    save_every: int = 250,
    log_every: int = 50,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Train, or go on; returns the averaged weights and what else made them.

    Args:
        out: folder of checkpoints.
        options: length, batch size, learning rate, seed.
        keep: which patches of an image the detector gets.
        init: a masked autoencoder, a plain ViT, a segmentor, or a detector made by this command: whatever fits its ViT
            by name and shape is taken, and of a detector everything.
        device, save_every, log_every: as in `train_detector`.

    Raises:
        UsageError, InputError: options or weights that do not fit.
    """
    torch.manual_seed(options.seed)
    model = build_model(CONFIG)
    state, own = load_state(resolve(init)), model.state_dict()
    if set(state) == set(own):
        taken = state
    else:
        _, found = start_from(init, CATEGORIES, {}, True)
        mine = {key.removeprefix("backbone.vit."): value for key, value in own.items()}
        fitting = {key: value for key, value in found.items() if key in mine and value.shape == mine[key].shape}
        taken = {f"backbone.vit.{key}": value for key, value in fitting.items()}
    more = {"init_sha256": sha256_of(resolve(init)), "init_tensors": len(taken), **keep.identity()}
    # The Runner lets heads initialise themselves anew; what is taken comes after that.
    model.init_weights()  # type: ignore[operator]
    model.load_state_dict({**model.state_dict(), **taken})
    model.init_weights = lambda: None  # type: ignore[assignment]
    recipe = {"what": "detector", "architecture": "vit", **vars(options), **more}
    scenes = KeptBatch(keep, options.seed)
    trained = fit(
        out,
        recipe,
        lambda: model,
        lambda start: WholeScenes(options, start),
        scenes,
        options,
        device,
        save_every=save_every,
        log_every=log_every,
    )
    return trained, {"architecture": "vit", **more}


def export_vit_detector(state: dict[str, Tensor], path: Path, options: DetectorTraining, more: dict[str, Any]) -> None:
    """Write trained weights as safetensors, after a check that they fit the config."""
    export_detector(state, path, options, CONFIG, **more)
