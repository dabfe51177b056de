from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

import ltrp_bench as lb


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (112, 140, 3), dtype=np.uint8)


def test_path_pil_image_and_array_have_equal_scores(image: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(image).save(tmp_path / "a.png")
    by_path = lb.score("variance", tmp_path / "a.png")
    assert by_path.shape == (14, 14) and by_path.dtype == np.float32
    np.testing.assert_array_equal(by_path, lb.score("variance", Image.open(tmp_path / "a.png")))
    np.testing.assert_array_equal(by_path, lb.score("variance", image))
    np.testing.assert_allclose(by_path, lb.score("variance", image / 255.0), rtol=1e-6)


def test_scores_are_those_of_the_selector_on_this_grid(image: np.ndarray) -> None:
    class Mean(lb.Selector):
        name, mean, std, patch_size = "mean", (0.0,) * 3, (1.0,) * 3, 28

        def _scores(self, images, context=None):  # type: ignore[no-untyped-def]
            return images.mean(1).reshape(1, 4, 28, 5, 28).mean((2, 4))

    expected = image.reshape(4, 28, 5, 28, 3).mean((1, 3, 4)) / 255
    np.testing.assert_allclose(lb.score(Mean(), image, grid=(4, 5)), expected, rtol=1e-5)


def test_a_figure_shows_itself_in_a_notebook(image: np.ndarray) -> None:
    figure = lb.show([image, image], selectors=["variance", "center"], keep_ratio=[0.25, 0.5])
    assert figure._repr_png_()[:4] == b"\x89PNG"  # type: ignore[attr-defined]
    assert len([axes for axes in figure.axes if axes.images]) >= 2 * (1 + 2 * 3)


def test_images_of_a_task_are_shown_by_position() -> None:
    task = lb.create_task("shapes-coverage", limit=3)
    figure = lb.show([0, 2], task=task, selectors="ltrp")
    assert any("ltrp.shapes" in text.get_text() for text in figure.findobj(Text))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((4, 4, 4)), "an image is an array [height, width, 3], not [4, 4, 4]"),
        (np.full((20, 20, 3), 2.0), "floats in [0, 1]"),
        (np.zeros((5, 5, 3), np.uint8), "image image 1 has 5x5 pixels"),
    ],
)
def test_an_unsuitable_array_is_an_input_error(given: np.ndarray, message: str) -> None:
    with pytest.raises(lb.InputError) as caught:
        lb.score("variance", given)
    assert message in str(caught.value)


def test_wrong_arguments_are_usage_errors(image: np.ndarray) -> None:
    with pytest.raises(lb.UsageError, match="it scores no patches"):
        lb.score("downsample", image)
    with pytest.raises(lb.UsageError, match=r"keep ratio 2 is not in \(0, 1\]"):
        lb.show(image, selectors="random", keep_ratio=2)
    with pytest.raises(lb.UsageError, match="images are positions"):
        lb.show("a.png", selectors="random", task="shapes-coverage")
    with pytest.raises(lb.UsageError, match="grid 0"):
        lb.score("variance", image, grid=0)
