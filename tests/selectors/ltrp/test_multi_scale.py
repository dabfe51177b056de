from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.ltrp.multi_scale import check_sizes, multi_scale_scores
from ltrp_bench.selectors.ltrp.ranker import Ranker, save_ranker
from ltrp_bench.selectors.ltrp.selector import LTRPClusterSelector, LTRPSelector
from ltrp_bench.selectors.registry import identity


@pytest.fixture(scope="module", params=["patch", "class_token"])
def weights(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / f"ltrp.{request.param}.safetensors"
    save_ranker(path, Ranker(48, 8, 24, 2, 2, head=request.param))
    return path


def test_maps_are_standardized_and_averaged_on_the_finest_grid() -> None:
    """Two sizes by hand: a 1 x 2 pattern of 2 x 2 patches, and a constant map, which says nothing."""
    images = torch.zeros(1, 3, 4, 4)
    coarse = multi_scale_scores(lambda x: torch.tensor([[1.0, 3.0, 1.0, 3.0]]), images, [4], 2)
    assert coarse.tolist() == [[-1.0, 1.0, -1.0, 1.0]]

    def by_size(x: torch.Tensor) -> torch.Tensor:
        return torch.tensor([[0.0, 2.0, 0.0, 2.0]]) if x.shape[-1] == 4 else torch.tensor([[7.0]])

    assert multi_scale_scores(by_size, images, [2, 4], 2).tolist() == [[-0.5, 0.5, -0.5, 0.5]]


def test_a_constant_map_in_half_precision_stays_finite() -> None:
    scores = multi_scale_scores(lambda x: torch.full((1, 4), 3.0, dtype=torch.float16), torch.zeros(1, 3, 4, 4), [4], 2)
    assert scores.tolist() == [[0.0] * 4]


def test_scores_are_the_mean_over_sizes(weights: Path) -> None:
    if "class_token" in weights.name:
        with pytest.raises(UsageError, match="leave out sizes"):
            LTRPSelector(weights, sizes=[48, 96])
        return
    selector = LTRPSelector(weights, sizes=[48, 96])
    assert selector.input_size == (96, 96)
    x = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(1)) * 2 - 1
    small = F.interpolate(x, size=(48, 48), mode="bilinear", antialias=True, align_corners=False)
    with torch.no_grad():
        maps = [selector.ranker(image).unflatten(1, (n, n)) for image, n in ((small, 6), (x, 12))]
    maps = [(m - m.mean((1, 2), keepdim=True)) / m.std((1, 2), keepdim=True, correction=0) for m in maps]
    fine = F.interpolate(maps[0][:, None], size=(12, 12), mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(selector.scores(x), (fine + maps[1]) / 2, atol=1e-5, rtol=1e-4)
    assert LTRPClusterSelector(weights, sizes=[48, 96]).scores(x).shape == (2, 12, 12)
    with pytest.raises(UsageError, match="exclude each other"):
        LTRPSelector(weights, sizes=[48], any_size=True)


def test_the_training_size_alone_ranks_as_without_the_option(weights: Path) -> None:
    if "class_token" in weights.name:
        return
    x = torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    plain, one = LTRPSelector(weights).scores(x), LTRPSelector(weights, sizes=[48]).scores(x)
    assert torch.equal(plain.flatten(1).argsort(stable=True), one.flatten(1).argsort(stable=True))


def test_the_option_enters_the_fingerprint_only_if_given() -> None:
    def options(**given: object) -> dict[str, object]:
        return dict(identity("ltrp.photos", options=given)["options"])

    assert "sizes" not in options() and list(options(sizes=[96, 192])["sizes"]) == [96, 192]  # type: ignore[call-overload]


@pytest.mark.parametrize("sizes", [[], [96, 96], [90], [96, 0], ["96"], [True], [96.0]])
def test_wrong_sizes(sizes: list[int]) -> None:
    with pytest.raises(UsageError, match="sizes"):
        check_sizes(sizes, 8)


def test_one_size() -> None:
    assert check_sizes(96, 8) == (96,)  # type: ignore[arg-type]
