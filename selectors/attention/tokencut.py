"""TokenCut: a normalized cut of the graph of a ViT's patches.

Wang et al., "Self-Supervised Transformers for Unsupervised Object Discovery using Normalized Cut", CVPR 2022
(arXiv:2202.11539), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import linalg, ndimage
from torch import Tensor

from ltrp_bench.selectors.attention.unlabelled import load_unlabelled
from ltrp_bench.selectors.base import BatchContext, Selector, Supervision
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.vit.embedding import with_offset
from ltrp_bench.selectors.vit.reading import ViTReader

EQUAL = 1e-12
"""Eigenvalues that differ by less are one of several dimensions: LAPACK is exact to about 1e-14 here."""


@dataclass(frozen=True)
class Cut:
    """Normalized cut of the patches of one image into two sides, and the object that it finds.

    Attributes:
        eigenvalue: the second smallest.
        eigenvector: [gh, gw] float64, its sign such that the seed is high; unit length in the norm of the degrees.
        bipartition: [gh, gw] bool, the seed's side: the patches above the mean.
        foreground: [gh, gw] bool, the seed's 4-connected component of that side.
        seed: (row, column) of the patch of the greatest absolute value.
    """

    eigenvalue: float
    eigenvector: np.ndarray
    bipartition: np.ndarray
    foreground: np.ndarray
    seed: tuple[int, int]

    def box(self, patch_size: int, height: int, width: int) -> tuple[int, int, int, int]:
        """Box of the foreground, (left, top, right, bottom) in pixels of the image that was cut.

        Args:
            patch_size: side of a patch in pixels.
            height, width: size of the image without padding; the box ends there.
        """
        rows, columns = np.flatnonzero(self.foreground.any(1)), np.flatnonzero(self.foreground.any(0))
        left, top = int(columns[0]) * patch_size, int(rows[0]) * patch_size
        right, bottom = int(columns[-1] + 1) * patch_size, int(rows[-1] + 1) * patch_size
        return left, top, min(right, width), min(bottom, height)


def normalized_cut(features: Tensor, grid: tuple[int, int], *, tau: float = 0.2, eps: float = 1e-5) -> Cut:
    """Cut the patches of an image.

    The graph's edges weigh 1 between patches with a cosine above `tau` and `eps` between others. The cut is the
    eigenvector of the second smallest eigenvalue of (D - A) x = e D x, with A the weights and D their sums.

    A graph without structure has several such eigenvectors. The one nearest to the patches' sums of cosines is taken,
    so that the result is the same everywhere; if all of those are equal too, it is 0 everywhere.

    Args:
        features: [L, C] of the patches, in raster order.
        grid: (gh, gw) patches.
        tau: least cosine of a strong edge.
        eps: weight of a weak edge, above 0.
    """
    unit = torch.nn.functional.normalize(features.double(), dim=1)
    cosines = (unit @ unit.T).cpu().numpy()
    weights = np.where(cosines > tau, 1.0, eps)
    degree = weights.sum(axis=1)
    root = np.sqrt(degree)
    # The symmetric form, whose eigenvectors are those times the root of D.
    values, vectors = linalg.eigh(np.eye(len(root)) - weights / (root[:, None] * root))
    # The first eigenvector is the constant one, by which no patches differ.
    place = min(1, len(values) - 1)
    same = np.abs(values - values[place]) < EQUAL
    same[:place] = False
    vector = vectors[:, place] / root
    if same.sum() > 1:
        vector = vectors[:, same] @ (vectors[:, same].T @ (root * cosines.sum(axis=1)))
        length = np.linalg.norm(vector)
        vector = np.zeros_like(vector) if length < EQUAL**0.5 else vector / (length * root)
    size = np.abs(vector)
    # Of patches that are equal up to rounding the first, so that the sign does not depend on it.
    seed = int(np.flatnonzero(size >= size.max() * (1 - 1e-9))[0])
    side = vector > vector.mean()
    if not side[seed]:
        vector, side = -vector, ~side
    components, _ = ndimage.label(side.reshape(grid))
    row, column = divmod(seed, grid[1])
    return Cut(
        float(values[place]),
        vector.reshape(grid),
        side.reshape(grid),
        components == components[row, column],
        (row, column),
    )


class TokenCutSelector(Selector):
    """Ranks patches by the second eigenvector of the graph of their keys in the last block, the object's side first.

    Always one image at a time, since the different rounding in a batch could change an edge of the graph.

    Args:
        weights: an official file of DINO or one of ours.
        tau: cosine of keys above which two patches are joined by an edge.
        eps: weight of the edge between other patches, above 0.
        heads: number of attention heads; only needed if neither file nor width identifies it.
        any_size: accept images of any whole number of patches, with interpolated positions, not only of the training
            size.
        mean, std: normalization of the images per channel, if the file does not say it; see `load_backbone`.
        ema: which set of weights to take from a file that holds a model and its moving average; see `read_weights`.
    """

    name = "tokencut"
    weights_family = "dino"
    supervision = Supervision.self_supervised()

    def __init__(
        self,
        weights: str | Path,
        *,
        tau: float = 0.2,
        eps: float = 1e-5,
        heads: int | None = None,
        any_size: bool = False,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        ema: bool | None = None,
    ) -> None:
        if not -1 <= tau < 1:
            raise UsageError(f"selector {self.name!r}: tau is a cosine, in [-1, 1), got {tau}")
        if not 0 < eps < 1:
            raise UsageError(f"selector {self.name!r}: eps must be in (0, 1), got {eps}")
        backbone = load_unlabelled(weights, self.name, drop=("head.",), heads=heads, mean=mean, std=std, ema=ema)
        self.model = backbone.model
        backbone.configure(self)
        if any_size:
            self.input_size = None
        self.tau, self.eps = tau, eps

    def keys(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] normalized images -> [B, L, C] keys of the patches in the last block, heads side by side."""
        reader = ViTReader(self.model, with_offset)
        return reader.keys(images).transpose(1, 2).flatten(2)[:, reader.prefix :]

    def cuts(self, images: Tensor) -> list[Cut]:
        """The cut of each of [B, 3, H, W] normalized images."""
        grid = self.grid_of(images)
        with torch.inference_mode(), torch.autocast(images.device.type, enabled=False):
            return [
                normalized_cut(self.keys(image)[0], grid, tau=self.tau, eps=self.eps)
                for image in images.float().split(1)
            ]

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        return torch.from_numpy(np.stack([cut.eigenvector for cut in self.cuts(images)]))
