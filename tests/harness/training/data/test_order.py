"""The order of a stream is reshuffled every epoch, and depends on seed and position alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ltrp_bench.harness.training.data.notes import TrainingNotes
from ltrp_bench.harness.training.data.order import ShuffledOrder, TrainingStream, batches
from ltrp_bench.selectors.errors import InputError


class Numbers(TrainingStream):
    """Items are (index, a random number)."""

    revision = "numbers"

    def sample(self, index: int, rng: np.random.Generator) -> tuple[Any, Any]:
        return torch.tensor(index), torch.tensor(rng.random())


def test_an_epoch_shows_every_image_once() -> None:
    order = ShuffledOrder(5, 15, 0)
    epochs = [[order.draw(5 * epoch + i)[0] for i in range(5)] for epoch in range(3)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(5))] * 3
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_draws_depend_on_seed_and_position_alone() -> None:
    forth, back = ShuffledOrder(4, 12, 3), ShuffledOrder(4, 12, 3)
    expected = {i: back.draw(i) for i in reversed(range(12))}
    for i in range(12):
        index, rng = forth.draw(i)
        assert index == expected[i][0]
        assert rng.random() == expected[i][1].random()
    others = [ShuffledOrder(4, 12, 4).draw(i)[1].random() for i in range(12)]
    assert others != [ShuffledOrder(4, 12, 3).draw(i)[1].random() for i in range(12)]


def test_random_streams_are_those_of_earlier_versions() -> None:
    """Trainings are resumed with them."""
    order = ShuffledOrder(5, 10, 7)
    assert [order.draw(i)[0] for i in range(10)] == [3, 0, 2, 1, 4, 4, 1, 0, 3, 2]


def test_batches_cover_the_first_samples() -> None:
    found = list(batches(Numbers(4, 12, 0), 7, size=3))
    assert [len(index) for index, _ in found] == [3, 3, 1]
    stream = Numbers(4, 12, 0)
    assert torch.cat([index for index, _ in found]).tolist() == [int(stream[i][0]) for i in range(7)]


class Damaged(Numbers):
    """Odd images cannot be read."""

    def sample(self, index: int, rng: np.random.Generator) -> tuple[Any, Any]:
        if index % 2:
            raise InputError(f"image {index} is corrupt")
        return super().sample(index, rng)


def test_unreadable_images_stop_a_training_unless_others_are_to_be_drawn(tmp_path: Path) -> None:
    stream = Damaged(6, 24, 0)
    whole = Numbers(6, 24, 0)
    odd = [i for i in range(24) if int(whole[i][0]) % 2]
    with pytest.raises(InputError, match=r"^image \d is corrupt \(--skip-bad-images draws other images instead\)$"):
        stream[odd[0]]
    stream.notes = TrainingNotes(tmp_path)
    found = [stream[i] for i in range(24)]
    assert all(int(index) % 2 == 0 for index, _ in found)
    # The positions of readable images keep their image and augmentation.
    assert all(torch.equal(found[i][1], whole[i][1]) for i in range(24) if i not in odd)
    assert len({float(found[i][1]) for i in odd}) == len(odd)
    # A resumed training, or another process, draws the same.
    resumed = Damaged(6, 24, 0)
    resumed.notes = TrainingNotes(tmp_path)
    assert [float(resumed[i][1]) for i in reversed(range(24))] == [float(x) for _, x in reversed(found)]
    assert stream.notes.skipped() == {f"image {i}": f"image {i} is corrupt" for i in (1, 3, 5)}


def test_a_training_of_nothing_but_unreadable_images_stops(tmp_path: Path) -> None:
    class Ruined(Numbers):
        def sample(self, index: int, rng: np.random.Generator) -> tuple[Any, Any]:
            raise InputError("broken")

    stream = Ruined(3, 3, 0)
    stream.notes = TrainingNotes(tmp_path)
    with pytest.raises(InputError, match="^100 training images in turn cannot be read, the last: broken$"):
        stream[0]
