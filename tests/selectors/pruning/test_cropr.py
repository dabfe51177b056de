from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_vits import CONFIG, TRAINED_ON, make_images, save_vit, small_vit, spread
from torch import Tensor

from ltrp_bench.selectors.base import Selector
from ltrp_bench.selectors.checkpoints import load_metadata, load_state
from ltrp_bench.selectors.contract import WeightsContract
from ltrp_bench.selectors.dynamicvit.selector import DynamicViTSelector
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.pruning.cropr import Cropr, CroprSelector, published_rate, save_cropr

Golden = Callable[[str], tuple[dict[str, Any], dict[str, np.ndarray], Any]]


def small_net(rate: int = 6, fused: bool = False, **config: Any) -> Cropr:
    net = Cropr(small_vit(**config), rate, fused, trainable=True)
    spread(net.cropr, 1)
    return net


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "cropr.safetensors"
    save_cropr(path, small_net(), TRAINED_ON, command="a test")
    return path


def official(path: Path, state: dict[str, Tensor], **arguments: Any) -> Path:
    wrapped = {
        "model": state,
        "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]},
        "epoch": 50,
        "args": argparse.Namespace(**arguments),
        "fp16_scaler": {},
    }
    torch.save(wrapped, path)
    return path


@pytest.mark.parametrize("fused", [False, True])
def test_golden_through_the_official_wrapping(golden: Golden, tmp_path: Path, fused: bool) -> None:
    meta, expected, fill = golden("cropr")
    state = fill.state_dict(meta["shapes"], meta["seed"])
    if fused:
        state = {k: v for k, v in state.items() if not k.startswith("cropr.10.")}
    options = meta["cropr"]
    file = official(
        tmp_path / "cropr.pth",
        state,
        num_heads=meta["heads"],
        cropr_pruning_rate=options["pruning_rate"],
        cropr_llf=fused,
    )
    selector = CroprSelector(file)
    assert selector.net.pruning_rate == 16 and selector.net.last_layer_fusion is fused
    assert str(selector.supervision) == "imagenet1k" and selector.input_size == (224, 224)
    images = fill.images(meta["batch"], meta["image_size"], meta["seed"] + meta["image_offset"])
    with torch.inference_mode():
        logits, stages = selector.net.trace(images)
    np.testing.assert_allclose(logits.numpy(), expected["logits_llf" if fused else "logits"], atol=1e-4, rtol=0)
    assert len(stages) == 11 - fused
    for i, stage in enumerate(stages):
        scores = torch.full((len(images), 196), torch.nan).scatter_(1, stage.entered, stage.scores)
        np.testing.assert_allclose(scores.numpy(), expected[f"score_{i}"], atol=1e-3, rtol=0)
        assert stage.kept.shape[1] == meta["kept_counts"][i]
        # The same order too: scores are further apart than they are off.
        assert torch.equal(stage.kept, torch.from_numpy(expected[f"kept_{i}"]).long())


@pytest.mark.parametrize(("patches", "modules", "rate"), [(196, 22, 8), (196, 23, 8), (196, 11, 16), (4, 3, 1)])
def test_published_rate(patches: int, modules: int, rate: int) -> None:
    assert published_rate(patches, modules) == rate


def test_file_of_ours_tells_all(weights: Path) -> None:
    selector = CroprSelector(weights)
    assert selector.net.pruning_rate == 6 and not selector.net.last_layer_fusion
    assert selector.mean == (0.5, 0.5, 0.5) and selector.std == (0.25, 0.25, 0.25)
    assert str(selector.supervision) == "shapes-seen/0"
    assert load_metadata(weights)["kind"] == "cropr" and load_metadata(weights)["command"] == "a test"
    original = small_net().eval()
    own = {f"cropr.{i}.cross_attn.queries" for i in range(3)}
    assert set(load_state(weights)) == {*original.vit.state_dict(), *own}
    with torch.no_grad():
        torch.testing.assert_close(selector.net(make_images()), original(make_images()))
    assert CroprSelector(weights, pruning_rate=4).net.pruning_rate == 4


def test_one_pruning_block_by_hand() -> None:
    net, images = small_net().eval(), make_images(1)
    vit = net.vit
    with torch.no_grad():
        x = vit.blocks[0](vit._pos_embed(vit.patch_embed(images)))
        by_hand = [float(token @ net.cropr[0].cross_attn.queries[0, 0]) for token in x[0, 1:]]
        stages = net.prune(images)
    assert stages[0].scores[0].tolist() == pytest.approx(by_hand, abs=1e-5)
    # 36 patches: the first module drops one more than the others.
    assert [stage.kept.shape[1] for stage in stages] == [29, 23, 17]
    assert stages[0].kept[0].tolist() == sorted(range(36), key=lambda i: -by_hand[i])[:29]


