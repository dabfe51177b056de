"""DPC-KNN: the contract, the formula written out, and what it promises about clusters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_vits import noise_vit

from ltrp_bench.selectors.base import IMAGENET_STD, Selector, Supervision
from ltrp_bench.selectors.contract import SelectorContract, WeightsContract, example_images
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.ltrp.diversity import dpc_knn
from ltrp_bench.selectors.merging.dpc_knn import DPCKNNSelector
from ltrp_bench.selectors.topk import top_k


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise_vit(tmp_path_factory.mktemp("vit") / "vit.safetensors", depth=2)


def peaks_by_hand(features: np.ndarray, neighbours: int) -> np.ndarray:
    """[L, C] -> [L]: loops over patches, float64, no noise."""
    count, channels = features.shape
    distance = np.array([[np.sqrt(((a - b) ** 2).sum() / channels) for b in features] for a in features])
    density = np.array([np.exp(-np.mean(np.sort(row)[:neighbours] ** 2)) for row in distance])
    out = np.zeros(count)
    for i in range(count):
        denser = [distance[i, j] for j in range(count) if density[j] > density[i]]
        out[i] = density[i] * (min(denser) if denser else distance.max())
    return out


class TestRawPatches(SelectorContract):
    @pytest.fixture
    def selector(self) -> Selector:
        return DPCKNNSelector(patch_size=8)

    def test_equals_the_formula_written_out(self, selector: Selector) -> None:
        images = torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(2)).clamp(-1.5, 1.5)
        images = images * torch.linspace(0.1, 1, 48)
        scores = selector.scores(images)
        for image, mine in zip(images.double().numpy(), scores, strict=True):
            patches = [image[:, y : y + 8, x : x + 8].ravel() for y in range(0, 32, 8) for x in range(0, 48, 8)]
            expected = peaks_by_hand(np.stack(patches), 5)
            np.testing.assert_allclose(mine.flatten().numpy(), expected, rtol=1e-4)

    def test_k_kept_are_the_centres_of_k_clusters(self, selector: DPCKNNSelector) -> None:
        images = (example_images(1, (96, 96)) - 0.5) / 0.3
        kept = top_k(selector.scores(images), 12 / 144).indices[0]
        cluster = dpc_knn(selector.features(images), 12, 5, 1e-6, torch.Generator().manual_seed(0))[0]
        assert sorted(cluster[kept].tolist()) == list(range(12))

    def test_one_patch_of_each_region_comes_first(self) -> None:
        # Three regions of unlike colour and size, slightly grainy: the three best patches are one of each.
        image = torch.zeros(1, 3, 96, 96)
        image[:, 0, :, 48:] = 1.0
        image[:, 1, 64:, 64:] = 1.5
        region = image[0, :, ::8, ::8].flatten(1).T.clone()
        image += 0.01 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
        kept = top_k(DPCKNNSelector(patch_size=8).scores(image), 3 / 144).indices[0]
        assert {tuple(region[i].tolist()) for i in kept.tolist()} == {(0, 0, 0), (1, 0, 0), (1, 1.5, 0)}

    def test_seed_separates_equal_densities(self) -> None:
        image = torch.zeros(1, 3, 64, 64)
        image[..., 32:] = 1.0
        first, again, other = (DPCKNNSelector(patch_size=8, seed=s).scores(image) for s in (0, 0, 1))
        assert torch.equal(first, again) and first.argmax() != other.argmax()


class TestFeatures(WeightsContract):
    build = DPCKNNSelector

    @pytest.fixture
    def selector(self, weights: Path) -> Selector:
        return DPCKNNSelector(weights)

    def test_clusters_the_last_blocks_tokens(self, selector: DPCKNNSelector) -> None:
        assert selector.model is not None
        images = (example_images(2, (48, 48)) - 0.5) / torch.tensor(IMAGENET_STD).view(3, 1, 1)
        with torch.inference_mode():
            out = selector.model.forward_intermediates(images, indices=1, norm=False, intermediates_only=True)[0]
        out = out.flatten(2).transpose(1, 2).double()
        out = (out - out.mean(-1, keepdim=True)) / (out.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        expected = np.stack([peaks_by_hand(x.numpy(), 5) for x in out])
        np.testing.assert_allclose(selector.scores(images).flatten(1).numpy(), expected, rtol=1e-3)
        with torch.inference_mode():
            assert F.mse_loss(selector.features(images).double(), out) < 1e-8

    def test_supervision_is_the_weights(self, selector: Selector, weights: Path) -> None:
        assert selector.supervision == Supervision.labels("shapes-seen0")
        assert DPCKNNSelector(weights, label_set="self").supervision == Supervision.self_supervised()
        assert DPCKNNSelector().supervision == Supervision.none()


@pytest.mark.parametrize("options", [{"neighbours": 1}, {"neighbours": 2.5}, {"seed": "x"}, {"patch_size": 0}])
def test_options_that_cannot_be_are_one_line(options: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        DPCKNNSelector(**options)


def test_options_of_weights_without_weights_are_one_line() -> None:
    with pytest.raises(UsageError, match="model only with weights"):
        DPCKNNSelector(model="timm:vit_tiny_patch16_224")
