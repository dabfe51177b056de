from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_maes import small_cross_mae, small_mae

from ltrp_bench.selectors.base import Selector
from ltrp_bench.selectors.contract import SelectorContract, WeightsContract
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.ltrp.mae_checkpoints import save_mae
from ltrp_bench.selectors.ltrp.ranker import Ranker, save_ranker
from ltrp_bench.selectors.ltrp.selector import LTRPClusterSelector, LTRPSelector, LTRPTeacher
from ltrp_bench.selectors.registry import create_selector, identity


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    half = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
    files = {name: folder / f"{name}.safetensors" for name in ("patch", "class_token", "mae", "cross")}
    save_mae(files["cross"], small_cross_mae(**half))
    save_ranker(files["patch"], Ranker(48, 8, 24, 2, 2, **half))
    save_ranker(files["class_token"], Ranker(48, 8, 24, 2, 2, head="class_token", **half))
    save_mae(files["mae"], small_mae(**half))
    return files


def images(batch: int = 3, size: int = 48) -> torch.Tensor:
    return torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(0)) * 4 - 2


CASES: list[tuple[type, str, dict[str, Any]]] = [
    (LTRPSelector, "patch", {}),
    (LTRPSelector, "class_token", {}),
    (LTRPSelector, "patch", {"diversity": True}),
    (LTRPClusterSelector, "patch", {}),
    (LTRPClusterSelector, "class_token", {"cluster_keep_ratio": 0.25}),
    (LTRPTeacher, "mae", {"visits": 1}),
    (LTRPTeacher, "mae", {"visits": 2, "distance": "l2", "normalise": "rank", "mask_ratio": 0.8}),
    (LTRPTeacher, "cross", {"visits": 1}),
    (LTRPTeacher, "cross", {"visits": 2, "distance": "l2", "normalise": "rank", "positions": 0.25}),
    (LTRPTeacher, "cross", {"visits": 1, "positions": 3, "hide": "encoder_decoder"}),
    (LTRPTeacher, "cross", {"visits": 2, "positions": 12, "samples": 3}),
]


@pytest.mark.parametrize(("kind", "file", "options"), CASES)
def test_scores(weights: dict[str, Path], kind: Any, file: str, options: dict[str, Any]) -> None:
    selector = kind(weights[file], **options)
    assert selector.supervision.kind == "self" and not selector.stochastic
    assert (selector.mean, selector.patch_size, selector.input_size) == ((0.5, 0.5, 0.5), 8, (48, 48))
    scores = selector.scores(images())
    assert scores.shape == (3, 6, 6)
    alone = torch.cat([selector.scores(image[None]) for image in images()])
    torch.testing.assert_close(alone, scores, atol=1e-5, rtol=1e-4)
    assert torch.equal(kind(weights[file], **options).scores(images()), scores)


def test_names(weights: dict[str, Path]) -> None:
    assert LTRPSelector(weights["patch"]).name == "ltrp"
    assert LTRPSelector(weights["patch"], diversity=True).name == "ltrp-cluster"
    assert LTRPClusterSelector(weights["patch"]).name == "ltrp-cluster"
    assert LTRPTeacher(weights["mae"]).name == "ltrp-teacher"


def test_any_size(weights: dict[str, Path]) -> None:
    assert LTRPSelector(weights["patch"], any_size=True).scores(images(size=64)).shape == (3, 8, 8)
    with pytest.raises(InputError, match="48x48, got 64x64"):
        LTRPSelector(weights["patch"]).scores(images(size=64))
    with pytest.raises(UsageError, match="leave out any_size"):
        LTRPSelector(weights["class_token"], any_size=True)


def test_teachers_maskings_follow_the_seed(weights: dict[str, Path]) -> None:
    zero, one = (LTRPTeacher(weights["mae"], visits=1, seed=s).scores(images()) for s in (0, 1))
    assert not torch.equal(zero, one)


def test_sampled_positions_estimate_the_scores_of_all_of_them(weights: dict[str, Path]) -> None:
    """The estimate over many maskings comes closer, since no position is favored."""
    many = {"visits": 60, "mask_ratio": 0.8}
    everywhere = LTRPTeacher(weights["cross"], **many).scores(images(2))
    few, one = (LTRPTeacher(weights["cross"], positions=p, visits=v, mask_ratio=0.8) for p, v in ((4, 60), (4, 1)))
    errors = [float((teacher.scores(images(2)) / everywhere).log().abs().mean()) for teacher in (few, one)]
    assert errors[0] < 0.06 < 0.15 < errors[1]


