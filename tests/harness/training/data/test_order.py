"""The order of a stream is reshuffled every epoch, and depends on seed and position alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ltrp_bench.harness.training.data.order import ShuffledOrder, TrainingStream, batches


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
