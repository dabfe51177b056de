"""Calls a selector on fixed images and checks each result against the contract."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from ltrp_bench.selectors.base import BatchContext, Selector, check_scores
from ltrp_bench.selectors.errors import BenchError
from ltrp_bench.selectors.topk import resample_scores

TOO_BRIGHT: Final = 255.0
"""Factor that makes normalized images look as if they had not been normalized."""


class Violation(Exception):
    """A selector gave no usable scores.

    Attributes:
        check: name of the check that the answer violates: "answers", "shape" or "finite".
        image: id of the first image concerned.
        detail: what was wrong.
    """

    def __init__(self, check: str, image: str, detail: str) -> None:
        super().__init__(detail)
        self.check, self.image, self.detail = check, image, detail


class Probe:
    """A selector and the images on which it is checked.

    Args:
        selector: the selector.
        images: [3, H, W] float each, normalized by the selector's mean and std; of one size if they are to be batched.
        image_ids: one id per image.
        objects: [gh, gw] float32 per image, ground truth for the oracle.
        grids: patch grid (gh, gw) of the task per image, to which scores are resampled; None keeps the selector's own.
        device: where the selector runs.

    Attributes:
        changed_input: the first image whose pixels the selector modified, None as long as it modified none.
    """

    def __init__(
        self,
        selector: Selector,
        images: Sequence[Tensor],
        image_ids: Sequence[str],
        *,
        objects: Sequence[np.ndarray] | None = None,
        grids: Sequence[tuple[int, int]] | None = None,
        device: str = "cpu",
    ) -> None:
        self.selector, self.images, self.image_ids = selector, images, tuple(image_ids)
        self.objects, self.grids, self.device = objects, grids, device
        self.changed_input: str | None = None

    def __len__(self) -> int:
        return len(self.images)

    def scores(
        self, batch: int = 1, *, order: Sequence[int] | None = None, seed: int = 0, device: str | None = None
    ) -> list[np.ndarray]:
        """Scores of the images.

        Args:
            batch: number of images per call.
            order: indices of the images, in the order in which they are scored; None takes all as they come.
            seed: seed of the run.
            device: None takes the probe's.

        Returns:
            [gh, gw] float32 per image, in `order`.

        Raises:
            Violation: an answer is unusable.
        """
        place = torch.device(device or self.device)
        self.selector.to(place)
        rows = range(len(self)) if order is None else order
        out: list[np.ndarray] = []
        for first in range(0, len(rows), batch):
            out += self._score(rows[first : first + batch], seed, place)
        return out

    def context(self, rows: Sequence[int], seed: int = 0) -> BatchContext:
        """Context of a batch of images by their indices."""
        objects = None if self.objects is None else torch.from_numpy(np.stack([self.objects[i] for i in rows]))
        grid = None if self.grids is None else self.grids[rows[0]]
        return BatchContext(tuple(self.image_ids[i] for i in rows), seed, objects, grid)

    def batch(self, rows: Sequence[int]) -> Tensor:
        """[B, 3, H, W] images by their indices."""
        return torch.stack([self.images[i] for i in rows])

    def _score(self, rows: Sequence[int], seed: int, device: torch.device) -> list[np.ndarray]:
        images, context = self.batch(rows).to(device), self.context(rows, seed)
        before = images.clone()
        try:
            scores = check_scores(self.selector.scores(images, context), len(rows), self.selector.name, context)
        except Exception as error:
            raise self._diagnose(before, context, error) from error
        finally:
            changed = (images != before).flatten(1).any(1)
            if self.changed_input is None and bool(changed.any()):
                self.changed_input = context.image_ids[int(changed.nonzero()[0])]
        if context.grid is not None:
            scores = resample_scores(scores, context.grid)
        return list(scores.cpu().numpy())

    def _diagnose(self, images: Tensor, context: BatchContext, error: Exception) -> Violation:
        """Find the check that the refused scores violate, by calling the selector without its base class's checks."""
        first, batch = context.image_ids[0], len(images)
        try:
            with torch.inference_mode():
                raw: Any = self.selector._scores(images.clone(), context)
        except Exception:
            return Violation("answers", first, error_line(error))
        if not isinstance(raw, Tensor):
            return Violation("shape", first, f"gave {type(raw).__name__}, not a tensor [{batch}, gh, gw]")
        if raw.ndim != 3 or len(raw) != batch:
            return Violation("shape", first, f"gave scores of shape {list(raw.shape)}, not [{batch}, gh, gw]")
        bad = ~torch.isfinite(raw.float()).flatten(1)
        if bool(bad.any()):
            place = int(bad.any(1).nonzero()[0])
            detail = f"{int(bad[place].sum())} of {bad.shape[1]} scores are NaN or infinite"
            return Violation("finite", context.image_ids[place], detail)
        return Violation("answers", first, error_line(error))


def refusal_fault(call: Callable[[], object], part: str = "") -> str | None:
    """Check that a call refuses its arguments properly.

    Args:
        call: should raise a `BenchError` of one line.
        part: text that the message should contain.

    Returns:
        None if it does; else one line that describes the fault.
    """
    try:
        call()
    except BenchError as error:
        if "\n" in str(error):
            return "the error's message has several lines"
        return None if part in str(error) else f"the error's message does not contain {part!r}: {error_line(error)}"
    except Exception as error:
        return f"expected an InputError, but got {error_line(error)}"
    return "no error was raised"


def error_line(error: Exception) -> str:
    """An error as one line; with its type unless it is one of ours."""
    text = " ".join(str(error).split())
    return (text if isinstance(error, BenchError) else f"{type(error).__name__}: {text}")[:200]
