"""Plain ViTs from files: genuine weights, official wrappings, ours, and what is no ViT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from PIL import Image
from timm.data import ImageNetInfo
from torch import Tensor
from torchvision.transforms import functional as tf

from ltrp_bench.selectors.base import IMAGENET_MEAN, Supervision
from ltrp_bench.selectors.checkpoints import save_safetensors
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.vit.backbones import (
    build_vit,
    load_backbone,
)
from ltrp_bench.selectors.vit.vit_files import tagged_name, timm_name

CONFIG = {"image_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 2, "heads": 4, "classes": 8}
TINY = "vit_tiny_patch16_224.augreg_in21k_ft_in1k.pt"


def state_of(**changes: Any) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {k: torch.randn_like(v) * 0.2 for k, v in build_vit({**CONFIG, **changes}).state_dict().items()}


def photo(file: Path) -> Tensor:
    """[3, 224, 224] in [0, 1]: short side to 248, centre cut, as timm evaluates these weights."""
    image = tf.resize(Image.open(file).convert("RGB"), 248, tf.InterpolationMode.BICUBIC)
    return tf.to_tensor(tf.center_crop(image, [224, 224]))


def test_the_genuine_vit_tiny_knows_what_is_in_the_images(shared_dir: Path) -> None:
    backbone = load_backbone(shared_dir / "data" / "weights" / TINY)
    assert backbone.mean == backbone.std == (0.5, 0.5, 0.5)
    assert (backbone.image_size, backbone.patch_size, backbone.grid, backbone.classes) == (
        (224, 224),
        16,
        (14, 14),
        1000,
    )
    assert backbone.supervision == Supervision.labels("imagenet21k", "imagenet1k")
    files = sorted((shared_dir / "data" / "imagenet").glob("n*/*.JPEG"))[:40]
    assert len(files) == 40
    wnids = ImageNetInfo("imagenet-1k").label_names()
    images = torch.stack([photo(f) for f in files])
    with torch.inference_mode():
        best = torch.cat([backbone.model((part - 0.5) / 0.5).argmax(1) for part in images.split(10)])
    right = [wnids[int(i)] == f.parent.name for i, f in zip(best, files, strict=True)]
    assert sum(right) / len(right) >= 0.7


def test_a_timm_name_by_hand_does_for_any_file_name(shared_dir: Path, tmp_path: Path) -> None:
    plain = tmp_path / "weights.pt"
    plain.symlink_to(shared_dir / "data" / "weights" / TINY)
    named = load_backbone(plain, model="timm:vit_tiny_patch16_224")
    # Without a tag, timm's default one applies, which defines label sets and normalization of the weights.
    assert named.mean == (0.5, 0.5, 0.5) and str(named.supervision) == "imagenet21k+imagenet1k"
    unnamed = load_backbone(plain)
    assert unnamed.mean == IMAGENET_MEAN and str(unnamed.supervision) == "imagenet1k"
    assert unnamed.model.blocks[0].attn.num_heads == 3


@pytest.mark.parametrize("changes", [{}, {"qkv_bias": False}, {"fc_norm": True}, {"classes": 0}])
def test_our_own_file_says_all_by_its_metadata(tmp_path: Path, changes: dict[str, Any]) -> None:
    config = {**CONFIG, **changes, "mean": [0.4] * 3, "std": [0.2] * 3, "label_set": "shapes-seen1"}
    file, state = tmp_path / "vit.safetensors", state_of(**changes)
    save_safetensors(file, state, {"kind": "vit", "config": config})
    backbone = load_backbone(file)
    assert (backbone.mean, backbone.std) == ((0.4, 0.4, 0.4), (0.2, 0.2, 0.2))
    assert (backbone.image_size, backbone.patch_size, backbone.classes) == ((32, 32), 8, changes.get("classes", 8))
    assert backbone.supervision == Supervision.labels("shapes-seen1")
    assert not backbone.model.training and all(not p.requires_grad for p in backbone.model.parameters())
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    direct = build_vit(config).eval()
    direct.load_state_dict(state)
    assert torch.equal(backbone.model(images), direct(images))


@pytest.mark.parametrize("wrap", ["model", "state_dict", "teacher", None])
@pytest.mark.parametrize("prefix", ["", "module.", "backbone."])
def test_official_wrappings_come_off(tmp_path: Path, wrap: str | None, prefix: str) -> None:
    state = {prefix + k: v for k, v in state_of().items()}
    torch.save({wrap: state, "epoch": 3} if wrap else state, tmp_path / "w.pth")
    backbone = load_backbone(tmp_path / "w.pth", heads=4, label_set="mine")
    assert backbone.classes == 8 and str(backbone.supervision) == "mine"


def test_another_number_of_classes_than_timms(tmp_path: Path) -> None:
    net = timm.create_model("vit_tiny_patch16_224", num_classes=5)
    torch.save(net.state_dict(), tmp_path / "w.pt")
    backbone = load_backbone(tmp_path / "w.pt", model="vit_tiny_patch16_224", label_set="flowers")
    assert backbone.classes == 5 and str(backbone.supervision) == "flowers"


def test_heads_that_nothing_tells_are_asked_for(tmp_path: Path) -> None:
    torch.save(state_of(), tmp_path / "w.pth")
    with pytest.raises(InputError, match="width 48: give heads=N"):
        load_backbone(tmp_path / "w.pth", label_set="mine")


def test_heads_asked_for_are_not_those_of_the_name(tmp_path: Path) -> None:
    torch.save(timm.create_model("vit_tiny_patch16_224").state_dict(), tmp_path / "w.pt")
    backbone = load_backbone(tmp_path / "w.pt", model="vit_tiny_patch16_224", heads=6)
    assert backbone.model.blocks[0].attn.num_heads == 6


def test_a_file_called_after_its_architecture_alone_is_told_by_its_tensors(tmp_path: Path) -> None:
    torch.save(timm.create_model("vit_tiny_patch16_224").state_dict(), tmp_path / "vit_tiny_patch16_224.pth")
    backbone = load_backbone(tmp_path / "vit_tiny_patch16_224.pth")
    assert str(backbone.supervision) == "imagenet1k" and backbone.mean == (0.485, 0.456, 0.406)


def test_a_tag_that_timm_does_not_know_is_not_passed_over(tmp_path: Path) -> None:
    """A file of a newer timm: by its 1,000 outputs alone it would count as trained on ImageNet-1K only."""
    newer = tmp_path / "vit_tiny_patch16_224.laion9b_ft_in1k.pt"
    torch.save(timm.create_model("vit_tiny_patch16_224").state_dict(), newer)
    with pytest.raises(InputError, match="the part 'laion9b' of timm's tag .* label_set=NAME"):
        load_backbone(newer)
    assert str(load_backbone(newer, label_set="captions+imagenet1k").supervision) == "captions+imagenet1k"
    assert str(load_backbone(newer, model="vit_tiny_patch16_224.augreg_in21k_ft_in1k").supervision).startswith("imagen")


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("vit_tiny_patch16_224.mine.safetensors", "vit_tiny_patch16_224.mine"),
        ("resnet50.a1_in1k.pth.tar", "resnet50.a1_in1k"),
        ("vit_tiny_patch16_224.pth.tar", None),
        ("deit_small_patch16_224-cd65a155.pth", None),
        ("checkpoint.best.pth", None),
    ],
)
def test_tags_in_file_names(file: str, name: str | None) -> None:
    assert tagged_name(Path(file)) == name


def test_labels_that_nothing_tells_are_asked_for(tmp_path: Path) -> None:
    torch.save(state_of(), tmp_path / "w.pth")
    with pytest.raises(InputError, match="8 outputs.*label_set=NAME"):
        load_backbone(tmp_path / "w.pth", heads=4)
    with pytest.raises(UsageError, match="supervised=false, but the weights show a classifier of 8 classes"):
        load_backbone(tmp_path / "w.pth", heads=4, supervised=False)
    assert str(load_backbone(tmp_path / "w.pth", heads=4, label_set="self").supervision) == "self"


@pytest.mark.parametrize("name", ["foreign.pth", "resnet18.pth", "vit_tiny_patch16_224.pth"])
def test_another_model_is_refused_by_what_it_looks_like(tmp_path: Path, name: str) -> None:
    torch.save({"layer4.0.conv1.weight": torch.zeros(2), "fc.weight": torch.zeros(1)}, tmp_path / name)
    with pytest.raises(InputError, match="looks like a ResNet") as caught:
        load_backbone(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_parts_of_another_method_are_left_out(tmp_path: Path) -> None:
    torch.save({**state_of(classes=0), "decoder.weight": torch.zeros(1)}, tmp_path / "w.pth")
    with pytest.raises(InputError, match="unexpected: decoder.weight"):
        load_backbone(tmp_path / "w.pth", heads=4, supervised=False)
    assert load_backbone(tmp_path / "w.pth", heads=4, supervised=False, drop=("decoder",)).classes == 0


def test_what_ships_goes_by_its_tag() -> None:
    backbone = load_backbone("mae.shapes", supervised=False, drop=("decoder", "mask_token"))
    assert backbone.image_size == (96, 96) and backbone.patch_size == 8
    with pytest.raises(InputError, match="no bundled weights named 'vit.nonsense'"):
        load_backbone("vit.nonsense")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm:vit_tony", "no model 'vit_tony'; similar names: vit_"),
        ("vit_tiny_patch16_224.x", "weights 'x'.*augreg_in21k"),
    ],
)
def test_unknown_timm_names_are_one_line(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        timm_name(name)
