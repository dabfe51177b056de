from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from ltrp_bench.selectors.attention.class_attention import (
    DinoSelector,
    MocoSelector,
    check_layout,
    mass_ranking,
)
from ltrp_bench.selectors.base import Selector
from ltrp_bench.selectors.checkpoints import save_safetensors
from ltrp_bench.selectors.contract import SelectorContract, WeightsContract
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.registry import identity
from ltrp_bench.selectors.vit.backbones import build_vit
from ltrp_bench.selectors.vit.embedding import embed, with_offset
from ltrp_bench.selectors.vit.layers import sincos_positions
from ltrp_bench.selectors.vit.reading import ViTReader

SMALL = {"image_size": 48, "patch_size": 8, "embed_dim": 24, "depth": 2, "heads": 3, "classes": 0}


def small_state(seed: int = 0, **changes: Any) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    net = build_vit({**SMALL, **changes})
    return {k: torch.randn_like(v) * 0.2 for k, v in net.state_dict().items()}


def head_state(width: int, prefix: str) -> dict[str, Tensor]:
    return {
        f"{prefix}mlp.0.weight": torch.zeros(8, width),
        f"{prefix}mlp.0.bias": torch.zeros(8),
        f"{prefix}last_layer.weight_g": torch.ones(4, 1),
        f"{prefix}last_layer.weight_v": torch.zeros(4, 8),
    }


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("dino") / "dino.small.safetensors"
    config = {**SMALL, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    save_safetensors(file, small_state(), {"kind": "dino", "config": config})
    return file


def images(size: int = 48, batch: int = 3) -> Tensor:
    return torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(0)) * 4 - 2


@pytest.mark.parametrize("wrapping", ["bare", "teacher_and_student"])
def test_dino_attention_equals_the_reference_at_both_sizes(golden: Any, tmp_path: Path, wrapping: str) -> None:
    meta, expected, fill = golden("dino")
    state = fill.state_dict(meta["shapes"], meta["seed"])
    file = tmp_path / "checkpoint.pth"
    if wrapping == "bare":
        torch.save(state, file)
    else:
        teacher = {f"module.backbone.{k}": v for k, v in state.items()}
        student = {f"module.backbone.{k}": v + 1 for k, v in state.items()}
        head = head_state(384, "module.head.")
        rest = {"optimizer": {"state": {}}, "epoch": 3, "args": argparse.Namespace(arch="vit_small"), "dino_loss": {}}
        torch.save({"student": {**student, **head}, "teacher": {**teacher, **head}, **rest}, file)
    selector = DinoSelector(file, any_size=True)
    assert selector.patch_size == 16 and DinoSelector(file).input_size == (224, 224)
    for name, size, batch, seed in (
        ("cls_attention", 224, 4, meta["seed"]),
        ("cls_attention_320", 320, 2, meta["seed"] + 1),
    ):
        if wrapping != "bare" and size == 224:
            continue  # The same weights, which one size tells.
        with torch.inference_mode():
            got = selector.attention(fill.images(batch, size, seed)).numpy()
        np.testing.assert_allclose(got, expected[name], rtol=1e-4, atol=1e-7)


def test_moco_reads_the_official_wrapping_with_its_twelve_heads(tmp_path: Path) -> None:
    state = {**small_state(1, heads=12), "pos_embed": sincos_positions(24, (6, 6))}  # fixed, as of MoCo v3
    encoder = {f"module.base_encoder.{k}": v for k, v in state.items()}
    other = {f"module.momentum_encoder.{k}": v + 1 for k, v in state.items()}
    parts = ("base_encoder.head", "momentum_encoder.head", "predictor")
    mlp = {f"module.{part}.{key}": torch.zeros(3) for part in parts for key in ("0.weight", "1.running_mean")}
    file = tmp_path / "vit-s-300ep.pth.tar"
    state_dict = {**encoder, **other, **mlp}
    torch.save({"epoch": 300, "arch": "vit_small", "state_dict": state_dict, "optimizer": {}}, file)
    selector = MocoSelector(file)
    assert selector.name == "moco" and str(selector.supervision) == "self"
    assert selector.model.blocks[0].attn.num_heads == 12
    torch.save(state, tmp_path / "bare.pth")
    same = DinoSelector(tmp_path / "bare.pth", heads=12)
    assert torch.equal(selector.scores(images()), same.scores(images()))
    linear = {f"module.{k}": v for k, v in state.items()} | {"module.head.weight": torch.ones(1000, 24)}
    torch.save({"state_dict": {**linear, "module.head.bias": torch.ones(1000)}}, tmp_path / "linear-vit-s.pth.tar")
    assert torch.equal(MocoSelector(tmp_path / "linear-vit-s.pth.tar").scores(images()), selector.scores(images()))
    learned = {**linear, "module.pos_embed": linear["module.pos_embed"] + 0.1}
    torch.save({"state_dict": learned}, tmp_path / "supervised.pth")
    with pytest.raises(InputError, match="a classifier of 1000 classes"):
        MocoSelector(tmp_path / "supervised.pth")
    fewer = MocoSelector(file, heads=3)
    assert not torch.allclose(selector.scores(images()), fewer.scores(images()))


