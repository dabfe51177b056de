"""Key names of other libraries: the same network comes out, whatever the names and prefixes were."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torchvision.models.vision_transformer import VisionTransformer as TorchvisionViT

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.selectors.ltrp.cross_checkpoints import load_autoencoder
from ltrp_bench.selectors.ltrp.mae import MAE, MAEConfig
from ltrp_bench.selectors.registry import create_selector
from ltrp_bench.selectors.vit.backbones import load_backbone
from ltrp_bench.selectors.vit.key_names import to_timm_names

SIZES = {"img_size": 32, "patch_size": 16, "embed_dim": 192, "depth": 2, "num_heads": 3}


def state(**options: object) -> dict[str, Tensor]:
    torch.manual_seed(0)
    net = VisionTransformer(**{**SIZES, "num_classes": 1000, **options})
    return {key: torch.randn_like(value) * 0.1 for key, value in net.state_dict().items()}


HF_PARTS = (
    ("attention.output.dense", "attn.proj"),
    ("intermediate.dense", "mlp.fc1"),
    ("output.dense", "mlp.fc2"),
    ("layernorm_before", "norm1"),
    ("layernorm_after", "norm2"),
)


def as_transformers(own: dict[str, Tensor], outer: str = "") -> dict[str, Tensor]:
    p = f"{outer}vit."
    out = {
        f"{p}embeddings.cls_token": own["cls_token"],
        f"{p}embeddings.position_embeddings": own["pos_embed"],
        f"{p}pooler.dense.weight": torch.zeros(192, 192),
    }
    for part in ("weight", "bias"):
        out[f"{p}embeddings.patch_embeddings.projection.{part}"] = own[f"patch_embed.proj.{part}"]
        out[f"{p}layernorm.{part}"], out[f"{outer}classifier.{part}"] = own[f"norm.{part}"], own[f"head.{part}"]
        for i in range(2):
            layer, block = f"{p}encoder.layer.{i}.", f"blocks.{i}."
            for name, one in zip(("query", "key", "value"), own[f"{block}attn.qkv.{part}"].chunk(3), strict=True):
                out[f"{layer}attention.attention.{name}.{part}"] = one
            for theirs, ours in HF_PARTS:
                out[f"{layer}{theirs}.{part}"] = own[f"{block}{ours}.{part}"]
    return out


def as_mmpretrain(own: dict[str, Tensor]) -> dict[str, Tensor]:
    names = (
        ("blocks.", "layers."),
        ("patch_embed.proj.", "patch_embed.projection."),
        (".norm1.", ".ln1."),
        (".norm2.", ".ln2."),
        (".mlp.fc1.", ".ffn.layers.0.0."),
        (".mlp.fc2.", ".ffn.layers.1."),
    )
    out = {}
    for key, value in own.items():
        for ours, theirs in names:
            key = key.replace(ours, theirs)
        key = f"ln1.{key[5:]}" if key.startswith("norm.") else key
        out[f"head.layers.{key}" if key.startswith("head.") else f"backbone.{key}"] = value
    return out


@pytest.mark.parametrize("outer", ["", "model.", "module._orig_mod."])
def test_transformers(tmp_path: Path, outer: str) -> None:
    own = state()
    torch.save(as_transformers(own, outer), tmp_path / "pytorch_model.bin")
    found = load_backbone(tmp_path / "pytorch_model.bin")
    assert found.classes == 1000 and all(torch.equal(v, own[k]) for k, v in found.model.state_dict().items())
    assert to_timm_names(as_transformers(own))[1] == "transformers"


def test_mmpretrain_and_chunked_blocks(tmp_path: Path) -> None:
    own = state()
    chunked = {key.replace("blocks.0.", "blocks.0.0.").replace("blocks.1.", "blocks.1.1."): v for key, v in own.items()}
    for name, given in (("mm.pth", as_mmpretrain(own)), ("chunked.pth", chunked)):
        torch.save({"state_dict": given}, tmp_path / name)
        found = load_backbone(tmp_path / name).model.state_dict()
        assert all(torch.equal(value, own[key]) for key, value in found.items()), name


def test_torchvisions_own_network_gives_equal_logits(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = TorchvisionViT(32, 16, 2, 3, 192, 768).eval()
    torch.nn.init.normal_(net.heads.head.weight)
    torch.save(net.state_dict(), tmp_path / "vit_b_16-c867db91.pth")
    found = load_backbone(tmp_path / "vit_b_16-c867db91.pth", heads=3)
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(found.model(images), net(images), atol=1e-4, rtol=1e-4)
    assert found.assumptions == ()  # torchvision's weights all have ImageNet's mean and std


def test_dinov2_has_layer_scale_and_patches_of_14(tmp_path: Path) -> None:
    own = state(patch_size=14, img_size=28, num_classes=0, init_values=1e-5)
    torch.save({**own, "mask_token": torch.zeros(1, 192)}, tmp_path / "dinov2.pth")
    found = load_backbone(tmp_path / "dinov2.pth", label_set="self")
    assert found.patch_size == 14 and found.image_size == (28, 28) and found.assumptions == ()
    assert torch.equal(found.model.blocks[1].ls2.gamma, own["blocks.1.ls2.gamma"])
    torch.save({**own, "register_tokens": torch.zeros(1, 4, 192)}, tmp_path / "reg.pth")
    found = load_backbone(tmp_path / "reg.pth", label_set="self")
    assert found.model.num_prefix_tokens == 5 and found.model.no_embed_class and found.image_size == (28, 28)
    assert torch.equal(found.model.cls_token, own["cls_token"] + own["pos_embed"][:, :1])


def test_the_mlp_of_dinov2s_giant(tmp_path: Path) -> None:
    net = timm.create_model("vit_giant_patch14_dinov2", img_size=28, embed_dim=192, depth=1, num_heads=3).eval()
    own = {k.replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3"): v for k, v in net.state_dict().items()}
    torch.save(own, tmp_path / "giant.pth")
    found = load_backbone(tmp_path / "giant.pth", label_set="self")
    images = torch.rand(1, 3, 28, 28)
    torch.testing.assert_close(found.model.forward_features(images), net.forward_features(images), atol=1e-4, rtol=1e-4)


def test_other_names_stay() -> None:
    found, library = to_timm_names({"encoder.blocks.0.attn.qkv.weight": torch.zeros(1), "x": torch.zeros(1)})
    assert list(found) == ["encoder.blocks.0.attn.qkv.weight", "x"] and library == "timm"


def clip_tower() -> VisionTransformer:
    torch.manual_seed(0)
    sizes = {**SIZES, "num_classes": 24, "pre_norm": True, "act_layer": "quick_gelu"}
    net = VisionTransformer(**sizes, norm_layer=partial(torch.nn.LayerNorm, eps=1e-5)).eval()
    for key, value in net.state_dict().items():
        value.copy_(torch.zeros_like(value) if key == "head.bias" else torch.randn_like(value) * 0.1 + (value == 1))
    return net


OPENAI_PARTS = (
    ("patch_embed.proj", "conv1"),
    ("norm_pre", "ln_pre"),
    ("norm1", "ln_1"),
    ("norm2", "ln_2"),
    ("attn.qkv.", "attn.in_proj_"),
    ("attn.proj", "attn.out_proj"),
    ("mlp.fc1", "mlp.c_fc"),
    ("mlp.fc2", "mlp.c_proj"),
    ("blocks.", "transformer.resblocks."),
)


def as_openai(own: dict[str, Tensor], prefix: str = "visual.") -> dict[str, Tensor]:
    out = {"class_embedding": own["cls_token"][0, 0], "positional_embedding": own["pos_embed"][0]}
    out |= {"proj": own["head.weight"].T, "ln_post.weight": own["norm.weight"], "ln_post.bias": own["norm.bias"]}
    for key, value in own.items():
        if key.startswith(("blocks.", "patch_embed.", "norm_pre.")):
            for ours, theirs in OPENAI_PARTS:
                key = key.replace(ours, theirs)
            out[key] = value
    texts = {"logit_scale": torch.zeros(()), "transformer.resblocks.0.attn.in_proj_weight": torch.zeros(48, 16)}
    return {**{prefix + key: value for key, value in out.items()}, **(texts if prefix else {})}


def as_transformers_clip(own: dict[str, Tensor]) -> dict[str, Tensor]:
    p = "vision_model."
    out = {
        f"{p}embeddings.class_embedding": own["cls_token"][0, 0],
        f"{p}embeddings.position_embedding.weight": own["pos_embed"][0],
        f"{p}embeddings.position_ids": torch.arange(5)[None],
        f"{p}embeddings.patch_embedding.weight": own["patch_embed.proj.weight"],
        "visual_projection.weight": own["head.weight"],
        "text_model.x": torch.zeros(1),
    }
    for part in ("weight", "bias"):
        out[f"{p}pre_layrnorm.{part}"], out[f"{p}post_layernorm.{part}"] = own[f"norm_pre.{part}"], own[f"norm.{part}"]
        for i in range(2):
            layer, block = f"{p}encoder.layers.{i}.", f"blocks.{i}."
            for name, one in zip("qkv", own[f"{block}attn.qkv.{part}"].chunk(3), strict=True):
                out[f"{layer}self_attn.{name}_proj.{part}"] = one
            for ours, theirs in (("attn.proj", "self_attn.out_proj"), ("mlp.fc1", "mlp.fc1"), ("mlp.fc2", "mlp.fc2")):
                out[f"{layer}{theirs}.{part}"] = own[f"{block}{ours}.{part}"]
            for number in "12":
                out[f"{layer}layer_norm{number}.{part}"] = own[f"{block}norm{number}.{part}"]
    return out


OPEN_CLIP = {"model_cfg": {"quick_gelu": True, "vision_cfg": {"width": 192, "layers": 2, "patch_size": 16}}}
HF_CLIP = {"model_type": "clip", "vision_config": {"hidden_size": 192, "num_attention_heads": 3, "patch_size": 16}}


@pytest.mark.parametrize(
    ("translate", "name", "config"),
    [
        (as_openai, "open_clip_config.json", OPEN_CLIP),
        (lambda own: as_openai(own, ""), "open_clip_config.json", OPEN_CLIP),
        (as_transformers_clip, "config.json", HF_CLIP),
        (dict, "config.json", HF_CLIP),
    ],
)
def test_clip_gives_equal_features_and_counts_as_captions(
    tmp_path: Path, translate: Any, name: str, config: dict[str, Any]
) -> None:
    net, path = clip_tower(), tmp_path / "w.pth"
    torch.save(translate(net.state_dict()), path)
    with pytest.raises(InputError, match="the image tower of CLIP .its supervision is captions.*GELU or QuickGELU"):
        load_backbone(path)
    (tmp_path / name).write_text(json.dumps(config))
    found = load_backbone(path)
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(found.model(images), net(images), atol=1e-5, rtol=1e-5)
    assert str(found.supervision) == "captions" and found.mean == pytest.approx((0.4815, 0.4578, 0.4082), abs=1e-4)
    assert "CLIP's mean (0.481455, 0.457827, 0.408211)" in found.assumptions[1]
    for selector, options in (("dino", {}), ("moco", {}), ("evit", {"stages": [1]})):
        made = create_selector(selector, path, **options)
        assert str(made.supervision) == "captions"
        assert ("model=TIMM_NAME" in " ".join(made.assumptions)) == (selector == "evit")  # the others lack that option
    with pytest.raises(InputError, match="Grad-CAM needs a classifier, but the outputs of .* are an embedding"):
        create_selector("gradcam", path)


def as_transformers_siglip(own: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names of SigLIP's tower: those of CLIP without a class token, and a pooling head with one joint projection."""
    blocks = {key: v for key, v in own.items() if not key.startswith("attn_pool.")}
    made_up = {key: torch.zeros(1, 1, 192) for key in ("cls_token", "norm_pre.weight", "norm_pre.bias", "head.weight")}
    out = {
        key: v
        for key, v in as_transformers_clip({**blocks, **made_up}).items()
        if not re.search("class_embedding|pre_layrnorm|visual_projection", key)
    }
    out["vision_model.embeddings.patch_embedding.bias"] = own["patch_embed.proj.bias"]
    out["vision_model.head.probe"] = own["attn_pool.latent"]
    for part in ("weight", "bias"):
        joint = [own[f"attn_pool.q.{part}"], own[f"attn_pool.kv.{part}"]]
        out[f"vision_model.head.attention.in_proj_{part}"] = torch.cat(joint)
        for ours, theirs in (("proj", "attention.out_proj"), ("norm", "layernorm"), ("mlp.fc1",) * 2, ("mlp.fc2",) * 2):
            out[f"vision_model.head.{theirs}.{part}"] = own[f"attn_pool.{ours}.{part}"]
    return out


