"""Controls against the contract, and against what each of them says it is."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from ltrp_bench.selectors.base import BatchContext, Selector
from ltrp_bench.selectors.contract import SelectorContract
from ltrp_bench.selectors.controls import (
    CenterControl,
    Control,
    DownsampleControl,
    FullControl,
    OracleControl,
    RandomControl,
    VarianceControl,
    centre_map,
)
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.topk import tie_keys, top_k

CONTROLS = (FullControl, DownsampleControl, CenterControl, VarianceControl, OracleControl, RandomControl)


@pytest.mark.parametrize("kind", CONTROLS)
def test_the_side_of_a_patch(kind: type[Control]) -> None:
    assert kind().patch_size == 16 and kind(1).patch_size == 1
    with pytest.raises(UsageError, match=f"^selector '{kind.name}': patch_size must be .* from 1 on, got 0$"):
        kind(0)


@pytest.mark.parametrize("kind", [FullControl, DownsampleControl, CenterControl, RandomControl])
def test_scores_are_on_the_grid_of_the_context_or_of_the_images(kind: type[Control]) -> None:
    images = torch.zeros(2, 3, 32, 48)
    assert kind(8).scores(images, BatchContext(("a", "b"), grid=(3, 5))).shape == (2, 3, 5)
    assert kind(8).scores(images, BatchContext(("a", "b"))).shape == kind(8).scores(images).shape == (2, 4, 6)


@pytest.mark.parametrize("kind", CONTROLS)
def test_scores_lie_where_the_images_lie(kind: type[Control]) -> None:
    context = BatchContext(("a",), objects=torch.ones(1, 2, 2))
    assert kind(8)._scores(torch.zeros(1, 3, 16, 16, device="meta"), context).device.type == "meta"


@pytest.mark.parametrize("kind", [FullControl, DownsampleControl])
def test_scores_of_what_selects_nothing_are_equal(kind: type[Control]) -> None:
    assert kind(8).scores(torch.ones(1, 3, 16, 24)).tolist() == [[[0.0] * 3] * 2]


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

    def test_nearness_by_hand(self) -> None:
        """Minus the squared distance; of 2 x 4 patches a step down is twice a step across, as on a square image."""
        assert centre_map((1, 3)).tolist() == [[-4, 0, -4]] and centre_map((2, 2)).tolist() == [[-2, -2], [-2, -2]]
        assert centre_map((2, 4)).tolist() == [[-13, -5, -5, -13]] * 2 and centre_map((2, 4)).dtype == np.int64
        assert CenterControl(8).scores(torch.zeros(2, 3, 16, 32)).tolist() == [[[-13, -5, -5, -13]] * 2] * 2

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

    def test_groups_are_joined_by_plus(self) -> None:
        assert OracleControl().oracle_groups == OracleControl(group=" all").oracle_groups == ()
        assert OracleControl(group="unseen + small").oracle_groups == ("unseen", "small")
        assert OracleControl(group="all+small").oracle_groups == ("all", "small")
        for group in ("", "unseen+", "+small"):
            with pytest.raises(UsageError, match="has an empty part"):
                OracleControl(group=group)

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

    def test_the_order_is_that_of_the_keys_of_the_id_marked_random(self, selector: Selector) -> None:
        """Other keys than those of the tie-break; the rank of a key is its score."""
        keys = tie_keys(["random:a", "random:b"], 6, 7)
        ranks = [[sorted(row).index(key) for key in row] for row in keys.tolist()]
        scores = selector.scores(torch.zeros(2, 3, 32, 48), BatchContext(("a", "b"), 7))
        assert scores.flatten(1).tolist() == ranks
        content = hashlib.sha256(bytes(4 * 3 * 32 * 48)).hexdigest()
        again = selector.scores(torch.zeros(1, 3, 32, 48), BatchContext((content,), 0))
        assert torch.equal(selector.scores(torch.zeros(1, 3, 32, 48)), again)

    def test_without_ids_the_content_decides(self, selector: Selector) -> None:
        images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
        scores = selector.scores(images)
        assert torch.equal(selector.scores(images[1:])[0], scores[1]) and not torch.equal(scores[0], scores[1])