def test_attention_equals_a_plain_softmax_of_the_last_block(weights: Path) -> None:
    selector = DinoSelector(weights)
    caught: list[Tensor] = []
    block = selector.model.blocks[-1]
    block.register_forward_pre_hook(lambda _, x: caught.append(x[0]))
    selector.model.forward_features(images())
    x = block.norm1(caught[0])
    weight, bias = block.attn.qkv.weight, block.attn.qkv.bias
    for head in range(3):
        rows = slice(8 * head, 8 * head + 8)
        q = x @ weight[:24][rows].T + bias[:24][rows]
        k = x @ weight[24:48][rows].T + bias[24:48][rows]
        expected = torch.softmax(q @ k.transpose(1, 2) / 8**0.5, dim=-1)[:, 0, 1:]
        torch.testing.assert_close(selector.attention(images())[:, head], expected)
        got = DinoSelector(weights, rule="head", head=head).scores(images())
        torch.testing.assert_close(got.flatten(1), expected)
    torch.testing.assert_close(selector.scores(images()).flatten(1), selector.attention(images()).mean(1))


def test_mass_rule_ranks_by_heads_that_keep_and_then_finer() -> None:
    attention = torch.rand(2, 3, 30, generator=torch.Generator().manual_seed(0)) ** 4
    got = mass_ranking(attention, 0.6)
    for image in range(2):
        for patch in range(30):
            heads, level = 0, 0.0
            for values in attention[image].double():
                below = float(values[values <= values[patch]].sum() / values.sum())
                heads += below > 0.4
                level += below / 3
            assert int(got[image, patch]) == heads
            assert float(got[image, patch]) - heads == pytest.approx(level, abs=1e-4)
    # The patches a head keeps hold at least the mass, and one fewer would not.
    share = attention[:, :1] / attention[:, :1].sum(-1, keepdim=True)
    kept = mass_ranking(attention[:, :1], 0.6) >= 1
    for image in range(2):
        held = share[image, 0][kept[image]]
        assert held.sum() >= 0.6 - 1e-6 and held.sum() - held.min() < 0.6
    assert len(got.unique()) > 50, "far more levels than the heads' count"
    assert (mass_ranking(attention, 1.0) >= 3).all()


def test_mass_rule_as_selector(weights: Path) -> None:
    selector = DinoSelector(weights, rule="mass", mass=0.5)
    expected = mass_ranking(selector.attention(images()), 0.5)
    assert torch.equal(selector.scores(images()).flatten(1), expected)


def test_positions_are_the_stored_ones_at_the_training_size_and_smooth_elsewhere(weights: Path) -> None:
    model = DinoSelector(weights).model
    flat = torch.full((1, 36, 4), 2.0)
    assert with_offset(flat, (6, 6), (6, 6)) is flat
    expected = model._pos_embed(model.patch_embed(images()))
    torch.testing.assert_close(embed(model, images(), resampling=with_offset).x, expected)
    for grid in ((3, 3), (7, 5), (20, 11)):
        out = with_offset(flat, (6, 6), grid)
        assert out.shape == (1, grid[0] * grid[1], 4)
        torch.testing.assert_close(out, torch.full_like(out, 2.0))


