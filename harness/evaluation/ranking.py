"""The ranking of an image's patches, of which every selection is a prefix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ltrp_bench.selectors.topk import count_kept, rank_rows


@dataclass(frozen=True, eq=False)
class PatchRanking:
    """All patches of one image from best to worst.

    Attributes:
        order: [L] int64 raster indices, best first.
        grid: (gh, gw) with gh * gw = L.
    """

    order: np.ndarray
    grid: tuple[int, int]

    @classmethod
    def from_scores(cls, scores: np.ndarray, image_id: str, seed: int) -> PatchRanking:
        """Rank patches by score; ties are broken by a hash of (image id, patch, seed).

        Args:
            scores: [gh, gw] float32, finite, greater = keep.
            image_id: id of the image.
            seed: seed of the tie-break.
        """
        gh, gw = scores.shape
        return cls(rank_rows(scores.reshape(1, -1), [image_id], seed)[0], (gh, gw))

    def mask(self, keep_ratio: float) -> np.ndarray:
        """[gh, gw] bool, true for the k = max(1, round(r * L)) best patches: those that `top_k` keeps."""
        kept = np.zeros(len(self.order), dtype=bool)
        kept[self.order[: count_kept(keep_ratio, len(self.order))]] = True
        return kept.reshape(self.grid)

    def ranks(self) -> np.ndarray:
        """[gh, gw] int32 rank of each patch, 0 for the best."""
        ranks = np.empty(len(self.order), np.int32)
        ranks[self.order] = np.arange(len(self.order))
        return ranks.reshape(self.grid)
