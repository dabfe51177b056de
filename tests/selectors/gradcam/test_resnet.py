"""ResNets from checkpoints: architecture, labels and normalization."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch

from ltrp_bench.selectors.base import IMAGENET_MEAN, IMAGENET_STD, Supervision
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.gradcam.resnet import is_resnet, load_resnet


@pytest.fixture(scope="module")
def net() -> torch.nn.Module:
    torch.manual_seed(0)
    return timm.create_model("resnet18", num_classes=1000).eval()


def test_the_architecture_follows_from_the_tensors(net: torch.nn.Module, tmp_path: Path) -> None:
    state = {k: v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "w.pth")
    found = load_resnet(tmp_path / "w.pth")
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(found.model(images), net(images))
    assert found.supervision == Supervision.labels("imagenet1k")
    assert (found.mean, found.std) == (IMAGENET_MEAN, IMAGENET_STD)
    assert not found.model.training and not any(p.requires_grad for p in found.model.parameters())


def test_a_timm_model_gives_its_normalization(net: torch.nn.Module, tmp_path: Path) -> None:
    torch.save(net.state_dict(), tmp_path / "w.pth")
    assert load_resnet(tmp_path / "w.pth", "resnet18.a1_in1k").mean == IMAGENET_MEAN
    with pytest.raises(UsageError, match="timm has no model 'resnet18000'"):
        load_resnet(tmp_path / "w.pth", "resnet18000")


def test_label_sets_follow_the_tag_of_the_file(net: torch.nn.Module, tmp_path: Path) -> None:
    torch.save(net.state_dict(), tmp_path / "resnet18.fb_swsl_ig1b_ft_in1k.pt")
    torch.save(net.state_dict(), tmp_path / "resnet18.flickr_ft_in1k.pt")
    found = load_resnet(tmp_path / "resnet18.fb_swsl_ig1b_ft_in1k.pt")
    assert found.supervision == Supervision.labels("hashtags", "imagenet1k")
    with pytest.raises(InputError, match="the part 'flickr'"):
        load_resnet(tmp_path / "resnet18.flickr_ft_in1k.pt")


def test_other_models_are_refused(net: torch.nn.Module, tmp_path: Path) -> None:
    assert is_resnet(net.state_dict()) and not is_resnet({"conv1.weight": torch.zeros(1)})
    torch.save({"blocks.0.attn.qkv.weight": torch.zeros(1)}, tmp_path / "vit.pth")
    with pytest.raises(InputError, match=r"a ResNet \(vit.pth\).*looks like a plain vision transformer"):
        load_resnet(tmp_path / "vit.pth")
