"""GFNet, Glance and Focus (Wang et al., NeurIPS 2020): patches are ranked by the glimpses of its policy.

The paper selects crops, not patches; the ranking of all patches from the glimpses is not in it.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ltrp_bench.selectors.base import BatchContext, Selector, Supervision
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.gfnet.checkpoints import load_gfnet
from ltrp_bench.selectors.gfnet.glimpse_ranking import glimpse_ranking


class GFNetSelector(Selector):
    """Ranks patches by the glimpses that the mean actions of the policy place, as at inference.

    Args:
        weights: a released file, one of ours, or the tag of bundled weights ("gfnet.shapes0").
        patch_size: side of the patches to rank in pixels; None takes that of the file (16 at 224 pixels).
        glances: number of glimpses, including the glance; None takes that of the training. The policy can make more.
        model: backbone; needed if the file does not name it.
        crop: side of a crop in pixels; needed if the file does not give it.
        label_set: label set of the training; needed if the file does not give it.
    """

    name = "gfnet"
    weights_family = "gfnet"

    def __init__(
        self,
        weights: str | Path,
        *,
        patch_size: int | None = None,
        glances: int | None = None,
        model: str | None = None,
        crop: int | None = None,
        label_set: str | None = None,
    ) -> None:
        self.net = load_gfnet(weights, model, crop)
        self.glances = self.net.glances if glances is None else glances
        self.patch_size = self.net.patch_size if patch_size is None else patch_size
        if self.glances < 2:
            raise UsageError(f"glances must be at least 2 (a glance and a crop), got {self.glances}")
        if self.patch_size < 1 or self.net.image_size % self.patch_size:
            raise UsageError(f"patch_size {self.patch_size} does not divide images of {self.net.image_size} pixels")
        labels = label_set or self.net.config["label_set"]
        if not labels:
            raise InputError(f"{weights} does not say what its labels are: give label_set=NAME")
        self.supervision = Supervision.parse(str(labels))
        self.mean, self.std = self.net.mean, self.net.std
        self.input_size = (self.net.image_size, self.net.image_size)

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        corners = self.net.focus(images, self.glances)
        return glimpse_ranking(corners, self.net.crop, self.grid_of(images), self.patch_size)
