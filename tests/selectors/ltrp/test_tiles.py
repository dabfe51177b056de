"""An autoencoder of small images that scores larger ones in tiles."""

import pytest
import torch

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.ltrp.mae import MAE, MAEConfig
from ltrp_bench.selectors.ltrp.objective import RankingObjective
from ltrp_bench.selectors.ltrp.ranker import Ranker, at_image_size
from ltrp_bench.selectors.ltrp.semantic_density import semantic_density
from ltrp_bench.selectors.ltrp.tiles import cut_tiles, join_maps, patches_of_image
from ltrp_bench.selectors.registry import create_selector
from ltrp_bench.selectors.vit.layers import patchify, take


def test_tiles_are_parts_of_the_image_row_by_row():
    image = torch.arange(2 * 3 * 4 * 6.0).view(2, 3, 4, 6)
    parts = cut_tiles(image, 2)
    assert parts.shape == (8, 3, 2, 3)
    assert torch.equal(parts[0], image[0, :, :2, :3])
    assert torch.equal(parts[1], image[0, :, :2, 3:])
    assert torch.equal(parts[6], image[1, :, 2:, :3])
    assert torch.equal(join_maps(parts[:, 0], 2), image[:, 0])


def test_an_image_that_tiles_do_not_fit_is_refused():
    with pytest.raises(UsageError, match="2 x 2 tiles do not fit an image of 5x6 pixels"):
        cut_tiles(torch.zeros(1, 3, 5, 6), 2)


def test_indices_in_tiles_name_the_same_patches_in_the_image():
    image = torch.rand(2, 3, 16, 24)
    chosen = torch.stack([torch.randperm(6)[:4] for _ in range(8)])  # tiles of 2 x 3 patches of 4 pixels
    whole = patches_of_image(chosen, (2, 3), 2)
    assert whole.shape == (2, 16)
    of_tiles = take(patchify(cut_tiles(image, 2), 4), chosen).view(2, 16, -1)
    assert torch.equal(take(patchify(image, 4), whole), of_tiles)


def small_mae() -> MAE:
    torch.manual_seed(0)
    sizes = {"embed_dim": 16, "depth": 1, "heads": 2, "decoder_dim": 16, "decoder_depth": 1, "decoder_heads": 2}
    return MAE(MAEConfig(image_size=16, patch_size=4, **sizes)).eval()


def small_ranker(side: int) -> Ranker:
    return Ranker(image_size=side, patch_size=4, embed_dim=16, depth=1, heads=2)


def test_targets_of_tiles_are_those_of_the_tiles_alone():
    mae, images = small_mae(), torch.rand(2, 3, 32, 32)
    objective = RankingObjective(mae, small_ranker(32), mask_ratio=0.5)
    visible, scores = objective.pseudo_scores(images, torch.Generator().manual_seed(3))
    assert visible.shape == scores.shape == (2, 4 * 8)
    bottom_left = images[1:, :, 16:, :16]
    mine = visible[1, 16:24]  # the third tile of the second image
    in_tile = (mine // 8 - 4) * 4 + mine % 8
    _, expected = semantic_density(mae, bottom_left, in_tile[None])
    torch.testing.assert_close(scores[1, 16:24], expected[0])
    assert objective(images, torch.Generator().manual_seed(3)).isfinite()


def test_a_ranker_of_another_grid_is_refused():
    with pytest.raises(UsageError, match=r"tiles into \(4, 4\) patches .* the ranker images into \(6, 6\)"):
        RankingObjective(small_mae(), small_ranker(24))


def test_a_ranker_for_another_image_size_has_its_weights_and_interpolated_positions():
    ranker = small_ranker(16).eval()
    other = at_image_size(ranker, (32, 32)).eval()
    images = torch.rand(2, 3, 32, 32)
    assert other.config["image_size"] == 32
    torch.testing.assert_close(other(images), ranker(images))  # which interpolates by itself
    assert at_image_size(ranker, (16, 16)) is ranker


def test_a_class_token_ranker_has_one_image_size():
    ranker = Ranker(image_size=16, patch_size=4, embed_dim=16, depth=1, heads=2, head="class_token")
    with pytest.raises(UsageError, match="scores images of 16x16 pixels, not of 32x32"):
        at_image_size(ranker, (32, 32))


def test_the_teacher_scores_each_tile_as_an_image():
    tiled, plain = (create_selector("ltrp-teacher.photos", visits=1, mask_ratio=0.6, tiles=n) for n in (2, 1))
    assert tiled.input_size == (192, 192)
    images = torch.rand(1, 3, 192, 192)
    scores = tiled.scores(images)
    assert scores.shape == (1, 24, 24)
    torch.testing.assert_close(scores[:, 12:, :12], plain.scores(images[..., 96:, :96]))


@pytest.mark.parametrize("tiles", [0, 1.5, "2"])
def test_tiles_of_the_teacher_are_a_whole_number(tiles):
    with pytest.raises(UsageError, match="tiles"):
        create_selector("ltrp-teacher.photos", tiles=tiles)
