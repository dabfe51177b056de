from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_vits import CONFIG, make_images, small_vit

from ltrp_bench.selectors.attention.tokencut import Cut, TokenCutSelector, normalized_cut
from ltrp_bench.selectors.base import Selector
from ltrp_bench.selectors.checkpoints import save_safetensors
from ltrp_bench.selectors.contract import SelectorContract, WeightsContract
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.registry import create_selector

Golden = Callable[[str], tuple[dict[str, Any], dict[str, np.ndarray], Any]]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("weights") / "dino.small.safetensors"
    config = {**CONFIG, "classes": 0, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    save_safetensors(file, small_vit(classes=0).state_dict(), {"kind": "dino", "config": config})
    return file


def check(cut: Cut, expected: dict[str, np.ndarray], size: tuple[int, int] = (224, 224)) -> None:
    assert cut.eigenvalue == pytest.approx(float(expected["eigenvalues"][1]), abs=1e-6)
    np.testing.assert_allclose(cut.eigenvector, expected["eigenvector"], atol=1e-7)
    assert np.array_equal(cut.bipartition, expected["bipartition"])
    assert np.array_equal(cut.foreground, expected["foreground"])
    assert np.ravel_multi_index(cut.seed, cut.eigenvector.shape) == expected["seed_patch"]
    assert cut.box(16, *size) == tuple(expected["box"])


def outputs(expected: dict[str, np.ndarray], prefix: str, image: int | None = None) -> dict[str, np.ndarray]:
    found = {key.removeprefix(prefix): value for key, value in expected.items() if key.startswith(prefix)}
    return found if image is None else {key: value[image] for key, value in found.items()}


def test_golden_of_the_official_file(golden: Golden, tmp_path: Path) -> None:
    meta, expected, fill = golden("tokencut")
    file = tmp_path / "dino_deitsmall16_pretrain.pth"
    torch.save(fill.state_dict(meta["shapes"], meta["seed"]), file)
    images = fill.images(meta["batch"], meta["image_size"], meta["seed"])
    selector = TokenCutSelector(file, any_size=True)
    with torch.inference_mode():
        keys = selector.keys(images)
    # Every 14th token, of which the first is the class token.
    np.testing.assert_allclose(keys[:, 13::14], expected["vit_key_features"][:, 1:], atol=1e-5)
    for i, tau in enumerate(expected["vit_tau_f64"]):
        (cut,) = TokenCutSelector(file, tau=float(tau)).cuts(images[i : i + 1])
        check(cut, outputs(expected, "vit_", i))
    height, width = 216, 150
    image = fill.images(1, 224, meta["seed"] + meta["padded_offset"])[:, :, :height, :width]
    selector = TokenCutSelector(file, any_size=True, tau=float(expected["padded_tau_f64"]))
    (cut,) = selector.cuts(F.pad(image, (0, 160 - width, 0, 224 - height)))
    check(cut, outputs(expected, "padded_"), (height, width))


def test_golden_of_graphs_of_pixels(golden: Golden) -> None:
    meta, expected, fill = golden("tokencut")
    images = fill.images(meta["batch"], meta["image_size"], meta["seed"] + 2)
    images = F.avg_pool2d(images, 25, stride=1, padding=12, count_include_pad=False)
    for i, image in enumerate(images):
        patches = image.reshape(3, 14, 16, 14, 16).permute(1, 3, 2, 4, 0).reshape(196, 768)
        check(normalized_cut(patches, (14, 14)), outputs(expected, "pixels_", i))


def test_two_cliques_by_hand() -> None:
    # Two groups of patches, joined by weak edges alone: a > 0 on the smaller one, b < 0 on the other.
    pattern = torch.tensor([[0, 0, 1, 0], [0, 0, 0, 0], [1, 1, 0, 0]])
    eps = 1e-3
    cut = normalized_cut(F.one_hot(pattern.flatten(), 2).float(), (3, 4), eps=eps)
    small, large = 3 + 9 * eps, 9 + 3 * eps  # degrees
    # D-orthogonal to the constant vector, of unit D-norm.
    ratio = -(3 * small) / (9 * large)
    a = (3 * small + 9 * large * ratio**2) ** -0.5
    np.testing.assert_allclose(cut.eigenvector, np.where(pattern == 1, a, a * ratio), atol=1e-12)
    # By the Rayleigh quotient: 27 weak edges between the groups.
    assert cut.eigenvalue == pytest.approx(27 * eps * (a - a * ratio) ** 2)
    assert np.array_equal(cut.bipartition, pattern == 1)
    # The seed is the first of three equal patches, and the object its component alone.
    assert cut.seed == (0, 2) and cut.foreground.sum() == 1 and cut.box(8, 24, 32) == (16, 0, 24, 8)


def test_a_graph_without_structure_is_ranked_by_similarity() -> None:
    features = torch.ones(9, 4)
    features[4, 0] = 2.0  # the least like the others, though all cosines are above tau
    cut = normalized_cut(features, (3, 3))
    assert cut.seed == (1, 1) and cut.eigenvector[1, 1] > 0 > cut.eigenvector[0, 0]
    assert np.unique(cut.eigenvector.round(9)).size == 2
    for alike in (torch.ones(9, 4), torch.ones(1, 4)):
        side = 3 if len(alike) == 9 else 1
        cut = normalized_cut(alike, (side, side))
        assert np.ptp(cut.eigenvector) < 1e-9 and cut.foreground.all()


def test_scores_are_the_eigenvector(weights: Path) -> None:
    selector = TokenCutSelector(weights, tau=0.1)
    images = make_images()
    scores = selector.scores(images)
    for row, cut in zip(scores, selector.cuts(images), strict=True):
        np.testing.assert_allclose(row, cut.eigenvector.astype(np.float32))
        assert row[cut.seed] == row.max() > 0 and cut.foreground[cut.seed]
        count = int(cut.bipartition.sum())
        kept = np.zeros(36, bool)
        kept[row.flatten().topk(count).indices] = True
        assert np.array_equal(kept, cut.bipartition.flatten())
    assert not torch.equal(scores, TokenCutSelector(weights, tau=0.3).scores(images))


def test_bundled_weights_are_those_of_dino() -> None:
    selector = create_selector("tokencut", domain="shapes")
    assert isinstance(selector, TokenCutSelector)
    dino = create_selector("dino.shapes")
    assert (selector.mean, selector.input_size, str(selector.supervision)) == (dino.mean, dino.input_size, "self")


def test_any_size(weights: Path) -> None:
    images = make_images(1, 64)[:, :, :40]
    assert TokenCutSelector(weights, any_size=True).scores(images).shape == (1, 5, 8)


@pytest.mark.parametrize("options", [{"tau": 1.0}, {"tau": -1.5}, {"eps": 0.0}, {"eps": 1.0}])
def test_bad_options(weights: Path, options: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        TokenCutSelector(weights, **options)


class TestTokenCutContract(WeightsContract):
    build = TokenCutSelector

    @pytest.fixture
    def selector(self, weights: Path) -> Selector:
        return TokenCutSelector(weights)


class TestBundledContract(SelectorContract):
    @pytest.fixture
    def selector(self) -> Selector:
        return TokenCutSelector("dino.shapes", any_size=True)
