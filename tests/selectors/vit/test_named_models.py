"""timm's ViTs of every family by their names, from files of timm and of the authors."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import timm
import torch
from small_vits import spread
from torch import nn

from ltrp_bench.selectors.base import Supervision
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.vit.backbones import load_backbone
from ltrp_bench.selectors.vit.named_models import from_timm


def built(name: str, **options: Any) -> nn.Module:
    net: nn.Module = timm.create_model(name, **options)
    spread(net)
    return net.eval()


@pytest.mark.parametrize(
    ("name", "supervision", "classes"),
    [
        ("vit_tiny_patch16_dinov3_qkvb", "self", 0),
        ("eva02_tiny_patch14_224.mim_in22k", "captions", 0),
        ("vit_pe_core_tiny_patch16_384.fb", "captions", 512),
        ("deit_tiny_distilled_patch16_224.fb_in1k", "imagenet1k", 1000),
    ],
)
def test_a_file_under_its_name_is_timms_own_module(tmp_path: Path, name: str, supervision: str, classes: int) -> None:
    net = built(name.split(".")[0], num_classes=classes)
    torch.save(net.state_dict(), tmp_path / f"{name}.pth")
    model = name if "." not in name else None
    found = load_backbone(tmp_path / f"{name}.pth", model, label_set="self" if supervision == "self" else None)
    assert type(found.model) is type(net) and found.supervision == Supervision.parse(supervision)
    assert found.classes == classes and not any(p.requires_grad for p in found.model.parameters())
    images = torch.rand(1, 3, *found.image_size)
    with torch.no_grad():
        torch.testing.assert_close(found.model(images), net(images), atol=1e-4, rtol=1e-4)


def test_dinov3_under_the_names_of_its_authors(tmp_path: Path) -> None:
    """Registers are storage tokens, layer scale has the names of other ViTs, and keys have a bias of zeros."""
    net = built("vit_tiny_patch16_dinov3_qkvb")
    theirs: dict[str, torch.Tensor] = {}
    for key, value in net.state_dict().items():
        name = (
            key.replace("reg_token", "storage_tokens").replace("gamma_1", "ls1.gamma").replace("gamma_2", "ls2.gamma")
        )
        if key.endswith("q_bias"):
            other = net.state_dict()[key.replace("q_bias", "v_bias")]
            theirs[key.replace("q_bias", "qkv.bias")] = torch.cat([value, torch.zeros_like(value), other])
        elif not key.endswith("v_bias"):
            theirs[name] = value
    theirs |= {"mask_token": torch.zeros(1, 192), "rope_embed.periods": torch.ones(16)}
    torch.save({f"teacher.backbone.{key}": value for key, value in theirs.items()}, tmp_path / "w.pth")
    found = load_backbone(tmp_path / "w.pth", "vit_tiny_patch16_dinov3_qkvb", supervised=False)
    images = torch.rand(1, 3, 256, 256)
    with torch.no_grad():
        expected = cast(Any, net).forward_features(images)
        torch.testing.assert_close(found.model.forward_features(images), expected, atol=1e-4, rtol=1e-4)
    with pytest.raises(InputError, match="looks like DINOv3: give model=TIMM_NAME"):
        load_backbone(tmp_path / "w.pth", label_set="self")


def test_other_sizes_and_classes_are_those_of_the_file(tmp_path: Path) -> None:
    net = built("eva02_tiny_patch14_224", img_size=56, num_classes=3)
    made, state = from_timm("eva02_tiny_patch14_224", net.state_dict(), tmp_path / "w.pth")
    made.load_state_dict(state)
    assert made.num_classes == 3 and tuple(made.patch_embed.grid_size) == (4, 4)


def test_models_of_other_families_are_refused_in_words(tmp_path: Path) -> None:
    torch.save(timm.create_model("test_vit").state_dict(), tmp_path / "w.pth")
    with pytest.raises(UsageError, match="swin_tiny_patch4_window7_224.* is a SwinTransformer, not a plain .* merges"):
        load_backbone(tmp_path / "w.pth", "swin_tiny_patch4_window7_224")
    torch.save({"x": torch.zeros(1)}, tmp_path / "x.pth")
    with pytest.raises(InputError, match=r"missing: patch_embed.proj.weight"):
        load_backbone(tmp_path / "x.pth", "vit_tiny_patch16_dinov3_qkvb", supervised=False)
    with pytest.raises(UsageError, match="heads=5 do not divide the width 192"):
        net = timm.create_model("eva02_tiny_patch14_224", depth=12).state_dict()
        from_timm("eva02_tiny_patch14_224", net, tmp_path / "w.pth", heads=5)
