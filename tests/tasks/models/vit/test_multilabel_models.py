"""Multi-label models from files and untrained: heads are recognized by their keys."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import timm
import torch
from small_decoders import SMALL, VIT, noise, shaken
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from ltrp_bench.selectors.checkpoints import save_safetensors
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.models.vit.loading import PlainViT
from ltrp_bench.tasks.models.vit.ml_decoder import MLDecoder, attach
from ltrp_bench.tasks.models.vit.multilabel_models import build_multilabel_vit, load_multilabel
from ltrp_bench.tasks.models.vit.token_dropping import forward_kept


def made(tmp_path: Path) -> tuple[VisionTransformer, Path]:
    """Weights as training here saves them."""
    vit = shaken(build_multilabel_vit(VIT))
    path = tmp_path / "own.safetensors"
    save_safetensors(path, vit.state_dict(), {"config": VIT})
    return vit, path


@torch.no_grad()
def test_saved_weights_are_restored(tmp_path: Path) -> None:
    vit, path = made(tmp_path)
    found = load_multilabel(path)
    assert isinstance(found, PlainViT) and found.class_names == ("a", "b", "c", "d", "e") and found.classes == 5
    assert found.inputs.mean == (0.4, 0.5, 0.6) and found.inputs.crop_mode == "squash" and found.inputs.crop_pct == 1
    images = noise(2, 3, 32, 32)
    torch.testing.assert_close(forward_kept(found.vit, images), forward_kept(vit, images))
    assert all(torch.equal(value, vit.state_dict()[key]) for key, value in found.vit.state_dict().items())
    larger = load_multilabel(path, image_size=(48, 32))
    assert larger.inputs.size == (48, 32) and isinstance(larger, PlainViT) and larger.grid == (6, 4)
    images = noise(1, 3, 48, 32)
    torch.testing.assert_close(larger.net(images), forward_kept(vit, images), atol=1e-5, rtol=1e-5)
    linear = build_multilabel_vit({**VIT, "decoder": None})
    save_safetensors(tmp_path / "linear.safetensors", linear.state_dict(), {"config": {**VIT, "decoder": None}})
    found = load_multilabel(tmp_path / "linear.safetensors")
    assert found.class_names == ("a", "b", "c", "d", "e") and isinstance(found.net.head, nn.Linear)


@torch.no_grad()
def test_official_checkpoints_on_a_vit_and_a_network(tmp_path: Path) -> None:
    vit = VisionTransformer(img_size=32, patch_size=8, embed_dim=192, depth=1, num_heads=3)
    shaken(attach(vit, MLDecoder(192, 5, dim=32, hidden=48)))  # 8 heads, which a file does not tell
    state = {f"module.{key}": value for key, value in vit.state_dict().items()}
    torch.save({"model": state, "epoch": 3}, tmp_path / "vit.pth")
    found = load_multilabel(tmp_path / "vit.pth")
    images = noise(2, 3, 32, 32)
    assert found.inputs.size == (32, 32)
    torch.testing.assert_close(found.net(images), vit(images))

    net = shaken(timm.create_model("resnet10t", num_classes=0, global_pool=""))
    head = shaken(MLDecoder(512, 5, dim=32, hidden=48))
    state = {**net.state_dict(), **{f"fc.{key}": value for key, value in head.state_dict().items()}}
    torch.save({"state_dict": state}, tmp_path / "net.pth")
    found = load_multilabel(tmp_path / "net.pth", model="resnet10t", image_size=64)
    assert not isinstance(found, PlainViT) and found.any_size and found.inputs.size == (64, 64)
    features = net.forward_features(images)
    torch.testing.assert_close(found.net(images), head(features.flatten(2).transpose(1, 2)), atol=1e-5, rtol=1e-5)
    with pytest.raises(UsageError, match="--model"):
        load_multilabel(tmp_path / "net.pth")
    with pytest.raises(InputError, match="do not fit"):
        load_multilabel(tmp_path / "net.pth", model="resnet18")


@pytest.mark.slow
@torch.no_grad()
def test_official_names_of_tresnet(tmp_path: Path) -> None:
    """The network of the published COCO models, with its layers and fused norms named and kept as there."""
    net = timm.create_model("tresnet_m", num_classes=0, global_pool="").eval()
    head = shaken(MLDecoder(2048, 5, dim=32, hidden=48))
    state = {f"head.{key}": value for key, value in head.state_dict().items()}
    for key, value in net.state_dict().items():
        name = key.replace(".conv.", ".0.").replace(".bn.", ".1.")
        state[name] = -(value - 1e-5) if key.endswith("bn.weight") else value  # a sign means nothing to a fused norm
    torch.save({"model": state}, tmp_path / "tresnet.pth")
    found = load_multilabel(tmp_path / "tresnet.pth", model="tresnet_m")
    images = noise(1, 3, 64, 64)
    torch.testing.assert_close(found.net(images), head(net.forward_features(images)), atol=1e-4, rtol=1e-4)
    assert found.inputs.mean == (0, 0, 0) and found.inputs.std == (1, 1, 1)


def test_untrained_models_depend_on_the_seed_alone() -> None:
    one, same, other = (load_multilabel(None, random_weights=seed, config=VIT) for seed in (1, 1, 2))
    states = [found.net.state_dict() for found in (one, same, other)]
    assert all(torch.equal(a, b) for a, b in zip(states[0].values(), states[1].values(), strict=True))
    key = "head.decoder.duplicate_pooling"
    assert states[0][key].shape == (2, 32, 3) and not torch.equal(states[0][key], states[2][key])
    assert one.identity == same.identity != other.identity
    json.dumps(one.identity)
    linear = load_multilabel(None, random_weights=1, head="linear", config=VIT)
    assert isinstance(linear.net.head, nn.Linear) and linear.identity != one.identity
    network = load_multilabel(None, "resnet10t", random_weights=1, classes=5)
    assert isinstance(network.net.fc, nn.Linear) and network.classes == 5
    decoded = load_multilabel(None, "resnet10t", random_weights=1, classes=5, head="ml-decoder")
    assert decoded.net(noise(1, 3, 64, 64)).shape == (1, 5)


def test_wrong_use_is_named(tmp_path: Path) -> None:
    _, path = made(tmp_path)
    with pytest.raises(InputError, match="has an ML-Decoder, but head=linear was requested"):
        load_multilabel(path, head="linear")
    with pytest.raises(UsageError, match="head must be"):
        load_multilabel(path, head="mlp")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="not both"):
        load_multilabel(path, random_weights=0)
    with pytest.raises(UsageError, match="neither was given"):
        load_multilabel(None)
    state = build_multilabel_vit(VIT).state_dict()
    save_safetensors(tmp_path / "named.safetensors", state, {"config": {**VIT, "classes": ["a"]}})
    with pytest.raises(InputError, match="5 outputs, its file names 1 classes"):
        load_multilabel(tmp_path / "named.safetensors")
    save_safetensors(tmp_path / "heads.safetensors", state, {"config": {**VIT, "decoder": {**SMALL, "heads": 5}}})
    with pytest.raises(InputError, match="32 wide, which 5 attention heads do not divide"):
        load_multilabel(tmp_path / "heads.safetensors")
    narrow = {**state, "head.decoder.embed_standart.weight": torch.zeros(32, 16)}
    save_safetensors(tmp_path / "narrow.safetensors", narrow, {"config": VIT})
    with pytest.raises(InputError, match="takes tokens of 16 channels, but the model has 24"):
        load_multilabel(tmp_path / "narrow.safetensors")
    del state["blocks.1.norm1.weight"]
    save_safetensors(tmp_path / "short.safetensors", state, {"config": VIT})
    with pytest.raises(InputError, match=r"missing.*blocks\.1\.norm1\.weight"):
        load_multilabel(tmp_path / "short.safetensors")


def test_nothing_is_assumed_of_a_crop_and_an_average_can_be_asked_for(tmp_path: Path) -> None:
    states = []
    for seed in range(2):
        torch.manual_seed(seed)
        net = VisionTransformer(img_size=32, patch_size=16, embed_dim=192, depth=1, num_heads=3, num_classes=4)
        states.append(net.state_dict())
    torch.save({"model": states[0], "model_ema": states[1]}, tmp_path / "w.pth")
    found = load_multilabel(tmp_path / "w.pth")
    assert "took model, not the moving average" in found.assumptions[0] and "crop" not in found.assumptions[1]
    average = load_multilabel(tmp_path / "w.pth", ema=True)
    for model, state in ((found, states[0]), (average, states[1])):
        assert torch.equal(model.net.state_dict()["head.weight"], state["head.weight"])
    assert average.identity != found.identity