def test_any_size_and_its_absence(weights: Path) -> None:
    pixels = images(64)[..., :40]
    assert DinoSelector(weights, any_size=True).scores(pixels).shape == (3, 8, 5)
    with pytest.raises(InputError, match="48x48, got 64x40"):
        DinoSelector(weights).scores(pixels)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rule": "median"}, "rule must be one of mean, head, mass, got 'median'"),
        ({"rule": "head"}, "head=0 to 2"),
        ({"rule": "head", "head": 3}, "head=0 to 2"),
        ({"head": 0}, "rule=mean, head=0"),
        ({"rule": "mass", "mass": 0}, "mass must be"),
    ],
)
def test_bad_options(weights: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        DinoSelector(weights, **options)


def test_foreign_files_are_named(tmp_path: Path) -> None:
    torch.save({"layer4.0.conv1.weight": torch.zeros(3)}, tmp_path / "resnet.pth")
    with pytest.raises(InputError, match="keys missing: cls_token.*looks like a ResNet"):
        DinoSelector(tmp_path / "resnet.pth")
    broken = {k: v for k, v in small_state().items() if k != "norm.bias"}
    torch.save(broken, tmp_path / "broken.pth")
    with pytest.raises(InputError, match="norm.bias"):
        DinoSelector(tmp_path / "broken.pth", heads=3)
    torch.save(small_state(), tmp_path / "odd.pth")
    with pytest.raises(InputError, match="heads=N"):
        DinoSelector(tmp_path / "odd.pth")


def test_only_vits_with_a_class_token_are_read() -> None:
    sizes: dict[str, Any] = {"img_size": 16, "patch_size": 8, "embed_dim": 8, "depth": 1, "num_heads": 1}
    for fine in ({}, {"reg_tokens": 4}, {"no_embed_class": True}):
        check_layout(VisionTransformer(**sizes, **fine), "dino")
    with pytest.raises(InputError, match="'dino' reads the attention of a class token, which these weights"):
        check_layout(VisionTransformer(**sizes, class_token=False, global_pool="avg"), "dino")


class TestDinoContract(WeightsContract):
    @pytest.fixture
    def selector(self, weights: Path) -> Selector:
        return DinoSelector(weights)

    build = DinoSelector


class TestDinoMassContract(SelectorContract):
    @pytest.fixture
    def selector(self, weights: Path) -> Selector:
        return DinoSelector(weights, rule="mass", any_size=True)


class TestMocoContract(WeightsContract):
    build = MocoSelector

    @pytest.fixture
    def selector(self, tmp_path: Path) -> Selector:
        torch.save(small_state(1), tmp_path / "moco.pth")
        return MocoSelector(tmp_path / "moco.pth")


@pytest.mark.parametrize("selector", [DinoSelector, MocoSelector])
def test_weights_trained_with_labels_are_refused(selector: type[Selector], tmp_path: Path) -> None:
    ours = tmp_path / "vit.safetensors"
    save_safetensors(ours, small_state(classes=8), {"config": {**SMALL, "classes": 8, "label_set": "shapes-seen/0"}})
    with pytest.raises(InputError, match="vit.safetensors was trained with labels .shapes-seen/0."):
        selector(ours, heads=3)  # type: ignore[call-arg]
    named = tmp_path / "vit_tiny_patch16_224.augreg_in21k_ft_in1k.pt"
    torch.save(small_state(classes=1000), named)
    with pytest.raises(InputError, match="trained with labels .imagenet21k.imagenet1k."):
        selector(named, heads=3)  # type: ignore[call-arg]


def test_a_classifier_on_dino_is_refused(tmp_path: Path) -> None:
    torch.save(small_state(classes=8), tmp_path / "w.pth")
    with pytest.raises(InputError, match="a classifier of 8 classes"):
        DinoSelector(tmp_path / "w.pth", heads=3)


def test_a_stem_takes_the_place_of_the_projection(tmp_path: Path) -> None:
    config = {**SMALL, "stem": "conv"}
    save_safetensors(tmp_path / "w.safetensors", build_vit(config).state_dict(), {"config": config})
    selector = DinoSelector(tmp_path / "w.safetensors")
    images = torch.rand(2, 3, 48, 48)
    plain = selector.model.forward_features(images)
    torch.testing.assert_close(ViTReader(selector.model, with_offset).features(images, normalized=True), plain)


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("dino", {"heads": None}),
        ("dinov2", {"heads": None, "image_size": 224, "model": None}),
        ("dinov3", {"heads": None, "image_size": 256, "model": None}),
        ("moco", {"heads": 12}),
    ],
)
def test_fingerprints_have_the_options_of_the_base_class(tmp_path: Path, name: str, own: dict[str, Any]) -> None:
    """As when each constructor declared them itself: results that exist must be found again."""
    file = tmp_path / "w.pth"
    file.write_bytes(b"x")
    common = {"any_size": False, "head": None, "mass": 0.6, "rule": "mean"}
    assert identity(name, file)["options"] == common | own
    given = {"rule": "head", "head": 1, "ema": True}
    assert identity(name, file, given)["options"] == common | own | given
