"""The images of an audit: as a task gives them, mirrored, or brought to one size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image

from ltrp_bench.selectors.base import Selector
from ltrp_bench.selectors.probe import Probe
from ltrp_bench.selectors.topk import resample_scores
from ltrp_bench.tasks.base import Sample, Task


@dataclass(frozen=True)
class AuditImages:
    """Some images of a task.

    Attributes:
        samples: the images, as the task loads them.
        grids: patch grid (gh, gw) of each.
        objects: [gh, gw] float32 ground truth of each, for the oracle.
    """

    samples: tuple[Sample, ...]
    grids: tuple[tuple[int, int], ...]
    objects: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, task: Task, count: int) -> AuditImages:
        """The first `count` images of a task, or all if it has fewer; `InputError` if one cannot be read."""
        samples = tuple(task.load(index) for index in range(min(count, len(task))))
        objects = tuple(np.asarray(task.oracle_scores(sample), dtype=np.float32) for sample in samples)
        return cls(samples, tuple(task.grid(sample) for sample in samples), objects)

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def ids(self) -> tuple[str, ...]:
        """The image ids."""
        return tuple(sample.image_id for sample in self.samples)

    def at(self, indices: Sequence[int]) -> AuditImages:
        """The images at these indices, in that order."""
        return AuditImages(
            tuple(self.samples[i] for i in indices),
            tuple(self.grids[i] for i in indices),
            tuple(self.objects[i] for i in indices),
        )

    def mirrored(self, axis: int) -> AuditImages:
        """The images and their ground truth flipped along `axis` (0: vertically, 1: horizontally)."""
        flipped = (replace(one, image=np.ascontiguousarray(np.flip(one.image, axis))) for one in self.samples)
        return AuditImages(
            tuple(flipped), self.grids, tuple(np.ascontiguousarray(np.flip(o, axis)) for o in self.objects)
        )

    def one_size(self) -> AuditImages:
        """The images and their ground truth resized to those of the first, so that they fit into one batch."""
        shape, grid = self.samples[0].image.shape, self.grids[0]
        if all(one.image.shape == shape for one in self.samples) and set(self.grids) == {grid}:
            return self
        samples = tuple(replace(one, image=_resized(one.image, shape[0], shape[1])) for one in self.samples)
        objects = (resample_scores(torch.from_numpy(one)[None], grid)[0].numpy() for one in self.objects)
        return AuditImages(samples, (grid,) * len(samples), tuple(objects))

    def probe(self, selector: Selector, device: str) -> Probe:
        """A selector, ready to be queried on these images as in a run."""
        images = [
            selector.prepare([sample.image], grid)[0] for sample, grid in zip(self.samples, self.grids, strict=True)
        ]
        return Probe(selector, images, self.ids, objects=self.objects, grids=self.grids, device=device)


def _resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
