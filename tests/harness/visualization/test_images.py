"""Images for figures: patch edges and objects are those of the task, files are read with their masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_bench
from PIL import Image

from ltrp_bench.harness.visualization.images import load_image_files, load_task_images
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.base import PatchEdges, Sample
from ltrp_bench.tasks.metrics.patch_coverage import coverage_scores, covered_share, patch_areas, patch_edges
from ltrp_bench.tasks.registry import create_task


def test_outlines_cover_the_patches_that_the_oracle_ranks_by(world: Any) -> None:
    for image in world.images:
        areas = np.array([patch_areas(outline.mask, *image.edges) for outline in image.outlines])
        np.testing.assert_allclose(coverage_scores(areas), image.oracle_scores)
    assert {outline.state for image in world.images for outline in image.outlines} == {"seen", "unseen"}
    states = {outline.category: outline.state for outline in world.images[0].outlines}
    assert states["quarters star"] == "seen" and states["spots star"] == "unseen"


@pytest.mark.parametrize("name", ["shapes-multilabel", "shapes-seg", "shapes-cls", "shapes-det"])
def test_objects_of_tasks_that_resize_or_crop(name: str) -> None:
    task = create_task(name, images=8)
    (image,) = load_task_images(task, [5], with_oracle_scores=True)
    assert image.oracle_scores is not None and image.oracle_scores.shape == image.grid
    if name == "shapes-cls":  # one label, which is not localized
        label = task.dataset.categories[task.dataset.label(5)]  # type: ignore[attr-defined]
        assert image.outlines == () and image.labels == (label,)
        return
    union = np.any([outline.mask for outline in image.outlines], axis=0)
    np.testing.assert_allclose(covered_share(union.astype(np.uint8), *image.edges), image.oracle_scores, atol=0.02)
    assert image.labels == ()


class ResizedTask(toy_bench.ToyTask):
    """A task whose model resizes images to 50x70 pixels, so that the last of its patches of 16 are cut off."""

    def patch_edges(self, sample: Sample) -> PatchEdges:
        height, width = sample.image.shape[:2]
        return patch_edges(height, 50, 16), patch_edges(width, 70, 16)

    def grid(self, sample: Sample) -> tuple[int, int]:
        return 4, 5


def test_cut_patches_are_drawn_where_the_models_resize_puts_them() -> None:
    (image,) = load_task_images(ResizedTask(), [1], with_oracle_scores=False)
    height, width = image.sample.image.shape[:2]
    assert image.edges[0] == pytest.approx([0, 16 * height / 50, 32 * height / 50, 48 * height / 50, height])
    assert image.edges[1][-2:] == pytest.approx([64 * width / 70, width])
    drawn = image.to_pixels(np.arange(20).reshape(4, 5))
    assert drawn.shape == (height, width)
    assert drawn[0, 0] == 0 and drawn[-1, -1] == 19 and drawn[0, -1] == 4
    # The last row of patches is a sliver: 2 of the resized image's 50 rows.
    assert (drawn >= 15).sum() == width * sum(y + 0.5 >= 48 * height / 50 for y in range(height))
    (even,) = load_task_images(toy_bench.ToyTask(), [1], with_oracle_scores=False)
    assert even.edges[0] == tuple(8.0 * i for i in range(even.grid[0] + 1))


def test_a_task_without_a_split_has_images_of_unknown_state() -> None:
    (image,) = load_task_images(toy_bench.ToyTask(), [1], with_oracle_scores=False)
    assert (image.outlines, image.labels, image.oracle_scores) == ((), (), None)
    with pytest.raises(UsageError, match="--index 150: task 'toy-coverage' has images 0 to 149"):
        load_task_images(toy_bench.ToyTask(), [150], with_oracle_scores=False)


def test_files_with_masks(image_file: Path, tmp_path: Path) -> None:
    mask = np.zeros((40, 60), np.uint8)
    mask[:10, :15], mask[20:30, 15:30] = 255, 1
    Image.fromarray(mask).save(tmp_path / "mask.png")
    (image,) = load_image_files([image_file], (4, 4), [tmp_path / "mask.png"])
    expected = np.zeros((4, 4))
    expected[0, 0] = expected[2, 1] = 1
    np.testing.assert_allclose(image.oracle_scores, expected)
    assert [int(outline.mask.sum()) for outline in image.outlines] == [150, 150]
    with pytest.raises(UsageError, match="1 --truth for 2 images"):
        load_image_files([image_file, image_file], (4, 4), [tmp_path / "mask.png"])
    Image.fromarray(mask[:20]).save(tmp_path / "other.png")
    with pytest.raises(InputError, match="other.png has 20x60 pixels"):
        load_image_files([image_file], (4, 4), [tmp_path / "other.png"])


def test_exif_orientation_is_applied_and_large_images_are_drawn_small(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (1500, 900), "red").save(tmp_path / "a.jpg", exif=exif)
    (image,) = load_image_files([tmp_path / "a.jpg"], (14, 14), [])
    assert image.sample.image.shape == (1500, 900, 3) and image.pixels.shape == (640, 384, 3)
    assert image.edges[0][-1] == pytest.approx(640) and image.edges[1][-1] == pytest.approx(384)
