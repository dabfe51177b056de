"""Controls against the contract, and against what each of them says it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ltrp_bench.selectors.base import BatchContext, Selector
from ltrp_bench.selectors.contract import SelectorContract
from ltrp_bench.selectors.controls import (
    CenterControl,
    DownsampleControl,
    FullControl,
    OracleControl,
    RandomControl,
    VarianceControl,
    centre_map,
)
from ltrp_bench.selectors.errors import InputError
from ltrp_bench.selectors.topk import top_k


class TestFull(SelectorContract):
    @pytest.fixture
    def selector(self) -> Selector:
        return FullControl()


class TestDownsample(SelectorContract):
    @pytest.fixture
    def selector(self) -> Selector:
        return DownsampleControl()


class TestCenter(SelectorContract):
    @pytest.fixture
    def selector(self) -> Selector:
        return CenterControl(patch_size=8)

    @pytest.mark.parametrize("grid", [(12, 12), (7, 10), (25, 38)])
    def test_patches_equally_far_tie_exactly_and_nearness_is_euclidean(self, grid: tuple[int, int]) -> None:
        near = centre_map(grid)
        assert (near == near[::-1]).all() and (near == near[:, ::-1]).all()
        gh, gw = grid
        y, x = (np.arange(gh) + 0.5) / gh - 0.5, (np.arange(gw) + 0.5) / gw - 0.5
        squared = y[:, None] ** 2 + x[None] ** 2
        assert np.allclose(near / near.min(), squared / squared.max(), atol=1e-12)

    def test_the_centre_is_kept_and_corners_are_not(self, selector: Selector) -> None:
        mask = top_k(selector.scores(torch.zeros(1, 3, 96, 96)), 0.25).mask()[0]
        assert mask[5:7, 5:7].all() and not mask[[0, 0, -1, -1], [0, -1, 0, -1]].any()


class TestVariance(SelectorContract):
    @pytest.fixture
    def selector(self) -> Selector:
        return VarianceControl(patch_size=8)

    def test_equals_the_variance_in_rgb_units(self, selector: Selector) -> None:
        rgb = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(1))
        images = (rgb - torch.tensor(selector.mean).view(1, 3, 1, 1)) / torch.tensor(selector.std).view(1, 3, 1, 1)
        patch = rgb[1, :, 8:16, 16:24]
        by_hand = ((patch - patch.mean((1, 2), keepdim=True)) ** 2).mean()
        assert selector.scores(images)[1, 1, 2] == pytest.approx(float(by_hand), rel=1e-4)


class TestOracle(SelectorContract):
    @pytest.fixture
    def selector(self) -> Selector:
        return OracleControl()

    def test_keeps_the_objects(self, selector: Selector) -> None:
        objects = torch.zeros(1, 4, 4)
        objects[0, 1, 2] = objects[0, 3, 0] = 1.0
        scores = selector.scores(torch.zeros(1, 3, 64, 64), BatchContext(("a",), objects=objects))
        assert top_k(scores, 2 / 16).indices.tolist() == [[6, 12]]

    def test_without_ground_truth_it_says_so(self, selector: Selector) -> None:
        with pytest.raises(InputError, match="ground truth"):
            selector.scores(torch.zeros(1, 3, 64, 64), BatchContext(("a",)))


class TestRandom(SelectorContract):
    @pytest.fixture
    def selector(self) -> Selector:
        return RandomControl()

    def test_depends_on_image_and_seed_and_keeps_every_patch_alike(self, selector: Selector) -> None:
        ids = tuple(str(i) for i in range(3000))
        images = torch.zeros(1, 3, 96, 96).expand(len(ids), 3, 96, 96)
        masks = [top_k(selector.scores(images, BatchContext(ids, s)), 0.25, ids).mask() for s in (0, 1)]
        assert (masks[0] != masks[1]).any() and (masks[0][0] != masks[0][1]).any()
        share = masks[0].float().mean(0)
        # 3000 draws at 0.25: one standard error is 0.008.
        assert (share - 0.25).abs().max() < 0.04

    def test_without_ids_the_content_decides(self, selector: Selector) -> None:
        images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
        scores = selector.scores(images)
        assert torch.equal(selector.scores(images[1:])[0], scores[1]) and not torch.equal(scores[0], scores[1])
