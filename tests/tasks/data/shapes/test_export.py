"""Exported images are the world's, and pycocotools agrees with their annotations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.data.shapes.export import export
from ltrp_bench.tasks.data.shapes.world import CATEGORIES, ShapesWorld, seen_categories


def test_export_reads_back_exactly(tmp_path: Path) -> None:
    export(tmp_path, fold=1, count=5)
    world, coco = ShapesWorld(2000), COCO(str(tmp_path / "instances.json"))
    assert sorted(coco.imgs) == [1, 2, 3, 4, 5]
    for index in range(5):
        image, info = world.image(index), coco.imgs[index + 1]
        assert (np.asarray(Image.open(tmp_path / "images" / info["file_name"])) == image.image).all()
        assert (np.asarray(Image.open(tmp_path / "masks" / info["file_name"])) == image.semantic).all()
        for i, annotation in enumerate(coco.loadAnns(coco.getAnnIds(index + 1))):
            assert (coco.annToMask(annotation).astype(bool) == image.masks[i]).all()
            assert annotation["bbox"] == image.boxes[i].tolist()
            assert CATEGORIES[annotation["category_id"] - 1] == CATEGORIES[image.labels[i]]
    assert set((tmp_path / "seen.txt").read_text().splitlines()) == seen_categories(1)


def test_unwritable_folders_and_unknown_splits_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write shapes"):
        export(tmp_path / "file", count=1)
    with pytest.raises(UsageError, match="no split 'night'"):
        export(tmp_path, split="night")
