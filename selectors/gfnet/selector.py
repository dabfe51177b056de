"""GFNet as a selector: what it would look at, as a ranking of all patches."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ltrp_bench.selectors.base import BatchContext, Selector, Supervision
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.gfnet.checkpoints import load_gfnet
from ltrp_bench.selectors.gfnet.glimpse_ranking import glimpse_ranking


class GFNetSelector(Selector):
    """Glance and Focus (Wang et al., NeurIPS 2020): the policy's mean actions place the glimpses, as at inference.

    Args:
        weights: released GFNet file, ours, or the name of weights that ship ("gfnet.shapes0").
        patch_size: side of the patches to rank in pixels; None takes the file's (16 at 224 pixels).
        glances: looks in all, the glance among them; None takes as many as in training. The policy goes on as long
            as it is asked to.
        model: backbone, where the file does not name it.
        crop: side of a crop in pixels, where the file does not say it.
        label_set: what it was taught, where the file does not say it.
    """

    name = "gfnet"
    weights_family = "gfnet"

    def __init__(
        self,
        weights: str | Path,
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
        taught = label_set or self.net.config["label_set"]
        if not taught:
            raise InputError(f"{weights} does not say what its labels are: give label_set=NAME")
        self.supervision = Supervision.labels(*str(taught).split("+"))
        self.mean, self.std = self.net.mean, self.net.std
        self.input_size = (self.net.image_size, self.net.image_size)

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        grid = (images.shape[-2] // self.patch_size, images.shape[-1] // self.patch_size)
        return glimpse_ranking(self.net.focus(images, self.glances), self.net.crop, grid, self.patch_size)