def test_siglip_has_a_pooling_head_and_no_class_token() -> None:
    own = state(num_classes=0, class_token=False, global_pool="map")
    found, library = to_timm_names(as_transformers_siglip(own))
    tower = {key.removeprefix("vision_model."): v for key, v in found.items() if key.startswith("vision_model.")}
    assert library == "transformers siglip" and set(tower) == set(own)
    assert all(torch.equal(value, own[key]) for key, value in tower.items())


def test_deit3_has_layer_scale_and_no_position_of_the_class_token(tmp_path: Path) -> None:
    own = state(init_values=1e-5, no_embed_class=True)
    torch.save(
        {"model": {key.replace("ls1.gamma", "gamma_1").replace("ls2.gamma", "gamma_2"): v for key, v in own.items()}},
        tmp_path / "d.pth",
    )
    found = load_backbone(tmp_path / "d.pth")
    net = VisionTransformer(**SIZES, num_classes=1000, init_values=1e-5, no_embed_class=True).eval()
    net.load_state_dict(own)
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(found.model(images), net(images))
    assert str(found.supervision) == "imagenet1k" and found.image_size == (32, 32)
    assert create_selector("evit", tmp_path / "d.pth", stages=[1]).scores(torch.rand(1, 3, 32, 32)).shape == (1, 2, 2)


