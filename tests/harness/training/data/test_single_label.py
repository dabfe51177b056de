"""Labelled images: what the label says is there, once, wherever the image is turned."""

from __future__ import annotations

import pytest
import torch

from ltrp_bench.harness.training.data.single_label import CLASSES, LabelledShapes, seen_accuracy
from ltrp_bench.tasks.data.shapes.world import SIZE, WORLD_SEEDS, ShapesWorld


@pytest.mark.parametrize("fold", [0, 1])
def test_items_are_images_of_the_labelled_category(fold: int) -> None:
    stream = LabelledShapes(fold, num_images=6, length=12, seed=0, boxes=True)
    assert len(stream) == 12
    for image, label, box in (stream[i] for i in range(6)):
        assert image.shape == (3, SIZE, SIZE) and 0 <= int(label) < CLASSES
        assert box[0] >= 0 and box[0] + box[2] <= SIZE and box[1] >= 0 and box[1] + box[3] <= SIZE
    labels = {stream.world.label(i) - fold * CLASSES for i in range(6)}
    assert {int(stream[i][1]) for i in range(6)} == labels


def test_items_depend_on_the_position_alone() -> None:
    one, other = (LabelledShapes(0, num_images=4, length=8, seed=3) for _ in range(2))
    forth = [one[i] for i in range(8)]
    back = [other[i] for i in reversed(range(8))][::-1]
    assert all((a[0] == b[0]).all() and a[1] == b[1] for a, b in zip(forth, back, strict=True))
    assert any((forth[i][0] != forth[j][0]).any() for i in range(4) for j in range(4, 8))


@pytest.mark.parametrize("answers", [(), (3,)])
def test_accuracy_counts_right_answers(answers: tuple[int, ...]) -> None:
    world = ShapesWorld(WORLD_SEEDS["val"], "single-label/1")
    right = sum(world.label(i) == 8 + 3 for i in range(24)) / 24

    def always_three(images: torch.Tensor) -> torch.Tensor:
        assert images.shape[1:] == (3, SIZE, SIZE) and -2.5 < float(images.min()) < float(images.max()) < 2.5
        return torch.eye(CLASSES)[3].expand(len(images), *answers, CLASSES)

    found = seen_accuracy(always_three, 1, 24, batch=10)
    assert found.shape == answers and (found == right).all() and right > 0
