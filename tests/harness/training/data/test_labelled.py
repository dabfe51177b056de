"""Training sets of files and of `shapes`; items of their stream depend on the position alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ltrp_bench.harness.training.augmentation import FlipsAndTurns, PhotoAugmentation
from ltrp_bench.harness.training.data.labelled import LabelledStream, class_folders, labelled_shapes, multilabel_files
from ltrp_bench.selectors.errors import InputError

MEAN = (0.485, 0.456, 0.406)


def test_a_stream_depends_on_position_alone(class_images: Path) -> None:
    for dataset, augment in (
        (class_folders(class_images), PhotoAugmentation(32, MEAN)),
        (labelled_shapes(5, "single-object"), FlipsAndTurns()),
        (labelled_shapes(5, "scenes"), FlipsAndTurns()),
    ):
        forth, back = (LabelledStream(dataset, augment, 20, 3) for _ in range(2))
        seen = {i: back[i] for i in reversed(range(8))}
        for i in range(8):
            image, target = forth[i]
            assert torch.equal(image, seen[i][0]) and torch.equal(target, seen[i][1])
            assert image.dtype == torch.uint8 and target.dtype in (torch.int64, torch.int8)


def test_labels_of_shapes() -> None:
    from ltrp_bench.tasks.data.shapes.world import ShapesWorld

    world = ShapesWorld(1, "scenes")
    single, scenes = labelled_shapes(9, "single-object"), labelled_shapes(9, "scenes")
    assert single.sample(4)[1] == ShapesWorld(1, "single-object").label(4)
    assert set(np.flatnonzero(scenes.sample(4)[1])) == set(world.image(4).labels.tolist())


def test_folders_without_training_images_are_refused(class_images: Path, tmp_path: Path) -> None:
    assert class_folders(class_images).categories == ("a", "b", "c")
    with pytest.raises(InputError, match="no folder train/ in"):
        class_folders(class_images / "train")
    with pytest.raises(InputError, match="no folder .*nowhere"):
        class_folders(tmp_path / "nowhere")


def test_genuine_coco(shared_dir: Path) -> None:
    dataset = multilabel_files(shared_dir / "data" / "coco")
    pixels, target = dataset.sample(0)
    assert len(dataset.categories) == 80 == len(target) and pixels.ndim == 3 and 0 < target.sum() < 20