def test_vit_mae_of_transformers_is_read_with_its_decoder(tmp_path: Path) -> None:
    config = MAEConfig(image_size=32, patch_size=16, embed_dim=192, depth=2, heads=3, decoder_dim=64, decoder_depth=1)
    torch.manual_seed(0)
    mae = MAE(replace(config, decoder_heads=4)).eval()
    own = mae.state_dict()
    theirs = {
        key: v for key, v in as_transformers(own | {"head.weight": torch.zeros(1), "head.bias": torch.zeros(1)}).items()
    }
    theirs = {key: v for key, v in theirs.items() if not key.startswith(("classifier", "vit.pooler"))}
    for key, value in own.items():
        if key.startswith(("decoder_embed", "decoder_norm", "decoder_pred", "decoder_pos_embed", "mask_token")):
            theirs[f"decoder.{key}"] = value
    for part in ("weight", "bias"):
        layer, block = "decoder.decoder_layers.0.", "decoder_blocks.0."
        for name, one in zip(("query", "key", "value"), own[f"{block}attn.qkv.{part}"].chunk(3), strict=True):
            theirs[f"{layer}attention.attention.{name}.{part}"] = one
        for there, ours in HF_PARTS:
            theirs[f"{layer}{there}.{part}"] = own[f"{block}{ours}.{part}"]
    torch.save(theirs, tmp_path / "pytorch_model.bin")
    found = load_autoencoder(tmp_path / "pytorch_model.bin", decoder_heads=4)
    assert all(torch.equal(value, own[key]) for key, value in found.state_dict().items())


