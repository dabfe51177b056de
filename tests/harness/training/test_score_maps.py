"""Scores of whole training images are computed once, and resumed after an interruption."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ltrp_bench.harness.training.data.labelled import class_folders
from ltrp_bench.harness.training.score_maps import ScoreMaps, cached_scores
from ltrp_bench.selectors.errors import InputError
from ltrp_bench.selectors.registry import resolve


def test_scores_are_computed_once_and_resumed(class_images: Path, tmp_path: Path) -> None:
    maps = ScoreMaps(dataset=class_folders(class_images), selector=resolve("variance"), size=64, grid=(4, 4))
    found = cached_scores(maps, tmp_path / "scores", batch=2)
    assert found.shape == (6, 4, 4) and np.isfinite(found).all() and (found.std((1, 2)) > 0).all()
    (file,) = (tmp_path / "scores").iterdir()
    # Interrupted after four images: these are read, the rest is computed.
    part, expected = file.with_suffix(".part"), np.array(found)
    marked = expected.copy()
    marked[:4], marked[4:] = 7, 0
    with part.open("wb") as out:
        np.save(out, marked)
    file.with_suffix(".done").write_text("4")
    file.unlink()
    again = cached_scores(maps, tmp_path / "scores", batch=2)
    assert (again[:4] == 7).all() and np.array_equal(again[4:], expected[4:])
    assert [path.suffix for path in (tmp_path / "scores").iterdir()] == [".npy"]


def test_the_file_name_depends_on_what_the_scores_depend_on(class_images: Path) -> None:
    maps = ScoreMaps(dataset=class_folders(class_images), selector=resolve("variance"), size=64, grid=(4, 4))
    others = [
        replace(maps, size=32),
        replace(maps, grid=(2, 2)),
        replace(maps, seed=1),
        replace(maps, selector=resolve("edge-energy")),
        replace(maps, dataset=replace(maps.dataset, revision="other")),
        replace(maps, dataset=replace(maps.dataset, count=5)),
    ]
    assert len({one.file_name() for one in (maps, *others)}) == 7


def test_a_file_of_another_shape_is_refused(class_images: Path, tmp_path: Path) -> None:
    maps = ScoreMaps(dataset=class_folders(class_images), selector=resolve("variance"), size=64, grid=(4, 4))
    np.save(tmp_path / maps.file_name(), np.zeros((6, 2, 2), np.float32))
    with pytest.raises(InputError, match="another shape"):
        cached_scores(maps, tmp_path)
