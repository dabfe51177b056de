"""Reconstructions of a masked autoencoder with and without one of the visible patches.

Source: LTRP (Luo et al., CVPR 2024), section 3.1 and figure 2. The pseudo scores are those of `semantic_density`; the
reconstructions are computed by the same functions of the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from ltrp_bench.harness.evaluation.scorer import Scorer
from ltrp_bench.harness.visualization.images import DisplayImage
from ltrp_bench.harness.visualization.selections import check_seed
from ltrp_bench.selectors.base import BatchContext, Selector
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.ltrp.cross_density import predict_without
from ltrp_bench.selectors.ltrp.cross_mae import CrossMAE
from ltrp_bench.selectors.ltrp.distances import PixelDistance
from ltrp_bench.selectors.ltrp.mae import MAE, complement, count_visible, random_visible
from ltrp_bench.selectors.ltrp.selector import LTRPTeacher
from ltrp_bench.selectors.ltrp.semantic_density import Hide, semantic_density
from ltrp_bench.selectors.normalization import denormalize

TEACHER: Final = "ltrp-teacher"
"""Name of the selector whose autoencoder is shown by default."""


@dataclass(frozen=True, kw_only=True)
class Removal:
    """Reconstruction without one of the visible patches.

    Attributes:
        position: position of the removed patch among the visible ones, which are in raster order.
        pixels: [h, w, 3] in [0, 1], the reconstruction.
        difference: [h, w] absolute change of the prediction, averaged over channels; NaN on visible patches. With the
            distance l1, its mean over the masked patches is the pseudo score of the removed patch.
    """

    position: int
    pixels: np.ndarray
    difference: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """Reconstructions of one image under one random masking.

    Attributes:
        original: [h, w, 3] in [0, 1], the image at the input size of the MAE.
        grid: (gh, gw), the patch grid of the MAE.
        visible: [n] raster indices of the visible patches, ascending.
        scores: [n] pseudo scores of the visible patches.
        pixels: [h, w, 3] in [0, 1], the reconstruction from all visible patches, with these pasted in.
        removals: reconstructions without one patch each.
    """

    original: np.ndarray
    grid: tuple[int, int]
    visible: np.ndarray
    scores: np.ndarray
    pixels: np.ndarray
    removals: tuple[Removal, ...]


class _OneMasking(Selector):
    """Pseudo scores under one random masking, as a selector, so that images are prepared as for any selector.

    A masked patch scores as low as the lowest visible one. The normalized images, the visible patches and their
    scores are kept in attributes.
    """

    def __init__(self, teacher: LTRPTeacher, seed: int) -> None:
        self.teacher, self.seed = teacher, seed
        self.name, self.supervision = teacher.name, teacher.supervision
        self.mean, self.std = teacher.mean, teacher.std
        self.patch_size, self.input_size = teacher.patch_size, teacher.input_size
        self.images, self.visible, self.density = torch.empty(0), torch.empty(0), torch.empty(0)

    def to(self, device: torch.device | str) -> _OneMasking:
        """Move the MAE to `device`."""
        self.teacher.to(device)
        return self

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        mae, teacher = self.teacher.mae, self.teacher
        keep = count_visible(teacher.mask_ratio, mae.patches)
        generator = torch.Generator().manual_seed(self.seed)
        self.images = images
        self.visible, self.density = semantic_density(
            mae,
            images,
            random_visible(len(images), mae.patches, keep, generator, images.device),
            hide=teacher.hide,
            distance=teacher.distance,
            max_memory_mb=teacher.max_memory_mb,
        )
        lowest = self.density.min(dim=1, keepdim=True).values.expand(-1, mae.patches)
        return lowest.scatter(1, self.visible, self.density).view(-1, *mae.grid)


def reconstruct(
    teacher: LTRPTeacher, images: Sequence[DisplayImage], positions: Sequence[int], *, seed: int, device: str
) -> list[Reconstruction]:
    """Reconstructs images with and without single visible patches.

    Args:
        teacher: selector whose MAE or CrossMAE, mask ratio, distance and removal method are used; the predictions
            are compared at all masked positions.
        images: images, resized to the input size of the MAE.
        positions: positions among the visible patches of those to remove; if empty, the patches of the highest and
            the lowest score.
        seed: seed of the visible patches, which are the same in each image.
        device: device of the MAE.

    Returns:
        One reconstruction an image.

    Raises:
        UsageError: a position or seed out of range.
    """
    mae = teacher.mae
    count = count_visible(teacher.mask_ratio, mae.patches)
    for position in positions:
        if not 0 <= position < count:
            raise UsageError(f"--remove {position}: the visible patches are 0 to {count - 1}")
    check_seed(seed)
    masking = _OneMasking(teacher, seed)
    scorer = Scorer(masking, torch.device(device), 1)
    reconstructions = []
    for image in images:
        scorer.scores([image.sample], [mae.grid], seed)
        removed = positions or [int(masking.density[0].argmax()), int(masking.density[0].argmin())]
        with torch.inference_mode():
            reconstructions.append(_reconstruct(mae, masking, list(dict.fromkeys(removed)), teacher.hide))
    return reconstructions


def _reconstruct(mae: MAE | CrossMAE, masking: _OneMasking, positions: Sequence[int], hide: Hide) -> Reconstruction:
    images, visible = masking.images, masking.visible
    masked = complement(visible, mae.patches)
    if isinstance(mae, CrossMAE):
        anchor = mae.decode(mae.encode(images, visible), masked)
    else:
        anchor = mae.decode_masked(mae.encode(images, visible), visible, masked)
    to_image = PixelDistance(mae, images, visible, masked, anchor, "l1")
    row = torch.zeros(1, dtype=torch.long, device=images.device)
    removals = []
    for position in positions:
        without = _predict_without(mae, images, visible, masked, position, hide)
        change = torch.full((1, mae.patches, without.shape[-1]), torch.nan, device=images.device)
        change[0, masked[0]] = (without - anchor)[0].abs().float()
        difference = mae.unpatchify(change)[0].mean(dim=0).cpu().numpy()
        pixels = _to_numpy(to_image.image(without, row))
        removals.append(Removal(position=position, pixels=pixels, difference=difference))
    return Reconstruction(
        original=_to_numpy(denormalize(images, mae.mean, mae.std).clamp(0, 1)),
        grid=mae.grid,
        visible=visible[0].cpu().numpy(),
        scores=masking.density[0].cpu().numpy(),
        pixels=_to_numpy(to_image.reference),
        removals=tuple(removals),
    )


def _predict_without(
    mae: MAE | CrossMAE, images: Tensor, visible: Tensor, masked: Tensor, position: int, hide: Hide
) -> Tensor:
    """[1, M, P*P*3] predictions of the masked patches without the visible one at `position`."""
    if isinstance(mae, CrossMAE):
        return predict_without(mae, images, visible, masked, position, hide_in_encoder=hide == "encoder_decoder")
    others = [i for i in range(visible.shape[1]) if i != position]
    if hide == "decoder":
        latent = mae.encode(images, visible)
        return mae.decode_masked(latent[:, [0, *(i + 1 for i in others)]], visible[:, others], masked)
    # In the encoder, the removed token and the others do not attend to each other; the decoder gets all of them.
    lone = mae.embed(images, visible)[:, [position + 1]]
    for block in mae.blocks:
        lone = block.alone(lone)  # type: ignore[operator]
    latent = torch.cat([mae.encode(images, visible[:, others]), mae.norm(lone)], dim=1)
    return mae.decode_masked(latent, torch.cat([visible[:, others], visible[:, [position]]], dim=1), masked)


def _to_numpy(pixels: Tensor) -> np.ndarray:
    """[1, 3, H, W] -> [H, W, 3]."""
    return pixels[0].permute(1, 2, 0).cpu().numpy()
