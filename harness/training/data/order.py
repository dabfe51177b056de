"""Order of training images, and the base of all streams: random access by position, so that a resumed training goes on.

The image at position n of a stream and the randomness of its augmentation depend on (seed, n) alone, whatever the
number of worker processes. So does the image that replaces one which cannot be read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from ltrp_bench.harness.training.data.notes import TrainingNotes
from ltrp_bench.selectors.errors import InputError

_ATTEMPTS = 100


class ShuffledOrder:
    """Order of images, reshuffled every epoch.

    Args:
        num_images: number of different images.
        length: number of images drawn over the whole training.
        seed: seed of the order and of the generators.
    """

    def __init__(self, num_images: int, length: int, seed: int) -> None:
        self.num_images, self.length, self.seed = num_images, length, seed
        self._epoch = -1
        self._permutation: np.ndarray = np.zeros(0, np.int64)

    def draw(self, position: int) -> tuple[int, np.random.Generator]:
        """Index of the image at a position, and the generator of its augmentation."""
        epoch, place = divmod(int(position), self.num_images)
        if epoch != self._epoch:
            self._permutation = np.random.default_rng([self.seed, 1, epoch]).permutation(self.num_images)
            self._epoch = epoch
        return int(self._permutation[place]), np.random.default_rng([self.seed, 2, position])

    def draw_again(self, position: int, attempt: int) -> tuple[int, np.random.Generator]:
        """Another image for a position whose own cannot be read, any of all images."""
        rng = np.random.default_rng([self.seed, 3, position, attempt])
        return int(rng.integers(self.num_images)), rng


class TrainingStream(Dataset[Any], ABC):
    """Augmented images in shuffled order; same arguments as `ShuffledOrder`.

    Attributes:
        revision: identifies the images; a run cannot be resumed on other images.
        assumptions: one line for each thing that the files do not say and that was assumed.
        notes: where unreadable images are noted, for which others are drawn; None to stop at the first.
    """

    revision: str
    assumptions: tuple[str, ...] = ()
    notes: TrainingNotes | None = None

    def __init__(self, num_images: int, length: int, seed: int) -> None:
        self.order = ShuffledOrder(num_images, length, seed)

    def __len__(self) -> int:
        return self.order.length

    def __getitem__(self, position: int) -> Any:
        index, rng = self.order.draw(position)
        for attempt in range(_ATTEMPTS):
            try:
                return self.sample(index, rng)
            except InputError as error:
                if self.notes is None:
                    raise InputError(f"{error} (--skip-bad-images draws other images instead)") from None
                self.notes.skip(self.name(index), str(error))
                last = error
            index, rng = self.order.draw_again(position, attempt)
        raise InputError(f"{_ATTEMPTS} training images in turn cannot be read, the last: {last}")

    def name(self, index: int) -> str:
        """Name of an image, for the user."""
        return f"image {index}"

    @abstractmethod
    def sample(self, index: int, rng: np.random.Generator) -> Any:
        """Image `index` under an augmentation drawn from `rng`: a tensor, or a tuple that begins with one."""


def batches(stream: TrainingStream, count: int, size: int = 50) -> Iterator[list[Tensor]]:
    """The first `count` samples of a stream, collated in batches of at most `size`."""
    for start in range(0, count, size):
        yield default_collate([stream[i] for i in range(start, min(start + size, count))])
