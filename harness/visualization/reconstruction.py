"""What a patch tells a masked autoencoder: its reconstruction with and without one visible patch.

Source: LTRP (Luo et al., CVPR 2024), section 3.1 and figure 2. Pseudo scores are `semantic_density`'s; what is drawn is
the reconstruction behind each of them, by the same model functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from ltrp_bench.harness.evaluation.plan import SEED_LIMIT
from ltrp_bench.harness.evaluation.scorer import Scorer
from ltrp_bench.harness.visualization.images import DisplayImage
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.ltrp.distances import PixelDistance
from ltrp_bench.selectors.ltrp.mae import MAE, complement, count_visible, random_visible
from ltrp_bench.selectors.ltrp.selector import LTRPTeacher
from ltrp_bench.selectors.ltrp.semantic_density import Hide, semantic_density

TEACHER: Final = "ltrp-teacher"


@dataclass(frozen=True)
class Removal:
    """A visible patch taken away.

    Attributes:
        place: its position among the visible patches, 0 first, in raster order.
        pixels: [h, w, 3] in [0, 1]: the reconstruction without it.
        difference: [h, w] absolute difference of the predictions, mean of the channels; NaN on visible patches. With
            the distance l1, its mean over the masked patches is the pseudo score.
    """

    place: int
    pixels: np.ndarray
    difference: np.ndarray


@dataclass(frozen=True)
class Reconstruction:
    """One image under one masking.

    Attributes:
        original: [h, w, 3] in [0, 1], at the size of the MAE.
        grid: (gh, gw).
        visible: [n] raster indices of the visible patches.
        scores: [n] pseudo scores of them, in the same order.
        pixels: [h, w, 3] in [0, 1]: the reconstruction from all visible patches, these as they are.
        removals: as asked for.
    """

    original: np.ndarray
    grid: tuple[int, int]
    visible: np.ndarray
    scores: np.ndarray
    pixels: np.ndarray
    removals: tuple[Removal, ...]


class _Masking:
    """One masking, asked like a selector, so that images come to it as to any: resized, normalised, on its device.

    Its scores are the pseudo scores of the visible patches, and of the others the least of them.
    """

    def __init__(self, teacher: LTRPTeacher, seed: int) -> None:
        self.teacher, self.seed = teacher, seed
        self.name, self.supervision = teacher.name, teacher.supervision
        self.mean, self.std = teacher.mean, teacher.std
        self.patch_size, self.input_size = teacher.patch_size, teacher.input_size
        self.images, self.visible, self.density = torch.empty(0), torch.empty(0), torch.empty(0)

    def to(self, device: torch.device) -> _Masking:
        """Move the MAE."""
        self.teacher.to(device)
        return self

    def scores(self, images: Tensor) -> Tensor:
        """[1, 3, H, W] -> [1, gh, gw]; the images and what was found stay here."""
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
        least = self.density.min(dim=1, keepdim=True).values.expand(-1, mae.patches)
        return least.scatter(1, self.visible, self.density).view(-1, *mae.grid)


def reconstruct(
    teacher: LTRPTeacher, images: Sequence[DisplayImage], remove: Sequence[int], seed: int, device: str
) -> list[Reconstruction]:
    """Images rebuilt with and without patches.

    Args:
        teacher: its MAE, mask ratio, distance and way to take a patch away are used.
        images: resized to the MAE's size.
        remove: positions among the visible patches; none: those of the highest and of the lowest score.
        seed: of the visible patches, the same ones in each image.
        device: where the MAE runs.

    Raises:
        UsageError: no visible patch of that number, or a seed out of range.
    """
    mae = teacher.mae
    count = count_visible(teacher.mask_ratio, mae.patches)
    for place in remove:
        if not 0 <= place < count:
            raise UsageError(f"--remove {place}: the visible patches are 0 to {count - 1}")
    if not 0 <= seed < SEED_LIMIT:
        raise UsageError(f"--seed {seed}: seeds are whole numbers from 0 on, below 2**63")
    masking = _Masking(teacher, seed)
    scorer = Scorer(masking, torch.device(device), 1)
    out = []
    for image in images:
        scorer.scores([image.sample], [mae.grid], seed)
        places = remove or [int(masking.density[0].argmax()), int(masking.density[0].argmin())]
        with torch.inference_mode():
            out.append(_rebuild(mae, masking, list(dict.fromkeys(places)), teacher.hide))
    return out


def _rebuild(mae: MAE, masking: _Masking, places: Sequence[int], hide: Hide) -> Reconstruction:
    images, visible = masking.images, masking.visible
    masked = complement(visible, mae.patches)
    anchor = mae.decode_masked(mae.encode(images, visible), visible, masked)
    drawn = PixelDistance(mae, images, visible, masked, anchor, "l1")
    row = torch.zeros(1, dtype=torch.long, device=images.device)
    removals = []
    for place in places:
        without = _without(mae, images, visible, masked, place, hide)
        change = torch.full((1, mae.patches, without.shape[-1]), torch.nan, device=images.device)
        change[0, masked[0]] = (without - anchor)[0].abs().float()
        difference = mae.unpatchify(change)[0].mean(dim=0)
        removals.append(Removal(place, _image(drawn.image(without, row)), difference.cpu().numpy()))
    mean, std = (images.new_tensor(value).view(1, 3, 1, 1) for value in (mae.mean, mae.std))
    return Reconstruction(
        _image((images * std + mean).clamp(0, 1)),
        mae.grid,
        visible[0].cpu().numpy(),
        masking.density[0].cpu().numpy(),
        _image(drawn.reference),
        tuple(removals),
    )


def _without(mae: MAE, images: Tensor, visible: Tensor, masked: Tensor, place: int, hide: Hide) -> Tensor:
    """[1, M, P*P*3]: predictions of the masked patches without the visible one at `place`."""
    others = [i for i in range(visible.shape[1]) if i != place]
    if hide == "decoder":
        latent = mae.encode(images, visible)
        return mae.decode_masked(latent[:, [0, *(i + 1 for i in others)]], visible[:, others], masked)
    # Cut off in the encoder: the others never see it, it sees nothing, and the decoder is given both.
    lone = mae.embed(images, visible)[:, [place + 1]]
    for block in mae.blocks:
        lone = block.alone(lone)  # type: ignore[operator]
    latent = torch.cat([mae.encode(images, visible[:, others]), mae.norm(lone)], dim=1)
    return mae.decode_masked(latent, torch.cat([visible[:, others], visible[:, [place]]], dim=1), masked)


def _image(pixels: Tensor) -> np.ndarray:
    """[1, 3, H, W] in [0, 1] -> [H, W, 3]."""
    return pixels[0].permute(1, 2, 0).cpu().numpy()
