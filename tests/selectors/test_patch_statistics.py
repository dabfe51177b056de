"""The plain baselines against the contract, and against numpy, scipy, scikit-image and Pillow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from skimage.measure import shannon_entropy
from small_vits import noise_vit
from torch import Tensor

from ltrp_bench.selectors.base import IMAGENET_MEAN, IMAGENET_STD, Selector, Supervision
from ltrp_bench.selectors.contract import SelectorContract, WeightsContract, example_images
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.patch_statistics import EdgeEnergySelector, EntropySelector, PatchNormSelector, PlainSelector


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise_vit(tmp_path_factory.mktemp("vit") / "vit.safetensors", depth=2, mean=[0.5] * 3)


def noise_8bit() -> np.ndarray:
    """[2, 32, 48, 3] uint8: noise over a ramp, so that patches differ."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(1, 100, 48)[None, None, :, None]
    return (rng.random((2, 32, 48, 3)) * ramp + 40).astype(np.uint8)


def normalised(pixels: np.ndarray) -> Tensor:
    rgb = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    return (rgb - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)) / torch.tensor(IMAGENET_STD).view(3, 1, 1)


def blocks(plane: np.ndarray, p: int) -> list[list[np.ndarray]]:
    return [[plane[y : y + p, x : x + p] for x in range(0, plane.shape[1], p)] for y in range(0, plane.shape[0], p)]


class TestEdgeEnergy(SelectorContract):
    @pytest.fixture
    def selector(self) -> Selector:
        return EdgeEnergySelector(patch_size=8)

    def test_equals_scipys_sobel(self, selector: Selector) -> None:
        pixels = noise_8bit()
        scores = selector.scores(normalised(pixels)).numpy()
        for image, mine in zip(pixels / 255.0, scores, strict=True):
            grey = image @ np.array([0.299, 0.587, 0.114])
            length = np.hypot(ndimage.sobel(grey, 0, mode="nearest"), ndimage.sobel(grey, 1, mode="nearest"))
            expected = [[patch.mean() for patch in row] for row in blocks(length, 8)]
            np.testing.assert_allclose(mine, expected, rtol=2e-5)

    def test_one_step_edge_by_hand(self) -> None:
        # Black left of column 8, white from there on: |gradient| is 4 in columns 7 and 8 alone.
        pixels = np.zeros((1, 16, 16, 3), np.uint8)
        pixels[:, :, 8:] = 255
        scores = EdgeEnergySelector(patch_size=8).scores(normalised(pixels))
        torch.testing.assert_close(scores, torch.full((1, 2, 2), 4 / 8), rtol=1e-5, atol=0)


class TestEntropy(SelectorContract):
    @pytest.fixture
    def selector(self) -> Selector:
        return EntropySelector(patch_size=8)

    def test_equals_scikit_image_on_pillows_luminance(self, selector: Selector) -> None:
        pixels = noise_8bit()
        scores = selector.scores(normalised(pixels)).numpy()
        for image, mine in zip(pixels, scores, strict=True):
            grey = np.asarray(Image.fromarray(image).convert("L"))
            expected = [[shannon_entropy(patch, base=2) for patch in row] for row in blocks(grey, 8)]
            np.testing.assert_allclose(mine, expected, rtol=1e-5)

    def test_fewer_bins_equal_numpys_histogram(self) -> None:
        pixels = noise_8bit()[:1]
        grey = np.asarray(Image.fromarray(pixels[0]).convert("L"))
        counts = np.histogram(grey[8:16, 40:48], bins=16, range=(0, 256))[0] / 64
        expected = -(counts[counts > 0] * np.log2(counts[counts > 0])).sum()
        got = EntropySelector(patch_size=8, bins=16).scores(normalised(pixels))[0, 1, 5]
        assert float(got) == pytest.approx(expected, rel=1e-5)

    def test_flat_is_zero_and_all_different_is_log2_of_the_pixels(self) -> None:
        pixels = np.zeros((1, 8, 16, 3), np.uint8)
        pixels[0, :, 8:] = np.arange(64, dtype=np.uint8).reshape(8, 8, 1)
        scores = EntropySelector(patch_size=8).scores(normalised(pixels))
        assert scores[0, 0].tolist() == pytest.approx([0.0, 6.0])

    @pytest.mark.parametrize("bins", [1, 257, 8.0, True])
    def test_bins_that_cannot_be_are_one_line(self, bins: int) -> None:
        with pytest.raises(UsageError, match="bins"):
            EntropySelector(bins=bins)


class TestPatchNorm(SelectorContract):
    @pytest.fixture
    def selector(self) -> Selector:
        return PatchNormSelector(patch_size=8)

    def test_equals_numpys_norm_of_centred_pixels(self, selector: Selector) -> None:
        pixels = noise_8bit()
        scores = selector.scores(normalised(pixels)).numpy()
        for image, mine in zip(pixels / 255.0, scores, strict=True):
            away = image - image.mean((0, 1))
            expected = [[np.linalg.norm(patch) for patch in row] for row in blocks(away, 8)]
            np.testing.assert_allclose(mine, expected, rtol=1e-4)


class TestPatchNormOfFeatures(WeightsContract):
    build = PatchNormSelector

    @pytest.fixture
    def selector(self, weights: Path) -> Selector:
        return PatchNormSelector(weights)

    def test_is_the_length_of_the_last_blocks_tokens(self, selector: PatchNormSelector) -> None:
        assert selector.model is not None
        images = (example_images(2, (48, 48)) - 0.5) / torch.tensor(IMAGENET_STD).view(3, 1, 1)
        with torch.inference_mode():
            out = selector.model.forward_intermediates(images, indices=1, norm=False, intermediates_only=True)[0]
        torch.testing.assert_close(selector.scores(images), out.square().sum(1).sqrt(), rtol=1e-5, atol=1e-6)

    def test_weights_bring_their_grid_normalisation_and_labels(self, selector: PatchNormSelector) -> None:
        assert selector.input_size == (48, 48) and selector.patch_size == 8 and selector.mean == (0.5, 0.5, 0.5)
        assert selector.supervision == Supervision.labels("shapes-seen0")

    def test_weights_that_saw_no_labels(self, weights: Path) -> None:
        assert PatchNormSelector(weights, label_set="self").supervision == Supervision.self_supervised()

    def test_a_mae_gives_its_encoder(self) -> None:
        selector = PatchNormSelector("mae.shapes", label_set="self")
        assert selector.input_size == (96, 96) and str(selector.supervision) == "self"


def test_options_of_weights_without_weights_are_one_line() -> None:
    with pytest.raises(UsageError, match="heads, label_set only with weights"):
        PatchNormSelector(heads=3, label_set="self")


@pytest.mark.parametrize("kind", [EdgeEnergySelector, EntropySelector, PatchNormSelector])
def test_no_labels_the_tasks_own_patches(kind: type[PlainSelector]) -> None:
    selector = kind()
    assert selector.supervision == Supervision.none() and selector.patch_size == 16 and selector.input_size is None
    assert kind.task_patch and kind.role == "method"
    with pytest.raises(UsageError, match="patch_size"):
        kind(patch_size=0)
