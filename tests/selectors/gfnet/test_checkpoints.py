"""Released files of GFNet: names, sizes and wrapping."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.gfnet.checkpoints import _crop_from, load_gfnet
from ltrp_bench.selectors.gfnet.encoders import PUBLISHED
from ltrp_bench.selectors.gfnet.model import GFNet, GFNetConfig
from ltrp_bench.selectors.gfnet.selector import GFNetSelector


def released(net: GFNet, name: str) -> dict[str, Any]:
    """The file the authors would have saved for `net`."""
    return {
        "model_name": name,
        "patch_size": net.crop,
        "flops": [1.0] * net.glances,
        "model_flops": 1.0,
        "policy_flops": 1.0,
        "fc_flops": 1.0,
        "anytime_classification": [0.5] * net.glances,
        "budgeted_batch_classification": [[1.0], [0.5]],
        "dynamic_threshold": torch.zeros(39, net.glances),
        "model_prime_state_dict": {f"module.{k}": v for k, v in net.prime.get_submodule("net").state_dict().items()},
        "model_state_dict": {f"module.{k}": v for k, v in net.local.get_submodule("net").state_dict().items()},
        "fc": net.fc.state_dict(),
        "policy": net.policy.state_dict(),
    }


def pycls_key(key: str) -> str:
    """timm's name of a RegNet's part -> pycls'."""
    key = re.sub(r"\.conv([123])\.(conv|bn)\.", lambda m: f".f.{'abc'[int(m[1]) - 1]}{'_bn' * (m[2] == 'bn')}.", key)
    key = re.sub(r"\.se\.fc([12])\.", lambda m: f".f.se.f_ex.{2 * int(m[1]) - 2}.", key)
    key = key.replace(".downsample.conv.", ".proj.").replace(".downsample.bn.", ".bn.")
    return key.replace("head.fc.", "fc.")


def round_trip(name: str, crop: int, tmp_path: Path) -> None:
    """A file saved with the released names, sizes and wrapping is loaded and gives the same glimpses."""
    plan = PUBLISHED[name]
    torch.manual_seed(0)
    config = GFNetConfig(
        encoder={"backbone": name},
        classes=1000,
        crop=crop,
        glances=4,
        image_size=plan.image_size,
        policy_hidden=256 if plan.convolution else 1024,
        policy_convolution=plan.convolution,
        fc_hidden=1024 if plan.recurrent else None,
        own_first=plan.own_first,
        glance=plan.glance,
        label_set="imagenet1k",
    )
    net = GFNet(config).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    content = released(net, name)
    if name.startswith("regnety"):
        for part in ("model_prime_state_dict", "model_state_dict"):
            content[part] = {pycls_key(key): value for key, value in content[part].items()}
    torch.save(content, tmp_path / "gfnet.pth.tar")
    selector = GFNetSelector(tmp_path / "gfnet.pth.tar")
    assert selector.net.config == {**net.config, "patch_size": selector.patch_size}
    assert selector.net.image_size == plan.image_size and plan.image_size % selector.patch_size == 0
    images = torch.randn(1, 3, plan.image_size, plan.image_size)
    with torch.no_grad():
        expected, found = net(images), selector.net(images)
        assert torch.equal(found.logits, expected.logits) and torch.equal(found.corners, expected.corners)
        # What the authors do with the glance's logits.
        assert torch.equal(found.logits[:, 0], found.own[:, 0]) == plan.own_first


@pytest.mark.parametrize("name", ["mobilenetv3_large_100", "regnety_600m"])
def test_released_files_of_other_backbones(name: str, tmp_path: Path) -> None:
    round_trip(name, 96, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(PUBLISHED) - {"mobilenetv3_large_100", "regnety_600m"}))
def test_released_files_of_all_backbones(name: str, tmp_path: Path) -> None:
    round_trip(name, 144 if name == "efficientnet_b3" else 128, tmp_path)


def test_a_checkpoint_of_the_authors_training_says_less(tmp_path: Path) -> None:
    name, path = "regnety_600m", tmp_path / "gfnet.pth.tar"
    config = GFNetConfig(
        encoder={"backbone": name},
        classes=1000,
        crop=96,
        glances=5,
        image_size=224,
        policy_hidden=256,
        policy_convolution=True,
        own_first=True,
        glance="bilinear",
    )
    net = GFNet(config)
    content = released(net, name)
    for part in ("model_prime_state_dict", "model_state_dict"):
        content[part] = {pycls_key(key): value for key, value in content[part].items()}
    short = {key: content[key] for key in ("model_prime_state_dict", "model_state_dict", "fc", "policy")}
    torch.save({**short, "epoch": 3, "acc": 0.5}, path)
    with pytest.raises(InputError, match=r"has no model_name: give model=NAME, one of resnet50"):
        load_gfnet(path)
    found = load_gfnet(path, model=name)
    assert (found.crop, found.glances, found.image_size) == (96, 5, 224)
    with pytest.raises(UsageError, match="no GFNet backbone 'vgg'"):
        load_gfnet(path, model="vgg")
    with pytest.raises(InputError, match=r"prime encoder of a GFNet on resnet50.*keys missing: conv1.weight"):
        load_gfnet(path, model="resnet50")
    with pytest.raises(InputError, match=r"policy.*state_encoder.3.weight 256x288 instead of 256x512"):
        load_gfnet(path, model=name, crop=128)
    torch.save({**short, "model_name": "vgg"}, path)
    with pytest.raises(InputError, match="has the unknown backbone 'vgg'"):
        load_gfnet(path)
    torch.save({**short, "policy": None}, path)
    with pytest.raises(InputError, match="holds no policy"):
        load_gfnet(path, model=name)
    torch.save({**short, "fc": {"fc.weight": torch.zeros(2, 2)}}, path)
    with pytest.raises(InputError, match=r"the fc of a GFNet.*1 keys missing: rnn.weight_hh_l0"):
        load_gfnet(path, model=name)


def test_the_crop_is_told_from_the_policy_where_it_can_be() -> None:
    for side, crop in ((3, 96), (4, 128)):
        linear = {"state_encoder.0.weight": torch.zeros(1, 2048 * side**2)}
        conv = {
            "state_encoder.0.weight": torch.zeros(32, 9, 1, 1),
            "state_encoder.3.weight": torch.zeros(1, 32 * side**2),
        }
        assert _crop_from(linear, 2048, Path("w")) == _crop_from(conv, 960, Path("w")) == crop
    with pytest.raises(InputError, match="give crop=PIXELS"):
        _crop_from({"state_encoder.0.weight": torch.zeros(1, 2048 * 25)}, 2048, Path("w"))