@pytest.mark.parametrize("head", ["heads.weight", "heads.0.weight"])
def test_torchvision_with_another_head(tmp_path: Path, head: str) -> None:
    net = TorchvisionViT(32, 16, 2, 3, 192, 768)
    own = {key.replace("heads.head.", head.removesuffix("weight")): value for key, value in net.state_dict().items()}
    torch.save(own, tmp_path / "w.pth")
    assert load_backbone(tmp_path / "w.pth").classes == 1000


def test_a_size_of_the_input_that_is_not_timms(tmp_path: Path) -> None:
    """Fine-tuned at 32 pixels under the name of a model of 224."""
    own = state(depth=12, num_classes=10)
    path = tmp_path / "vit_tiny_patch16_224.augreg_in21k_ft_in1k.pth"
    torch.save(own, path)
    found = load_backbone(path, label_set="x")
    assert found.image_size == (32, 32) and torch.equal(found.model.state_dict()["pos_embed"], own["pos_embed"])


def test_dinov2_with_registers_by_timms_name(tmp_path: Path) -> None:
    net = timm.create_model("vit_small_patch14_reg4_dinov2", img_size=28).eval()
    theirs = net.state_dict()
    theirs["register_tokens"] = theirs.pop("reg_token")
    positions = torch.cat([torch.zeros(1, 1, 384), theirs["pos_embed"]], dim=1)
    torch.save({**theirs, "pos_embed": positions, "mask_token": torch.zeros(1, 384)}, tmp_path / "d.pth")
    found = load_backbone(tmp_path / "d.pth", "vit_small_patch14_reg4_dinov2.lvd142m", supervised=False)
    images = torch.rand(1, 3, 28, 28)
    torch.testing.assert_close(found.model.forward_features(images), net.forward_features(images))
