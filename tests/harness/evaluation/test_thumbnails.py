"""Files that a run stores for the report's gallery."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import toy_bench as toy
from PIL import Image

from ltrp_bench.harness.evaluation.plan import CellGroup
from ltrp_bench.harness.evaluation.ranking import PatchRanking
from ltrp_bench.harness.evaluation.thumbnails import GalleryWriter, thumbnail
from ltrp_bench.results.store.gallery import Thumbnail, read_gallery
from ltrp_bench.results.store.run_store import RunStore
from ltrp_bench.selectors.controls import DownsampleControl, RandomControl
from ltrp_bench.tasks.base import Sample


class WideTask(toy.ToyTask):
    """Images of 512 x 320 pixels."""

    def load(self, index: int) -> Sample:
        image = super().load(index)
        return Sample(image.image_id, np.full((320, 512, 3), index, np.uint8))


@pytest.fixture
def group() -> CellGroup:
    (group,) = toy.toy_groups(WideTask(70), selectors=[RandomControl(8)], seeds=(4,))
    return group


def _reversed(count: int) -> dict[str, np.ndarray]:
    return {f"toy {index}": PatchRanking(np.arange(6)[::-1], (2, 3)).ranks() for index in range(count)}


def _thumbnails(group: CellGroup) -> list[Thumbnail]:
    return [thumbnail(sample) for sample in toy.load(group.task.task, 0, 8).samples]


def test_first_images_and_ranks_of_the_first_span(tmp_path: Path, group: CellGroup) -> None:
    store = RunStore(tmp_path)
    writer = GalleryWriter(store, group)
    assert writer.missing
    writer.add(_reversed(64), _thumbnails(group))
    assert not writer.missing
    gallery = read_gallery(store, group.task.info.identity.short)
    assert [(one.image_id, one.width, one.height) for one in gallery.images] == [
        (f"toy {index}", 512, 320) for index in range(8)
    ]
    with Image.open(io.BytesIO(gallery.images[0].webp)) as thumbnail:
        assert thumbnail.size == (256, 160) and thumbnail.format == "WEBP"
    ((key, ranks),) = gallery.ranks.items()
    assert key == (group.selector.info.identity.short, 4)
    assert list(ranks) == [f"toy {index}" for index in range(64)] and ranks["toy 63"].tolist() == [[5, 4, 3], [2, 1, 0]]


def test_a_span_without_readable_images_adds_nothing(tmp_path: Path, group: CellGroup) -> None:
    writer = GalleryWriter(RunStore(tmp_path), group)
    writer.add({}, [])
    assert writer.missing and not (tmp_path / "gallery").exists()


def test_what_is_stored_is_not_written_again(tmp_path: Path, group: CellGroup) -> None:
    writer = GalleryWriter(RunStore(tmp_path), group)
    writer.add(_reversed(64), _thumbnails(group))
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "gallery").rglob("*")}
    writer.add(_reversed(64), _thumbnails(group))
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "gallery").rglob("*")} == times


def test_downsampling_has_no_ranks_to_show(tmp_path: Path) -> None:
    (group,) = toy.toy_groups(toy.ToyTask(70), selectors=[DownsampleControl(8)])
    assert not GalleryWriter(RunStore(tmp_path), group).missing
