"""Reconstructions with and without a patch: behind each pseudo score stands the image that is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from ltrp_bench.harness.evaluation.options import Request
from ltrp_bench.harness.visualization.images import DisplayImage, task_images
from ltrp_bench.harness.visualization.reconstruction import Reconstruction, reconstruct
from ltrp_bench.harness.visualization.reconstruction_figure import HEADS, removal_sheet
from ltrp_bench.harness.visualization.selections import task_selectors
from ltrp_bench.results.report.style import plot_style
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.ltrp.mae import random_visible
from ltrp_bench.selectors.ltrp.semantic_density import semantic_density

PATCH, SIDE = 8, 12


def teacher(*options: str) -> tuple[Any, Any]:
    request = Request(
        selectors=("ltrp-teacher",),
        tasks=("shapes-coverage",),
        selector_options=tuple(f"ltrp-teacher.{o}" for o in options),
    )
    entries, task = task_selectors(request, pytest.fail)
    return entries[0].selector, task.task


@pytest.fixture(scope="module")
def display_images() -> Iterator[list[DisplayImage]]:
    yield task_images(teacher()[1], [3, 12], False)


def on_pixels(patches: np.ndarray) -> np.ndarray:
    mask = np.zeros(SIDE * SIDE, bool)
    mask[patches] = True
    return mask.reshape(SIDE, SIDE).repeat(PATCH, 0).repeat(PATCH, 1)


def check(one: Reconstruction, image: DisplayImage) -> None:
    """What holds of every reconstruction."""
    seen = on_pixels(one.visible)
    np.testing.assert_allclose(one.original, image.sample.image / 255, atol=1e-6)
    np.testing.assert_allclose(one.pixels[seen], one.original[seen], atol=1e-5)
    assert np.abs(one.pixels[~seen] - one.original[~seen]).mean() > 0.01
    for removal in one.removals:
        assert (np.isnan(removal.difference) == seen).all()
        assert np.abs(removal.pixels - one.pixels)[~seen].max() > 0
        # The image's own statement of the pseudo score.
        assert np.nanmean(removal.difference) == pytest.approx(one.scores[removal.place], rel=1e-4)


@pytest.mark.parametrize("hide", ["decoder", "encoder_decoder"])
def test_differences_add_up_to_the_pseudo_scores(display_images: list[DisplayImage], hide: str) -> None:
    selector, _ = teacher(f"hide={hide}")
    rebuilt = reconstruct(selector, display_images, [0, 5, 13], 0, "cpu")
    for image, one in zip(display_images, rebuilt, strict=True):
        assert [removal.place for removal in one.removals] == [0, 5, 13]
        check(one, image)
        mae = selector.mae
        mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (mae.mean, mae.std))
        image = (torch.from_numpy(image.sample.image).permute(2, 0, 1)[None] / 255 - mean) / std
        visible = random_visible(1, 144, 14, torch.Generator().manual_seed(0))
        where, scores = semantic_density(mae, image, visible, hide=hide)
        np.testing.assert_array_equal(one.visible, where[0])
        np.testing.assert_allclose(one.scores, scores[0], rtol=1e-4)


def test_by_default_the_most_and_the_least_telling_patch_are_taken(display_images: list[DisplayImage]) -> None:
    selector, _ = teacher("mask_ratio=0.75")
    for one in reconstruct(selector, display_images, [], 0, "cpu"):
        assert len(one.visible) == 36
        assert [removal.place for removal in one.removals] == [one.scores.argmax(), one.scores.argmin()]
    first, other = (reconstruct(selector, display_images[:1], [], seed, "cpu")[0] for seed in (0, 1))
    assert (first.visible != other.visible).any()


def test_a_image_depends_on_no_other(display_images: list[DisplayImage]) -> None:
    selector, _ = teacher()
    alone, both = (reconstruct(selector, some, [], 0, "cpu")[-1] for some in (display_images[1:], display_images))
    np.testing.assert_array_equal(alone.scores, both.scores)
    np.testing.assert_array_equal(alone.removals[0].pixels, both.removals[0].pixels)


def test_patches_that_are_not_there(display_images: list[DisplayImage]) -> None:
    selector, _ = teacher()
    with pytest.raises(UsageError, match="--remove 14: the visible patches are 0 to 13"):
        reconstruct(selector, display_images, [14], 0, "cpu")


def test_the_figure_shows_each_removal(display_images: list[DisplayImage]) -> None:
    rebuilt = reconstruct(teacher()[0], display_images, [], 0, "cpu")
    sheet = removal_sheet(display_images, rebuilt)
    with plot_style():
        figure = sheet.figure()
        texts = [text.get_text() for text in figure.texts]
    assert sum(axes.get_gid() == "panel" for axes in figure.axes) == 4 * len(HEADS)
    assert texts.count("rank 1 of 14") == texts.count("rank 14 of 14") == 2
    for one in rebuilt:
        for removal in one.removals:
            assert f"score {one.scores[removal.place]:.4g}" in texts
            assert f"without patch {removal.place}" in texts
    one, row = rebuilt[0], [panel for panel in sheet.panels if panel.row == 0]
    seen, gone = on_pixels(one.visible), on_pixels(one.visible[[one.removals[0].place]])
    anchor, without, difference = row[1].pixels, row[3].pixels, row[4].pixels
    np.testing.assert_array_equal(anchor[seen], display_images[0].sample.image[seen])
    assert (anchor[~seen] == 225).all() and (without[gone] == 225).all() and (difference[seen] == 225).all()
    assert (without[seen & ~gone] == anchor[seen & ~gone]).all()
    # Colours of differences are the same in both rows: the least telling patch's stay dark.
    assert difference[~seen].mean() > 3 * sheet.panels[len(HEADS) + 4].pixels[~seen].mean()