def test_positions_change_the_fingerprint_only_where_they_are_given() -> None:
    """The options of the fingerprint are those of results that were stored before `positions` existed."""
    assert identity("ltrp-teacher.shapes")["options"] == {
        "distance": "l1",
        "hide": "decoder",
        "mask_ratio": 0.9,
        "max_memory_mb": None,
        "normalise": "none",
        "seed": 0,
        "visits": 3,
    }
    assert identity("ltrp-teacher.shapes", options={"positions": "all", "samples": None}) == identity(
        "ltrp-teacher.shapes"
    )
    assert identity("ltrp-teacher.shapes", options={"positions": 12})["options"]["positions"] == 12


def test_positions_of_the_teacher(weights: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="positions and samples are for a CrossMAE"):
        LTRPTeacher(weights["mae"], positions=4)
    with pytest.raises(UsageError, match="from 1 to the 33 masked patches or a share .* not 34"):
        LTRPTeacher(weights["cross"], positions=34)
    with pytest.raises(UsageError, match="samples must be a whole number from 1 on, got 0"):
        LTRPTeacher(weights["cross"], samples=0)
    with pytest.raises(UsageError, match="samples need a patch hidden in the decoder"):
        LTRPTeacher(weights["cross"], samples=2, hide="encoder_decoder")
    with pytest.raises(UsageError, match="'psnr' needs whole reconstructions"):
        LTRPTeacher(weights["cross"], distance="psnr")
    with pytest.raises(UsageError, match="positions must be one of all or a whole number or a number, got 'some'"):
        create_selector("ltrp-teacher", weights=weights["cross"], positions="some")


def test_bad_options(weights: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="visits"):
        LTRPTeacher(weights["mae"], visits=0)
    with pytest.raises(UsageError, match="distance must be one of"):
        LTRPTeacher(weights["mae"], distance="l3")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="cluster_keep_ratio"):
        LTRPClusterSelector(weights["patch"], cluster_keep_ratio=0)
    with pytest.raises(InputError, match="do not fit an LTRP ranker.*looks like a MAE"):
        LTRPSelector(weights["mae"])
    with pytest.raises(InputError, match="do not fit a MAE.*looks like an LTRP ranker"):
        LTRPTeacher(weights["patch"])


class TestLTRPContract(WeightsContract):
    build = LTRPSelector

    @pytest.fixture
    def selector(self, weights: dict[str, Path]) -> Selector:
        return LTRPSelector(weights["patch"])


class TestLTRPClassTokenContract(SelectorContract):
    @pytest.fixture
    def selector(self, weights: dict[str, Path]) -> Selector:
        return LTRPSelector(weights["class_token"])


class TestLTRPClusterContract(WeightsContract):
    build = LTRPClusterSelector

    @pytest.fixture
    def selector(self, weights: dict[str, Path]) -> Selector:
        return LTRPClusterSelector(weights["patch"])


class TestCrossTeacherContract(SelectorContract):
    @pytest.fixture
    def selector(self, weights: dict[str, Path]) -> Selector:
        return LTRPTeacher(weights["cross"], visits=1, positions=6)


class TestLTRPTeacherContract(WeightsContract):
    build = LTRPTeacher

    @pytest.fixture
    def selector(self, weights: dict[str, Path]) -> Selector:
        return LTRPTeacher(weights["mae"], visits=1)


def test_unknown_words_are_usage_errors(weights: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="normalise"):
        LTRPTeacher(weights["mae"], normalise="ranks")  # type: ignore[arg-type]


def test_lpips_brings_the_labels_of_its_network(weights: dict[str, Path], tmp_path: Path) -> None:
    assert str(LTRPTeacher(weights["mae"]).supervision) == "self"
    assert str(LTRPTeacher(weights["mae"], distance="lpips").supervision) == "imagenet1k"
    for distance, supervision in (("l2", "self"), ("lpips", "imagenet1k")):
        file = tmp_path / f"{distance}.safetensors"
        save_ranker(file, Ranker(48, 8, 24, 2, 2), training={"distance": distance})
        assert str(LTRPSelector(file).supervision) == supervision
    assert str(LTRPSelector(weights["patch"]).supervision) == "self"
