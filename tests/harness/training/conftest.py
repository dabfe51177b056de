"""Folders of training images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with six images in a folder below it."""
    folder = tmp_path / "photos" / "deep"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(6):
        pixels = rng.integers(0, 255, (40 + 3 * i, 52, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder.parent


@pytest.fixture
def class_images(tmp_path: Path) -> Path:
    """Three classes of two images each."""
    rng = np.random.default_rng(0)
    for i in range(6):
        place = tmp_path / "data" / "train" / "abc"[i // 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (40 + i, 52, 3), dtype=np.uint8)).save(place / f"{i}.png")
    return tmp_path / "data"
