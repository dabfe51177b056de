from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_maes import small_mae
from small_vits import TRAINED_ON, make_images, save_vit, small_vit

from ltrp_bench.selectors.base import Selector
from ltrp_bench.selectors.checkpoints import load_metadata, load_state
from ltrp_bench.selectors.contract import SelectorContract, WeightsContract
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.ltrp.mae_checkpoints import save_mae
from ltrp_bench.selectors.pruning.evit import EViT, EViTSelector, save_evit, shrinking_keep_rate

Golden = Callable[[str], tuple[dict[str, Any], dict[str, np.ndarray], Any]]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "evit.safetensors"
    save_evit(path, EViT(small_vit(), (1, 2, 3), 0.6), TRAINED_ON, command="a test")
    return path


def test_golden_through_the_official_wrapping(golden: Golden, tmp_path: Path) -> None:
    meta, expected, fill = golden("evit")
    wrapped = {
        "model": fill.state_dict(meta["shapes"], meta["seed"]),
        "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]},
        "lr_scheduler": {"last_epoch": 299},
        "epoch": 299,
        "scaler": {},
        "args": argparse.Namespace(model="deit_small_patch16_shrink_base", base_keep_rate=0.7),
    }
    torch.save(wrapped, tmp_path / "evit.pth")
    selector = EViTSelector(tmp_path / "evit.pth")
    assert selector.net.stages == tuple(i for i, rate in enumerate(meta["keep_rate"]) if rate < 1)
    assert str(selector.supervision) == "imagenet1k" and selector.input_size == (224, 224)
    images = fill.images(meta["batch"], meta["image_size"], meta["seed"])
    with torch.inference_mode():
        logits, stages = selector.net.trace(images)
    np.testing.assert_allclose(logits.numpy(), expected["logits"], atol=1e-4, rtol=0)
    assert len(stages) == 3
    for i, stage in enumerate(stages):
        reference = torch.from_numpy(expected[f"kept_{i}"])
        assert torch.equal(stage.kept[:, :-1], stage.entered.gather(1, reference))
        assert (stage.kept[:, -1] == -1).all()
        # The same set straight from the class attention, so that a fused token counts as one of the entering tokens.
        order = stage.scores.argsort(dim=1, descending=True, stable=True)
        assert torch.equal(order[:, : reference.shape[1]], reference)


def test_keeping_all_is_the_plain_vit() -> None:
    vit = small_vit().eval()
    torch.testing.assert_close(EViT(vit, (1, 2, 3), 1.0).eval()(make_images()), vit(make_images()))


def test_one_dropping_block_by_hand() -> None:
    vit = small_vit().eval()
    net = EViT(vit, (1,), 0.5).eval()
    images = make_images(1)
    with torch.no_grad():
        logits, (stage,) = net.trace(images)
        x = vit.blocks[0](vit._pos_embed(vit.patch_embed(images)))
        block = vit.blocks[1]
        q, k, v = block.attn.qkv(block.norm1(x)).reshape(1, 37, 3, 4, 8).permute(2, 0, 3, 1, 4)
        attention = (q @ k.transpose(-2, -1) / 8**0.5).softmax(-1)
        looks = attention[0, :, 0, 1:].mean(0)
        x = x + block.attn.proj((attention @ v).transpose(1, 2).flatten(2))
        best = looks.argsort(descending=True)
        fused = sum(looks[i] * x[0, 1 + i] for i in best[18:].tolist())
        x = torch.cat([x[0, :1], x[0, 1 + best[:18]], fused[None]])[None]  # type: ignore[index]
        x = x + block.mlp(block.norm2(x))
        expected = vit.head(vit.norm(vit.blocks[3](vit.blocks[2](x)))[:, 0])
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-4)
    assert stage.kept[0, :-1].tolist() == best[:18].tolist()
    torch.testing.assert_close(stage.scores[0], looks)


