from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_vits import CONFIG, TRAINED_ON, make_images, save_vit, small_vit, spread

from ltrp_bench.selectors.base import Selector
from ltrp_bench.selectors.checkpoints import load_metadata, load_state
from ltrp_bench.selectors.contract import WeightsContract
from ltrp_bench.selectors.dynamicvit.model import DynamicViT, save_dynamicvit
from ltrp_bench.selectors.dynamicvit.selector import DynamicViTSelector
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.vit.backbones import build_vit

Golden = Callable[[str], tuple[dict[str, Any], dict[str, np.ndarray], Any]]


def small_net(**config: Any) -> DynamicViT:
    net = DynamicViT(small_vit(**config), (1, 2, 3), (0.7, 0.5, 0.3))
    spread(net.score_predictor, 1)
    return net


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "dynamicvit.safetensors"
    save_dynamicvit(path, small_net(), TRAINED_ON, command="a test")
    return path


def test_golden_through_the_official_wrapping(golden: Golden, tmp_path: Path) -> None:
    meta, expected, fill = golden("dynamicvit")
    torch.save({"model": fill.state_dict(meta["shapes"], meta["seed"])}, tmp_path / "dynamicvit.pth")
    selector = DynamicViTSelector(tmp_path / "dynamicvit.pth")
    assert selector.net.stages == tuple(meta["pruning_loc"])
    assert selector.net.token_ratio == pytest.approx(meta["token_ratio"])
    assert str(selector.supervision) == "imagenet1k" and selector.input_size == (224, 224)
    images = fill.images(meta["batch"], meta["image_size"], meta["seed"])
    with torch.inference_mode():
        logits, stages = selector.net.trace(images)
    np.testing.assert_allclose(logits.numpy(), expected["logits"], atol=1e-4, rtol=0)
    assert len(stages) == 3
    for i, stage in enumerate(stages):
        np.testing.assert_allclose(stage.scores.numpy(), expected[f"stage_{i}_score"], atol=1e-5, rtol=0)
        assert stage.kept.shape[1] == int(196 * meta["token_ratio"][i])


@pytest.mark.parametrize(("width", "heads"), [(256, 4), (768, 12)])
def test_published_widths_are_told_from_the_file(tmp_path: Path, width: int, heads: int) -> None:
    # Blocks of the published width, fewer and thinner ones: what tells the heads is the width.
    size = {**CONFIG, "embed_dim": width, "heads": heads, "classes": 1000, "mlp_ratio": 0.25}
    net = DynamicViT(build_vit(size), (1, 2, 3))
    torch.save({"model": net.published_state()}, tmp_path / "official.pth")
    selector = DynamicViTSelector(tmp_path / "official.pth")
    assert selector.net.vit.blocks[0].attn.num_heads == heads
    assert selector.net.token_ratio == pytest.approx((0.7, 0.49, 0.343))
    with torch.inference_mode():
        torch.testing.assert_close(selector.net(make_images(1)), net.eval()(make_images(1)))


def test_file_of_ours_tells_all(weights: Path) -> None:
    selector = DynamicViTSelector(weights)
    assert selector.net.stages == (1, 2, 3) and selector.net.token_ratio == (0.7, 0.5, 0.3)
    assert selector.mean == (0.5, 0.5, 0.5) and selector.std == (0.25, 0.25, 0.25)
    assert str(selector.supervision) == "shapes-seen/0"
    assert load_metadata(weights)["kind"] == "dynamicvit" and load_metadata(weights)["command"] == "a test"
    original = small_net().eval()
    assert set(load_state(weights)) == set(original.published_state())
    with torch.no_grad():
        torch.testing.assert_close(selector.net(make_images()), original(make_images()))
    assert DynamicViTSelector(weights, keep_rate=0.5).net.token_ratio == (0.5, 0.25, 0.125)


def test_the_ranking_keeps_what_the_stages_kept(weights: Path) -> None:
    selector = DynamicViTSelector(weights)
    scores = selector.scores(make_images()).flatten(1)
    with torch.inference_mode():
        stages = selector.net.prune(make_images())
        whole = selector.net.trace(make_images())[1]
    assert [s.kept.shape[1] for s in stages] == [25, 18, 10]
    for stage, same in zip(stages, whole, strict=True):
        assert torch.equal(stage.kept, same.kept)
        assert torch.equal(scores.topk(stage.kept.shape[1]).indices.sort().values, stage.kept.sort().values)
    assert torch.equal(scores.argsort(dim=1, descending=True)[:, :10], stages[-1].kept)


def test_foreign_files_are_one_line(tmp_path: Path) -> None:
    vit = save_vit(tmp_path / "vit.safetensors", small_vit())
    with pytest.raises(InputError, match="score_predictor.0.*looks like a plain vision transformer") as caught:
        DynamicViTSelector(vit)
    assert "\n" not in str(caught.value)
    state = small_net().published_state()
    del state["score_predictor.1.out_conv.2.bias"]
    torch.save({"model": state}, tmp_path / "holes.pth")
    with pytest.raises(InputError, match="score predictors of.*1 keys missing: 1.out_conv.2.bias"):
        DynamicViTSelector(tmp_path / "holes.pth", heads=4, label_set="imagenet1k")
    state = small_net().published_state()
    torch.save({"model": state}, tmp_path / "ours.pth")
    with pytest.raises(InputError, match="heads=N"):
        DynamicViTSelector(tmp_path / "ours.pth")
    with pytest.raises(InputError, match="label_set"):
        DynamicViTSelector(tmp_path / "ours.pth", heads=4)
    with pytest.raises(InputError, match="not found"):
        DynamicViTSelector(tmp_path / "absent.pth")


def test_bad_options(weights: Path) -> None:
    with pytest.raises(UsageError, match="3 score predictors for 2 stages"):
        DynamicViTSelector(weights, stages=(1, 2))
    with pytest.raises(UsageError, match="keep_rate"):
        DynamicViTSelector(weights, keep_rate=1.5)
    with pytest.raises(UsageError, match="leaves no patch"):
        DynamicViTSelector(weights, keep_rate=0.2)
    for wrong in ((0.7, 0.5), (0.5, 0.7, 0.3), (0.7, 0.5, 0)):
        with pytest.raises(UsageError, match="token_ratio"):
            DynamicViT(small_vit(), (1, 2, 3), wrong)


class TestDynamicViTContract(WeightsContract):
    build = DynamicViTSelector

    @pytest.fixture
    def selector(self, weights: Path) -> Selector:
        return DynamicViTSelector(weights)
