"""Which patches a training batch keeps: random fields, and a selector's own choice of the very images."""

from __future__ import annotations

import pytest
import torch

from ltrp_bench.harness.training.patch_policy import PatchKeeper, PatchPolicy, patch_policy, random_fields
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.registry import create_selector
from ltrp_bench.selectors.topk import top_k
from ltrp_bench.tasks.data.shapes.world import MEAN, STD, ShapesWorld

GRID = (12, 12)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_images(count: int = 3) -> torch.Tensor:
    """[B, 3, 96, 96] normalised images of the built-in world."""
    pixels = torch.stack([torch.from_numpy(ShapesWorld(5).image(i).image.copy()) for i in range(count)])
    mean, std = (torch.tensor(x).view(1, 3, 1, 1) for x in (MEAN, STD))
    return (pixels.permute(0, 3, 1, 2).float() / 255 - mean) / std


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
    keeper = PatchKeeper(patch_policy("random"), GRID, MEAN, STD)
    kept = [keeper(torch.zeros(2, 3, 96, 96), generator(seed)) for seed in range(60)]
    counts = [indices.shape[1] for indices in kept if indices is not None]
    assert len(counts) == 60 and 14 <= min(counts) < 35 and 120 < max(counts) <= 144
    again = keeper(torch.zeros(2, 3, 96, 96), generator(3))
    assert again is not None and kept[3] is not None and torch.equal(again, kept[3])


def test_whole_images_by_default() -> None:
    assert patch_policy("1") == PatchPolicy(1.0) and patch_policy("1").whole
    assert PatchKeeper(patch_policy("1.0"), GRID, MEAN, STD)(make_images(), generator()) is None


@pytest.mark.parametrize("name", ["ltrp", "edge-energy"])
def test_a_selector_sees_the_batch_itself(name: str) -> None:
    images = make_images()
    keeper = PatchKeeper(patch_policy("0.25", name, domain="shapes"), GRID, MEAN, STD)
    found = keeper(images, generator())
    selector = create_selector(name, domain="shapes")
    mean, std = (torch.tensor(x).view(1, 3, 1, 1) for x in (selector.mean, selector.std))
    raw = images * torch.tensor(STD).view(1, 3, 1, 1) + torch.tensor(MEAN).view(1, 3, 1, 1)
    expected = top_k(selector.scores((raw - mean) / std), 0.25, ("0", "1", "2")).indices
    assert found is not None and found.shape == (3, 36)
    # Pixels go through 8 bits again: a patch at the threshold may change places with its neighbour in rank.
    for mine, theirs in zip(found.tolist(), expected.tolist(), strict=True):
        assert len(set(mine) & set(theirs)) >= 35


def test_full_precision_inside_mixed() -> None:
    keeper = PatchKeeper(patch_policy("0.5", "ltrp", domain="shapes"), GRID, MEAN, STD)
    plain = keeper(make_images(), generator())
    with torch.autocast("cpu", torch.bfloat16):
        mixed = keeper(make_images(), generator())
    assert plain is not None and mixed is not None and torch.equal(plain, mixed)


def test_known_scores_are_taken_as_they_are() -> None:
    keeper = PatchKeeper(patch_policy("0.5", "ltrp", domain="shapes"), (2, 2), MEAN, STD)
    scores = torch.tensor([[[0.0, 3.0], [2.0, 1.0]], [[9.0, 1.0], [0.0, 5.0]]])
    found = keeper(torch.zeros(2, 3, 96, 96), generator(), scores)
    assert found is not None and found.tolist() == [[1, 2], [0, 3]]


def test_noise_beyond_what_images_hold_is_cut_off() -> None:
    keeper = PatchKeeper(patch_policy("0.5", "ltrp", domain="shapes"), GRID, MEAN, STD)
    found = keeper(make_images() + 20 * torch.randn(3, 3, 96, 96, generator=generator()), generator())
    assert found is not None and found.shape == (3, 72)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("0",), "not in"),
        (("1.5",), "not in"),
        (("nan",), "not in"),
        (("half",), "write a share"),
        (("0.5", "no-such"), "no selector 'no-such'"),
        (("0.5", "oracle"), "looks at the labels"),
        (("0.5", "downsample"), "keeps no patches"),
        (("1", "ltrp"), "nothing to choose"),
        (("0.5", None, "file.pth"), "name it with --selector"),
        (("0.5", "ltrp", None, ("keyvalue",)), "write key=value"),
    ],
)
def test_wrong_words_are_one_line(words: tuple[object, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        patch_policy(*words, domain="shapes") if len(words) == 4 else patch_policy(*words)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_missing_weights_of_a_selector() -> None:
    with pytest.raises(InputError, match="no file"):
        patch_policy("0.5", "ltrp", "ltrp=nowhere.pth")
