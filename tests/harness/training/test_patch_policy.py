"""Patches that a training batch keeps: random fields, and those that a selector ranks first."""

from __future__ import annotations

import pytest
import torch

from ltrp_bench.harness.training.options.training import PatchOptions
from ltrp_bench.harness.training.patch_policy import PatchKeeper, PatchPolicy, patch_policy, random_fields
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.normalization import denormalize, normalize
from ltrp_bench.selectors.registry import create_selector
from ltrp_bench.selectors.topk import top_k
from ltrp_bench.tasks.data.shapes.world import MEAN, STD, ShapesWorld

GRID = (12, 12)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_images(count: int = 3) -> torch.Tensor:
    """[B, 3, 96, 96] normalized images of `shapes`."""
    pixels = torch.stack([torch.from_numpy(ShapesWorld(5).image(i).image.copy()) for i in range(count)])
    return normalize(pixels.permute(0, 3, 1, 2).float() / 255, MEAN, STD)


@pytest.mark.parametrize("grid", [(12, 12), (4, 9), (1, 1)])
def test_random_fields_are_sorted_patches_of_the_grid(grid: tuple[int, int]) -> None:
    found = random_fields(5, grid, 0.4, 7)
    assert found.shape == (5, max(1, round(0.4 * grid[0] * grid[1]))) and found.dtype == torch.int64
    assert found.min() >= 0 and found.max() < grid[0] * grid[1] and (found.diff(dim=1) > 0).all()
    assert torch.equal(found, random_fields(5, grid, 0.4, 7))


def test_random_fields_differ_and_cover_all_places() -> None:
    found = random_fields(200, GRID, 0.25, 0)
    assert len({tuple(row.tolist()) for row in found}) == 200
    often = torch.bincount(found.flatten(), minlength=144) / 200
    assert often.min() > 0.1 and often.max() < 0.45  # 0.25 each, no place favoured


def test_random_ratios_cover_their_range_and_depend_on_the_generator_alone() -> None:
    keeper = PatchKeeper(patch_policy(PatchOptions(keep_ratio="random")), GRID, MEAN, STD)
    kept = [keeper(torch.zeros(2, 3, 96, 96), generator(seed)) for seed in range(60)]
    counts = [indices.shape[1] for indices in kept if indices is not None]
    assert len(counts) == 60 and 14 <= min(counts) < 35 and 120 < max(counts) <= 144
    again = keeper(torch.zeros(2, 3, 96, 96), generator(3))
    assert again is not None and kept[3] is not None and torch.equal(again, kept[3])


def test_whole_images_by_default() -> None:
    assert patch_policy(PatchOptions()) == PatchPolicy(1.0) and patch_policy(PatchOptions()).whole
    assert (
        PatchKeeper(patch_policy(PatchOptions(keep_ratio="1.0")), GRID, MEAN, STD)(make_images(), generator()) is None
    )


@pytest.mark.parametrize("name", ["ltrp", "edge-energy"])
def test_a_selector_sees_the_batch_itself(name: str) -> None:
    images = make_images()
    keeper = PatchKeeper(patch_policy(PatchOptions(keep_ratio="0.25", selector=name), "shapes"), GRID, MEAN, STD)
    found = keeper(images, generator())
    selector = create_selector(name, domain="shapes")
    raw = normalize(denormalize(images, MEAN, STD), selector.mean, selector.std)
    expected = top_k(selector.scores(raw), 0.25, ("0", "1", "2")).indices
    assert found is not None
    assert found.shape == (3, 36)
    # Pixels go through 8 bits again: a patch at the threshold may change places with its neighbour in rank.
    for mine, theirs in zip(found.tolist(), expected.tolist(), strict=True):
        assert len(set(mine) & set(theirs)) >= 35


def test_full_precision_inside_mixed() -> None:
    keeper = PatchKeeper(patch_policy(PatchOptions(keep_ratio="0.5", selector="ltrp"), "shapes"), GRID, MEAN, STD)
    plain = keeper(make_images(), generator())
    with torch.autocast("cpu", torch.bfloat16):
        mixed = keeper(make_images(), generator())
    assert plain is not None and mixed is not None and torch.equal(plain, mixed)


def test_known_scores_are_taken_as_they_are() -> None:
    keeper = PatchKeeper(patch_policy(PatchOptions(keep_ratio="0.5", selector="ltrp"), "shapes"), (2, 2), MEAN, STD)
    scores = torch.tensor([[[0.0, 3.0], [2.0, 1.0]], [[9.0, 1.0], [0.0, 5.0]]])
    found = keeper(torch.zeros(2, 3, 96, 96), generator(), scores)
    assert found is not None and found.tolist() == [[1, 2], [0, 3]]


def test_noise_beyond_what_images_hold_is_cut_off() -> None:
    keeper = PatchKeeper(patch_policy(PatchOptions(keep_ratio="0.5", selector="ltrp"), "shapes"), GRID, MEAN, STD)
    found = keeper(make_images() + 20 * torch.randn(3, 3, 96, 96, generator=generator()), generator())
    assert found is not None and found.shape == (3, 72)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (PatchOptions(keep_ratio="0"), "not in"),
        (PatchOptions(keep_ratio="1.5"), "not in"),
        (PatchOptions(keep_ratio="nan"), "not in"),
        (PatchOptions(keep_ratio="half"), "give a share"),
        (PatchOptions(keep_ratio="0.5", selector="no-such"), "no selector 'no-such'"),
        (PatchOptions(keep_ratio="0.5", selector="oracle"), "reads the ground truth"),
        (PatchOptions(keep_ratio="0.5", selector="downsample"), "keeps no patches"),
        (PatchOptions(keep_ratio="0.5", selector="full"), "keeps every patch"),
        (PatchOptions(keep_ratio="1", selector="ltrp"), "nothing to choose"),
        (PatchOptions(keep_ratio="0.5", weights="file.pth"), "add --selector"),
        (PatchOptions(keep_ratio="0.5", selector="ltrp", selector_option=("keyvalue",)), "write key=value"),
    ],
)
def test_wrong_options_are_one_line(options: PatchOptions, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        PatchKeeper(patch_policy(options, "shapes"), GRID, MEAN, STD)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "fold", "expected"),
    [("shapes", 1, ("shapes", "shapes1")), ("shapes", 0, ("shapes", "shapes0")), ("coco", 1, ("photos",))],
)
def test_the_domain_follows_the_data_and_the_fold(data: str, fold: int, expected: tuple[str, ...]) -> None:
    assert PatchOptions(fold=fold).domain(data) == expected


def test_missing_weights_of_a_selector() -> None:
    with pytest.raises(InputError, match="no file"):
        patch_policy(PatchOptions(keep_ratio="0.5", selector="ltrp", weights="ltrp=nowhere.pth"))
