"""Weights that fine-tuning starts from, and the learning rate of each layer."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from mmengine.optim import build_optim_wrapper
from timm.layers import DropPath
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from ltrp_bench.harness.training.fine_tuning import (
    ModelRequest,
    RampedAverage,
    averaged,
    build_with_drop_path,
    fill_from,
    initial_state,
    initial_weights,
    layer_decay,
)
from ltrp_bench.harness.training.loss_model import LossModel
from ltrp_bench.selectors.checkpoints import load_state, resolve, save_safetensors
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.ltrp.mae import MAE, MAEConfig
from ltrp_bench.selectors.vit.backbones import build_vit
from ltrp_bench.selectors.vit.named_models import known_heads
from ltrp_bench.selectors.vit.vit_files import read_vit_file
from ltrp_bench.tasks.data.synsets import imagenet_classes
from ltrp_bench.tasks.models.segmentors.plain_vit import build_segmentor
from ltrp_bench.tasks.models.vit.multilabel_models import build_multilabel_vit

TINY = {"image_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 3, "heads": 2, "fc_norm": True}
NAMES = ["a", "b", "c"]


def wrapper(vit: VisionTransformer, factor: float) -> Any:
    model = LossModel(vit, lambda *given: given[1].sum(), (0.5,) * 3, (0.5,) * 3, 0)
    optimizer = {"type": "AdamW", "lr": 1.0, "weight_decay": 0.05, "betas": (0.9, 0.999)}
    return build_optim_wrapper(model, {"type": "OptimWrapper", "optimizer": optimizer, **layer_decay(factor)})


@pytest.mark.parametrize("decoder", [None, {"dim": 16, "heads": 2, "hidden": 8}])
def test_learning_rates_fall_by_layer(decoder: dict[str, int] | None) -> None:
    vit = build_multilabel_vit({**TINY, "classes": NAMES, "decoder": decoder, "fc_norm": decoder is None})
    groups = wrapper(vit, 0.5).optimizer.param_groups
    by_parameter = {id(p): group for group in groups for p in group["params"]}
    named = {name: by_parameter[id(p)] for name, p in vit.named_parameters() if p.requires_grad}
    assert sum(len(group["params"]) for group in groups) == len(named)
    last = 4
    for name, group in named.items():
        layer = 0 if name.startswith(("cls", "pos", "patch")) else last
        layer = int(name.split(".")[1]) + 1 if name.startswith("blocks.") else layer
        layer = 3 if name.startswith("norm.") else layer  # timm's groups: with the last block
        assert group["lr"] == pytest.approx(0.5 ** (last - layer)), name
        vector = vit.get_parameter(name).ndim <= 1 or name in ("cls_token", "pos_embed")
        assert group["weight_decay"] == (0 if vector else 0.05), name


def test_stochastic_depth_rises_and_is_off_in_the_first_block() -> None:
    vit = build_with_drop_path({**TINY, "classes": NAMES}, 0.2)
    rates = [getattr(block.drop_path2, "drop_prob", 0.0) for block in vit.blocks]
    assert rates == pytest.approx([0, 0.1, 0.2]) and isinstance(vit.blocks[2].drop_path1, DropPath)
    assert vit.state_dict().keys() == build_vit({**TINY, "classes": NAMES}).state_dict().keys()
    with pytest.raises(UsageError, match="--drop-path"):
        build_with_drop_path({**TINY, "classes": NAMES}, 1.0)


def test_averages_forget_their_start() -> None:
    net = nn.Linear(1, 1, bias=False)
    nn.init.constant_(net.weight, 100.0)
    mean = RampedAverage(net, momentum=0.01)
    nn.init.constant_(net.weight, 1.0)
    for step in range(1, 400):
        mean.update_parameters(net)
        if step == 100:
            assert abs(float(mean.module.weight) - 1) < 1e-2  # with 0.01 alone it would be 37
    before = float(mean.module.weight.detach().clone())
    for _ in range(1000):
        mean.update_parameters(net)
    nn.init.constant_(net.weight, 2.0)
    mean.update_parameters(net)
    assert float(mean.module.weight) == pytest.approx(before + 0.01 * (2 - before), abs=1e-3)
    assert averaged(0) == () and averaged(0.9)[0]["momentum"] == pytest.approx(0.1)


def begun(init: str | Path, **options: Any) -> tuple[dict[str, Any], VisionTransformer, str]:
    given = {"classes": NAMES, "head": {"fc_norm": True}, "synthetic": True, **options}
    config, state, _ = initial_state(init, ModelRequest(**given))
    vit = build_with_drop_path(config, 0.0)
    return config, vit, fill_from(vit, state)


def test_an_autoencoder_gives_its_encoder() -> None:
    config, vit, notice = begun("mae.shapes")
    theirs, mine = load_state(resolve("mae.shapes")), vit.state_dict()
    assert all(torch.equal(mine[k], theirs[k]) for k in mine if not k.startswith(("fc_norm", "head")))
    assert notice.startswith(f"{len(mine) - 4} of {len(mine)} tensors") and "(fc_norm, head)" in notice
    assert config["mean"] == [0.44] * 3 and config["crop_pct"] == 1.0
    assert float(vit.head.weight.detach().abs().max()) < 1e-3
    config, vit, notice = begun("mae.shapes", stem="conv")
    assert config["stem"] == "conv" and "patch_embed" in notice


def test_official_autoencoders_are_recognized_by_their_shapes(tmp_path: Path) -> None:
    """Published formats: wrapped in "model", without sizes, and the encoder alone."""
    mae = MAE(MAEConfig(image_size=32, patch_size=8, embed_dim=192, depth=2, heads=3, decoder_dim=32, decoder_depth=1))
    state = {k: v for k, v in mae.state_dict().items() if not k.startswith(("decoder", "mask_token"))}
    torch.save({"model": state}, tmp_path / "mae_pretrain_vit_base.pth")
    config, vit, _ = begun(tmp_path / "mae_pretrain_vit_base.pth", synthetic=False)
    assert (config["heads"], config["depth"], config["image_size"]) == (3, 2, 32)
    assert torch.equal(vit.state_dict()["blocks.1.mlp.fc1.weight"], state["blocks.1.mlp.fc1.weight"])
    assert config["mean"] == [0.485, 0.456, 0.406] and config["crop_pct"] == 0.875


@pytest.mark.parametrize("head", ["linear", "mask-transformer"])
def test_a_segmentor_gives_its_encoder_and_stem(head: str, tmp_path: Path) -> None:
    more = {"dim": 32, "depth": 1, "heads": 2} if head == "mask-transformer" else {}
    given = {**TINY, "stem": "conv", "mlp_ratio": 4.0, "mean": [0.4] * 3, "std": [0.2] * 3, "classes": ["x", "y"]}
    config = {**given, "segmentor": {"head": head, "cells": 1, "missing": "token", **more}}
    net = build_segmentor(config)
    save_safetensors(tmp_path / "seg.safetensors", net.state_dict(), {"config": config})
    made, vit, notice = begun(tmp_path / "seg.safetensors")
    assert made["stem"] == "conv" and made["mean"] == [0.4] * 3 and "segmentor" not in made
    assert torch.equal(vit.patch_embed.proj.weight, net.encoder.patch_embed.proj.weight)
    assert torch.equal(vit.blocks[2].attn.qkv.weight, net.encoder.blocks[2].attn.qkv.weight)
    assert "head" in notice


def test_another_size_resamples_positions() -> None:
    config, vit, _ = begun("mae.shapes", image_size=48)
    assert config["image_size"] == 48 and vit.pos_embed.shape[1] == 37
    theirs = load_state(resolve("mae.shapes"))["pos_embed"]
    assert torch.equal(vit.pos_embed[:, :1], theirs[:, :1])
    with pytest.raises(UsageError, match="cannot be cut into patches of 8"):
        begun("mae.shapes", image_size=50)


def test_a_head_is_kept_for_its_own_classes(tmp_path: Path) -> None:
    vit, config = build_vit({**TINY, "classes": NAMES}), {**TINY, "classes": NAMES}
    nn.init.normal_(vit.head.weight)
    save_safetensors(tmp_path / "own.safetensors", vit.state_dict(), {"config": config})
    assert torch.equal(begun(tmp_path / "own.safetensors")[1].head.weight, vit.head.weight)
    other = begun(tmp_path / "own.safetensors", classes=["a", "c", "b"])[1]
    assert float(other.head.weight.detach().abs().max()) < 1e-3
    wide = build_vit({**TINY, "embed_dim": 192, "heads": 3, "classes": 1000})
    nn.init.normal_(wide.head.weight)
    torch.save(wide.state_dict(), tmp_path / "official.pth")
    thousand = list(imagenet_classes().values())
    assert torch.equal(begun(tmp_path / "official.pth", classes=thousand)[1].head.weight, wide.head.weight)


def test_what_is_no_plain_vit_is_refused(tmp_path: Path) -> None:
    torch.save({"layer4.0.conv1.weight": torch.zeros(3)}, tmp_path / "resnet.pth")
    with pytest.raises(InputError, match="looks like a ResNet"):
        begun(tmp_path / "resnet.pth")
    state = {**build_vit({**TINY, "embed_dim": 192, "heads": 3}).state_dict(), "blocks.0.ls1.gamma": torch.ones(192)}
    torch.save(state, tmp_path / "scaled.pth")
    with pytest.raises(InputError, match="with ls1.gamma, which the models trained here lack"):
        begun(tmp_path / "scaled.pth")
    with pytest.raises(InputError, match="no bundled weights named"):
        begun("mae.nothing")


def test_photos_need_weights_to_start_from() -> None:
    assert initial_weights(None, synthetic=True) == "mae.shapes"
    assert initial_weights("a.pth", synthetic=False) == "a.pth"
    with pytest.raises(UsageError, match="give the weights to start from"):
        initial_weights(None, synthetic=False)


@pytest.mark.parametrize("pool", [None, "token", "avg"])
@pytest.mark.parametrize("own", ["token", "avg", "none"])
def test_a_classifier_keeps_its_pooling_and_its_head_only_with_it(own: str, pool: Any, tmp_path: Path) -> None:
    """After zero steps a checkpoint's classifier is the same function, unless it is asked to read something else."""
    classes = ["a", "b", "c"]
    sizes = {"image_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 1, "heads": 3}
    config = {
        **sizes,
        "classes": classes if own != "none" else [],
        "fc_norm": own == "avg",
        "mean": [0.5] * 3,
        "std": [0.5] * 3,
    }
    torch.manual_seed(0)
    before = build_vit(config).eval()
    for parameter in before.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    save_safetensors(tmp_path / "w.safetensors", before.state_dict(), {"config": config})
    made, state, _ = initial_state(tmp_path / "w.safetensors", ModelRequest(classes=classes, pool=pool or "weights"))
    expected = pool or ("avg" if own == "none" else own)
    assert made["fc_norm"] == (expected == "avg")
    after = build_vit(made).eval()
    fill_from(after, state)
    kept = own == expected
    assert ("head.weight" in state) == kept
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(after(images), before(images)) if kept else float(after.head.weight.detach().abs().max()) < 1e-3


def test_what_is_assumed_of_initial_weights(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save(build_vit({**TINY, "embed_dim": 192, "heads": 3, "classes": 3}).state_dict(), path)
    request = ModelRequest(classes=["a", "b", "c"])
    config, _, (line,) = initial_state(path, request)
    assert line.startswith(
        "--init: w.pth does not say how it was trained; assumed ImageNet's mean (0.485, 0.456, 0.406)"
    )
    assert line.endswith("3 attention heads: if this is wrong, put its config.json beside it")
    _, _, (line,) = initial_state(path, replace(request, synthetic=True))
    assert "assumed the data set's mean" in line
    half = {"mean": [0.5] * 3, "std": [0.5] * 3}
    beside = {"architecture": "my_vit", "pretrained_cfg": half, "model_args": {"num_heads": 6}}
    (tmp_path / "config.json").write_text(json.dumps(beside))
    config, _, lines = initial_state(path, request)
    assert (config["heads"], config["mean"], lines) == (6, [0.5] * 3, ())
    assert initial_state("mae.shapes", request).assumptions == ()


def test_heads_and_epsilon_follow_the_file(tmp_path: Path) -> None:
    """timm's name gives another number of heads than the width."""
    net = timm.create_model("vit_tiny_patch16_224", num_heads=12, img_size=32)
    torch.save(net.state_dict(), tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "vit", "hidden_size": 192, "num_attention_heads": 12, "layer_norm_eps": 1e-12})
    )
    config, state, _ = initial_state(tmp_path / "pytorch_model.bin", ModelRequest(classes=["a"]))
    assert config["heads"] == 12 and config["layer_norm_eps"] == 1e-12 and "head.weight" not in state
    deit3 = build_vit({**TINY, "embed_dim": 192, "heads": 3, "no_embed_class": True})
    torch.save(deit3.state_dict(), tmp_path / "d.pth")
    with pytest.raises(InputError, match="d.pth has no position for its class token"):
        initial_state(tmp_path / "d.pth", ModelRequest(classes=["a"]))
    torch.save({**net.state_dict()}, tmp_path / "vit_tiny_patch16_224.augreg_in21k.pth")
    assert known_heads(read_vit_file(tmp_path / "vit_tiny_patch16_224.augreg_in21k.pth")) == 3
