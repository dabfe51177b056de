from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from PIL import Image

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.data.single_label import LabelledImageDataset


def test_images_are_sorted_by_id_and_enter_the_revision(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (6, 4), (9, 9, 9)).save(path)
    images = {"b": (tmp_path / "missing.png", 0), "a": (path, 1)}
    dataset = LabelledImageDataset(images, ["cat", "dog"])
    assert dataset.ids == ("a", "b") and [dataset.label(i) for i in (0, 1)] == [1, 0]
    assert dataset.pixels(0).shape == (4, 6, 3) and dataset.categories == ("cat", "dog")
    with pytest.raises(InputError, match=r"missing\.png is missing$"):
        dataset.pixels(1)
    size = path.stat().st_size
    text = json.dumps(["cat", "dog"]) + json.dumps(["a", 1, size]) + json.dumps(["b", 0, -1])
    assert dataset.revision == hashlib.sha256(text.encode()).hexdigest()
    first = LabelledImageDataset(images, ["cat", "dog"], limit=1)
    assert first.ids == ("a",) and first.revision != dataset.revision
    with pytest.raises(UsageError, match="limit must be at least 1"):
        LabelledImageDataset(images, ["cat", "dog"], limit=0)
