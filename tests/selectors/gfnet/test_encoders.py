"""Encoders of GFNet: names of released files, and what is pooled of a ViT."""

from __future__ import annotations

from dataclasses import replace

import pytest
import timm
import torch
from torch import Tensor

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.gfnet.encoders import CnnEncoder, timm_keys
from ltrp_bench.selectors.gfnet.model import GFNet, GFNetConfig

VIT = {"backbone": "vit", "image_size": 48, "patch_size": 8, "embed_dim": 16, "depth": 2, "heads": 2}


def test_names_of_pycls_and_torchvision() -> None:
    # Of pycls' RegNetY-600MF: one block, the stem, the classifier, written down from its source.
    block = ["proj.weight", "f.a.weight", "f.b.weight", "f.c.weight", *[f"{n}.weight" for n in ("bn", "f.a_bn")]]
    block += ["f.b_bn.bias", "f.c_bn.running_var", "f.se.f_ex.0.weight", "f.se.f_ex.0.bias", "f.se.f_ex.2.weight"]
    theirs = [f"s2.b1.{key}" for key in block] + ["stem.conv.weight", "stem.bn.weight", "fc.weight", "fc.bias"]
    into = timm_keys("regnety_600m", dict.fromkeys(theirs, torch.zeros(1)))
    assert len(into) == len(theirs) and set(into) <= set(timm.create_model("regnety_006").state_dict())
    import torchvision

    torch_vision = torchvision.models.densenet121().state_dict()
    ours = CnnEncoder("densenet121").net.state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in torch_vision.items()}
    assert "classifier.weight" in timm_keys("densenet121", {"fc.weight": torch.zeros(1)})


@pytest.mark.parametrize("pool", ["avg", "max", "token"])
def test_what_the_classifier_reads_of_a_vit(pool: str) -> None:
    torch.manual_seed(0)
    config = GFNetConfig(
        encoder={**VIT, "pool": pool},
        classes=3,
        crop=48,
        glances=2,
        image_size=96,
        policy_hidden=16,
        policy_convolution=True,
        fc_hidden=16,
    )
    net = GFNet(config).eval()
    crops: Tensor = torch.randn(2, 3, 48, 48)
    with torch.no_grad():
        pooled, found = net.local(crops)
        tokens = net.local.get_submodule("net").forward_features(crops)  # type: ignore[operator]
    assert torch.equal(found[0, :, 1, 2], tokens[0, 1 + 6 + 2])
    expected = {"avg": found.mean((2, 3)), "max": found.amax((2, 3)), "token": tokens[:, 0]}[pool]
    torch.testing.assert_close(pooled, expected)
    with pytest.raises(UsageError, match="no pooling 'sum'"):
        GFNet(replace(config, encoder={**VIT, "pool": "sum"}))
