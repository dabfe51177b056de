"""Streams of images with class maps: both are turned, cropped and mirrored alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from toy_data import ade20k_folder

from ltrp_bench.harness.training.data.semantic import IGNORE_INDEX, SemanticFiles, SemanticShapes, semantic_files
from ltrp_bench.tasks.data.shapes.world import ShapesWorld


def test_items_are_the_worlds_own() -> None:
    stream, world = SemanticShapes(3, 9, 0), ShapesWorld(1)
    image, classes = stream[4]
    turned = [np.rot90(p.semantic, t)[:, ::m] for p in map(world.image, range(3)) for t in range(4) for m in (1, -1)]
    assert any(np.array_equal(classes.numpy(), one) for one in turned)
    assert image.shape == (3, 96, 96) and torch.equal(stream[4][0], image)


def test_files_are_cut_alike_and_by_position(tmp_path: Path) -> None:
    source = semantic_files(ade20k_folder(tmp_path), "ade20k")
    stream = SemanticFiles(source, 48, (0.5, 0.5, 0.5), 12, 0)
    seen = set()
    for position in range(12):
        image, classes = stream[position]
        assert image.shape == (3, 48, 48) and classes.shape == (48, 48) and image.dtype == torch.uint8
        seen |= set(classes.unique().tolist())
    assert seen == {2, IGNORE_INDEX}
    again = SemanticFiles(source, 48, (0.5, 0.5, 0.5), 12, 0)
    assert torch.equal(again[7][0], stream[7][0]) and torch.equal(again[7][1], stream[7][1])