def test_fusion_shows_every_patch_to_the_last_block() -> None:
    net, images = small_net(fused=True).eval(), make_images()
    seen = list[int]()
    for block in net.vit.blocks:
        block.register_forward_hook(lambda module, given, out: seen.append(out.shape[1]))
    with torch.no_grad():
        net(images)
    assert seen == [37, 30, 24, 37]


def test_training_gives_the_inference_logits_and_those_of_every_module() -> None:
    net, images = small_net().eval(), make_images()
    with torch.no_grad():
        out = net.training_forward(images)
        logits, stages = net.trace(images)
        x = net.vit.blocks[0](net.vit._pos_embed(net.vit.patch_embed(images)))
        module = net.cropr[0]
        attention = (x @ module.cross_attn.queries[0, 0] / 32**0.5).softmax(-1)
        pooled = (attention[..., None] * x).sum(1)
        pooled = pooled + module.cross_attn.mlp(F.layer_norm(pooled, (32,), *_scale(module.cross_attn.mlp_norm), 1e-6))
        by_hand = module.head.head(F.layer_norm(pooled, (32,), *_scale(module.head.norm), 1e-5))
    assert len(out) == 1 + len(stages) == 4
    torch.testing.assert_close(out[0], logits)
    torch.testing.assert_close(out[1], by_hand, atol=1e-4, rtol=1e-4)


def _scale(norm: torch.nn.LayerNorm) -> tuple[Tensor, Tensor]:
    return norm.weight, norm.bias


def test_no_gradient_of_a_module_reaches_the_backbone_and_none_of_the_backbone_a_module() -> None:
    net = small_net()
    net.training_forward(make_images())[2].sum().backward()
    reached = {name for name, p in net.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert reached and all(name.startswith("cropr.1.") for name in reached)
    net.zero_grad()
    net.training_forward(make_images())[0].sum().backward()
    reached = {name for name, p in net.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert reached and all(name.startswith("vit.") for name in reached)


def test_it_learns_the_classes_at_every_module() -> None:
    net, images, labels = small_net(), make_images(8), torch.arange(8)
    optimizer = torch.optim.Adam(net.parameters(), 2e-3)
    losses = []
    for _ in range(60):
        terms = torch.stack([F.cross_entropy(logits, labels) for logits in net.training_forward(images)])
        optimizer.zero_grad()
        terms.sum().backward()
        optimizer.step()
        losses.append(terms.detach())
    assert (torch.stack(losses[-5:]).mean(0) < 0.3 * losses[0]).all()


def test_the_ranking_keeps_what_the_modules_kept(weights: Path) -> None:
    selector = CroprSelector(weights)
    scores = selector.scores(make_images()).flatten(1)
    with torch.inference_mode():
        stages = selector.net.prune(make_images())
    for stage in stages:
        assert torch.equal(scores.topk(stage.kept.shape[1]).indices.sort().values, stage.kept.sort().values)
    assert torch.equal(scores.argsort(dim=1, descending=True)[:, :17], stages[-1].kept)


def test_foreign_files_are_one_line(tmp_path: Path) -> None:
    vit = save_vit(tmp_path / "vit.safetensors", small_vit())
    with pytest.raises(InputError, match="cropr.0.cross_attn.queries.*looks like a plain vision transformer") as caught:
        CroprSelector(vit)
    assert "\n" not in str(caught.value)
    state = {**small_net().vit.state_dict(), **{k: v for k, v in small_net().state_dict().items() if k[:3] != "vit"}}
    file = official(tmp_path / "projected.pth", {**state, "cropr.0.cross_attn.k.weight": torch.zeros(32, 32)})
    with pytest.raises(InputError, match="modules of.*1 unexpected: 0.cross_attn.k.weight"):
        CroprSelector(file, heads=4, label_set="imagenet1k")
    few = {k: v for k, v in state.items() if not k.startswith(("cropr.1", "cropr.2"))}
    with pytest.raises(InputError, match="has 1 modules for 4 blocks"):
        CroprSelector(official(tmp_path / "few.pth", few), heads=4, label_set="imagenet1k")
    with pytest.raises(InputError, match="looks like a Cropr"):
        DynamicViTSelector(official(tmp_path / "whole.pth", state))


def test_bad_options(weights: Path) -> None:
    with pytest.raises(UsageError, match="pruning_rate 12 at 3 modules leaves no patch of 36"):
        CroprSelector(weights, pruning_rate=12)
    with pytest.raises(UsageError, match="pruning_rate"):
        CroprSelector(weights, pruning_rate=0)
    with pytest.raises(UsageError, match="no place"):
        Cropr(small_vit(**{**CONFIG, "depth": 2}), last_layer_fusion=True)


class TestCroprContract(WeightsContract):
    build = CroprSelector

    @pytest.fixture
    def selector(self, weights: Path) -> Selector:
        return CroprSelector(weights)
