"""The images of an audit and the selector under audit: asked as in a run, with an eye on each answer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ltrp_bench.harness.evaluation.plan import SelectorEntry
from ltrp_bench.harness.evaluation.scorer import Grid, Scorer
from ltrp_bench.selectors.base import BatchContext
from ltrp_bench.selectors.errors import BenchError, InputError
from ltrp_bench.selectors.topk import resample_scores
from ltrp_bench.tasks.base import Sample, Task

TOO_BRIGHT: Final = 255.0
"""What images are multiplied by to look as if they had not been normalised."""


@dataclass(frozen=True)
class AuditImages:
    """Some images of a task.

    Attributes:
        samples: as the task loads them.
        grids: (gh, gw) of each.
        objects: [gh, gw] share of objects of each, for the oracle.
    """

    samples: tuple[Sample, ...]
    grids: tuple[Grid, ...]
    objects: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, task: Task, most: int) -> AuditImages:
        """The task's first `most` images; InputError for one that cannot be read."""
        samples = tuple(task.load(index) for index in range(min(most, len(task))))
        objects = tuple(np.asarray(task.oracle_scores(sample), dtype=np.float32) for sample in samples)
        return cls(samples, tuple(task.grid(sample) for sample in samples), objects)

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def ids(self) -> tuple[str, ...]:
        """The image ids."""
        return tuple(sample.image_id for sample in self.samples)

    def at(self, places: Sequence[int]) -> AuditImages:
        """Those at `places`, in that order."""
        return AuditImages(
            tuple(self.samples[i] for i in places),
            tuple(self.grids[i] for i in places),
            tuple(self.objects[i] for i in places),
        )

    def mirrored(self, axis: int) -> AuditImages:
        """Turned over along `axis` (0: upside down, 1: left to right), ground truth with them."""
        turned = (replace(one, image=np.ascontiguousarray(np.flip(one.image, axis))) for one in self.samples)
        return AuditImages(
            tuple(turned), self.grids, tuple(np.ascontiguousarray(np.flip(o, axis)) for o in self.objects)
        )

    def alike(self) -> AuditImages:
        """All of the first one's size and grid: only images of one size are ever put into a batch together."""
        shape, grid = self.samples[0].image.shape, self.grids[0]
        if all(one.image.shape == shape for one in self.samples) and set(self.grids) == {grid}:
            return self
        samples = tuple(replace(one, image=_resized(one.image, shape[0], shape[1])) for one in self.samples)
        objects = (resample_scores(torch.from_numpy(one)[None], grid)[0].numpy() for one in self.objects)
        return AuditImages(samples, (grid,) * len(samples), tuple(objects))


def _resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


@dataclass(frozen=True)
class Fault:
    """What an answer breaks: the check's name, the image and what was wrong."""

    check: str
    image: str
    detail: str


class Refused(Exception):
    """The selector gave no usable scores; `fault` says why."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.detail)
        self.fault = fault


class Subject:
    """The selector under audit.

    Args:
        entry: the selector as a run has it.
        device: where it is asked, unless said otherwise.
        together: images given at a time in a run on that device.
    """

    def __init__(self, entry: SelectorEntry, device: str, together: int) -> None:
        self.entry, self.device, self.together = entry, device, together
        self.selector = entry.selector
        self.changed: Fault | None = None
        """The first time that it changed its input."""

    def scores(
        self, audit_images: AuditImages, batch: int = 1, seed: int = 0, device: str | None = None
    ) -> list[np.ndarray]:
        """[gh, gw] float32 of each image, `batch` at a time. Raises `Refused`."""
        scorer = _WatchingScorer(self, torch.device(device or self.device), batch)
        return scorer.scores(audit_images.samples, audit_images.grids, seed, audit_images.objects)

    def refuses_unnormalised(self, audit_images: AuditImages) -> str | None:
        """None if images as they are before normalisation are refused in one line; else what happens instead."""
        scorer = _WatchingScorer(self, torch.device(self.device), 1)
        return scorer.unnormalised(audit_images.at([0]))

    @contextlib.contextmanager
    def elsewhere(self) -> Iterator[None]:
        """Afterwards the selector is back on its device."""
        try:
            yield
        finally:
            self.selector.to(torch.device(self.device))


class _WatchingScorer(Scorer):
    """A scorer that notes what each answer breaks, and asks on as ever."""

    def __init__(self, subject: Subject, device: torch.device, batch_size: int) -> None:
        super().__init__(subject.selector, device, batch_size)
        self.subject = subject

    def unnormalised(self, audit_images: AuditImages) -> str | None:
        context = BatchContext(
            audit_images.ids, 0, torch.from_numpy(np.stack(audit_images.objects)), audit_images.grids[0]
        )
        images = self.prepare([audit_images.samples[0].image], audit_images.grids[0]) * TOO_BRIGHT
        try:
            self._raw(images, context, checked=True)
        except BenchError as error:
            return None if "\n" not in str(error) else "its message has several lines"
        except Exception as error:
            return f"it raised {type(error).__name__} instead of an InputError: {_short(error)}"
        return f"images {TOO_BRIGHT:g} times too bright were scored as if nothing was wrong"

    def query(self, images: Tensor, context: BatchContext) -> Tensor:
        before = images.clone()
        try:
            return super().query(images, context)
        except BenchError as error:
            raise Refused(self._diagnosis(before, context, error)) from error
        finally:
            changed = (images != before).flatten(1).any(1)
            if self.subject.changed is None and bool(changed.any()):
                first = context.image_ids[int(changed.nonzero()[0])]
                self.subject.changed = Fault("input", first, "the images that it was given hold other pixels now")

    def _diagnosis(self, images: Tensor, context: BatchContext, error: BenchError) -> Fault:
        """Which part of the contract the refused answer breaks, from the answer itself."""
        first, batch = context.image_ids[0], len(images)
        try:
            raw = self._raw(images.clone(), context, checked=False)
        except Exception:
            return Fault("answers", first, _short(error))
        if not isinstance(raw, Tensor):
            return Fault("shape", first, f"gave {type(raw).__name__}, not a tensor [{batch}, gh, gw]")
        if raw.ndim != 3 or len(raw) != batch:
            return Fault("shape", first, f"gave scores of shape {list(raw.shape)}, not [{batch}, gh, gw]")
        bad = ~torch.isfinite(raw.float()).flatten(1)
        if bool(bad.any()):
            place = int(bad.any(1).nonzero()[0])
            count = int(bad[place].sum())
            return Fault("finite", context.image_ids[place], f"{count} of {bad.shape[1]} scores are NaN or infinite")
        return Fault("answers", first, _short(error))

    def _raw(self, images: Tensor, context: BatchContext, checked: bool) -> Any:
        """What the selector gives; without its base class's checks unless `checked`."""
        with torch.inference_mode():
            return self.selector.scores(images, context) if checked else self.selector._scores(images, context)


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def require_images(audit_images: AuditImages, least: int, task: str) -> None:
    """InputError unless there are images enough to form batches."""
    if len(audit_images) < least:
        raise InputError(f"an audit needs {least} images, task {task!r} has {len(audit_images)}")
