"""Key names of other libraries: the same network comes out, whatever the names and prefixes were."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torchvision.models.vision_transformer import VisionTransformer as TorchvisionViT

from ltrp_bench.selectors.errors import InputError
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
    with pytest.raises(InputError, match="unexpected: register_tokens.*looks like DINOv2 with registers"):
        load_backbone(tmp_path / "reg.pth", label_set="self")


def test_other_names_stay() -> None:
    found, library = to_timm_names({"encoder.blocks.0.attn.qkv.weight": torch.zeros(1), "x": torch.zeros(1)})
    assert list(found) == ["encoder.blocks.0.attn.qkv.weight", "x"] and library == "timm"