def test_a_kept_patch_is_an_input_patch_once() -> None:
    stages = EViT(small_vit(), (1, 2, 3), 0.7).eval().prune(make_images(8))
    assert [s.kept.shape[1] for s in stages] == [27, 20, 15]  # ceil(0.7 n) and the fused token
    for before, stage in zip([torch.arange(36).expand(8, -1), *(s.kept for s in stages)], stages, strict=False):
        assert torch.equal(stage.entered, before)
        for entered, kept in zip(stage.entered.tolist(), stage.kept.tolist(), strict=True):
            patches = [p for p in kept if p >= 0]
            assert len(set(patches)) == len(patches) and set(patches) <= set(entered)
    assert (stages[2].kept == -1).sum(1).max() > 1, "no fused token was kept by a later stage: make the case harder"


def test_without_fusion_what_is_dropped_is_gone() -> None:
    net = EViT(small_vit(), (1, 2, 3), 0.7, fuse=False).eval()
    stages = net.prune(make_images())
    assert [s.kept.shape[1] for s in stages] == [26, 19, 14]
    assert all((s.kept >= 0).all() for s in stages)


def test_gradients_reach_every_weight() -> None:
    net = EViT(small_vit(), (1, 2, 3), 0.6)
    torch.nn.functional.cross_entropy(net(make_images()), torch.tensor([0, 1, 2, 3])).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_it_learns() -> None:
    torch.manual_seed(0)
    net = EViT(small_vit(), (1, 2, 3), 0.5)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    images, labels = make_images(8), torch.arange(8)
    losses = []
    for step in range(30):
        net.keep_rate = shrinking_keep_rate(step / 30, 0.5)
        loss = torch.nn.functional.cross_entropy(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


def test_the_keep_rate_shrinks_by_a_cosine() -> None:
    assert shrinking_keep_rate(0.0) == shrinking_keep_rate(10 / 300) == 1.0
    assert shrinking_keep_rate(60 / 300) == pytest.approx(0.85)
    assert shrinking_keep_rate(110 / 300) == shrinking_keep_rate(1.0) == pytest.approx(0.7)
    assert shrinking_keep_rate(0.5, 0.5, start=0.25, end=0.75) == pytest.approx(0.75)


def test_file_of_ours_tells_all(weights: Path) -> None:
    selector = EViTSelector(weights)
    assert selector.net.stages == (1, 2, 3) and selector.net.keep_rate == 0.6
    assert selector.mean == (0.5, 0.5, 0.5) and selector.std == (0.25, 0.25, 0.25)
    assert str(selector.supervision) == "shapes-seen/0" and selector.input_size == (48, 48)
    metadata = load_metadata(weights)
    assert metadata["kind"] == "evit" and metadata["command"] == "a test"
    original = EViT(small_vit(), (1, 2, 3), 0.6).eval()
    assert set(load_state(weights)) == set(original.vit.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(selector.net(make_images()), original(make_images()))


def test_the_ranking_keeps_what_the_stages_kept(weights: Path) -> None:
    selector = EViTSelector(weights)
    scores = selector.scores(make_images()).flatten(1)
    with torch.inference_mode():
        stages = selector.net.prune(make_images())
    for stage in stages:
        for row, kept in enumerate(stage.kept.tolist()):
            patches = {p for p in kept if p >= 0}
            assert set(scores[row].topk(len(patches)).indices.tolist()) == patches
    # Among the survivors of the last stage its class attention decides.
    last, alive = stages[-1], set(stages[-1].kept[0].tolist())
    order = [p for p in last.entered[0][last.scores[0].argsort(descending=True)].tolist() if p >= 0 and p in alive]
    assert scores[0].argsort(descending=True)[: len(order)].tolist() == order


def test_one_rate_for_one_ratio(weights: Path) -> None:
    selector = EViTSelector(weights, target_keep_ratio=0.25)
    assert selector.net.keep_rate == pytest.approx(0.25 ** (1 / 3))
    assert EViTSelector(weights, target_keep_ratio=0.25, stages=(1, 3)).net.keep_rate == 0.5
    with torch.inference_mode():
        kept = selector.net.prune(make_images())[-1].kept
    assert 9 <= int((kept >= 0).sum(1).min()) <= int((kept >= 0).sum(1).max()) <= 12
    with pytest.raises(UsageError, match="not both"):
        EViTSelector(weights, keep_rate=0.7, target_keep_ratio=0.25)
    with pytest.raises(UsageError, match="target_keep_ratio"):
        EViTSelector(weights, target_keep_ratio=1.5)


def test_training_free_on_plain_weights(tmp_path: Path) -> None:
    path = save_vit(tmp_path / "vit.safetensors", small_vit())
    selector = EViTSelector(path)
    assert (selector.net.stages, selector.net.keep_rate, selector.net.fuse) == ((1, 2, 3), 0.7, True)
    assert selector.scores(make_images()).shape == (4, 6, 6)
    with pytest.raises(UsageError, match="supervised=false, but the weights were trained with labels"):
        EViTSelector(path, supervised=False)


def test_training_free_on_a_real_vit(shared_dir: Path) -> None:
    file = shared_dir / "data/weights/vit_tiny_patch16_224.augreg_in21k_ft_in1k.pt"
    selector = EViTSelector(file)
    assert selector.mean == (0.5, 0.5, 0.5) and selector.supervision.label_sets == ("imagenet21k", "imagenet1k")
    assert selector.net.stages == (3, 6, 9)
    assert selector.scores(make_images(1, 224) / 2).shape == (1, 14, 14)


def test_foreign_files_are_one_line(tmp_path: Path) -> None:
    save_mae(tmp_path / "mae.safetensors", small_mae())
    torch.save({"model": {"conv1.weight": torch.zeros(1)}}, tmp_path / "resnet.pth")
    (tmp_path / "empty.pth").write_bytes(b"nothing\xff")
    cases = {"mae.safetensors": "looks like a MAE", "resnet.pth": "do not fit", "empty.pth": "corrupt"}
    for name, match in {**cases, "absent.pth": "not found"}.items():
        with pytest.raises(InputError, match=match) as caught:
            EViTSelector(tmp_path / name, heads=2)
        assert "\n" not in str(caught.value)


def test_vits_that_cannot_be_pruned_are_refused() -> None:
    from timm.models.vision_transformer import ParallelScalingBlock, VisionTransformer

    size: dict[str, Any] = {"img_size": 48, "patch_size": 8, "embed_dim": 32, "depth": 4, "num_heads": 4}
    with pytest.raises(InputError, match="class token"):
        EViT(VisionTransformer(**size, class_token=False, global_pool="avg"), (1, 2, 3))
    with pytest.raises(InputError, match="ParallelScalingBlock"):
        EViT(VisionTransformer(**size, block_fn=ParallelScalingBlock), (1, 2, 3))


def test_bad_options(weights: Path) -> None:
    with pytest.raises(UsageError, match="keep_rate"):
        EViTSelector(weights, keep_rate=0)
    with pytest.raises(UsageError, match="rising block numbers from 0 to 3"):
        EViTSelector(weights, stages=(3, 6, 9))


class TestEViTContract(WeightsContract):
    build = EViTSelector

    @pytest.fixture
    def selector(self, weights: Path) -> Selector:
        return EViTSelector(weights)


class TestEViTWithoutFusionContract(SelectorContract):
    @pytest.fixture
    def selector(self, weights: Path) -> Selector:
        return EViTSelector(weights, fuse=False, target_keep_ratio=0.1)


def test_an_official_file_tells_its_rate_fusion_and_stages(tmp_path: Path) -> None:
    vit = small_vit(depth=4)
    args = argparse.Namespace(base_keep_rate=0.5, fuse_token=False, drop_loc="(1, 2)")
    torch.save({"model": vit.state_dict(), "args": args}, tmp_path / "evit.pth")
    net = EViTSelector(tmp_path / "evit.pth", heads=2, label_set="imagenet1k").net
    assert (net.keep_rate, net.fuse, net.stages) == (0.5, False, (1, 2))
    net = EViTSelector(tmp_path / "evit.pth", heads=2, label_set="imagenet1k", keep_rate=0.7, fuse=True).net
    assert (net.keep_rate, net.fuse) == (0.7, True)
