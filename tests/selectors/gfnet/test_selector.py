"""GFNet: the reference's glimpses through our own loader, foreign files, ranking, and the contract."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ltrp_bench.selectors.base import Selector, Supervision
from ltrp_bench.selectors.contract import WeightsContract
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.gfnet.checkpoints import save_gfnet
from ltrp_bench.selectors.gfnet.glimpse_ranking import glimpse_ranking
from ltrp_bench.selectors.gfnet.model import GFNet, GFNetConfig
from ltrp_bench.selectors.gfnet.selector import GFNetSelector

VIT = {"backbone": "vit", "image_size": 48, "patch_size": 8, "embed_dim": 16, "depth": 2, "heads": 2}


CONFIG = GFNetConfig(
    encoder=VIT,
    classes=3,
    crop=48,
    glances=5,
    image_size=96,
    policy_hidden=16,
    policy_convolution=True,
    fc_hidden=16,
    patch_size=8,
    label_set="mine",
)


def tiny(**options: Any) -> GFNet:
    """A small GFNet whose policy takes different places of different images."""
    torch.manual_seed(0)
    net = GFNet(replace(CONFIG, **options))
    for parameter in net.policy.parameters():
        parameter.data *= 3
    return net.eval()


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory, golden: Callable) -> Path:
    """The golden GFNet as the authors save theirs, in the old format of torch 1.3."""
    meta, _, fill = golden("gfnet")
    parts = {p: fill.state_dict(meta["shapes"][p], meta["seed"] + o) for p, o in meta["seed_offsets"].items()}
    for part in ("model_prime_state_dict", "model_state_dict"):
        parts[part] = {f"module.{key}": value for key, value in parts[part].items()}
    beside = {"model_name": meta["backbone"], "patch_size": meta["crop"], "flops": [1.0] * meta["glances"]}
    beside |= {key: 0.0 for key in meta["checkpoint_keys"] if key not in parts and key not in beside}
    path = tmp_path_factory.mktemp("gfnet") / "resnet50_patch_size_96_T_5.pth.tar"
    torch.save({**beside, **parts}, path, _use_new_zipfile_serialization=False)
    return path


def test_golden_gfnet(golden: Callable, official: Path) -> None:
    meta, out, fill = golden("gfnet")
    selector = GFNetSelector(official)
    assert selector.net.crop == meta["crop"] and selector.glances == meta["glances"]
    assert selector.input_size == (224, 224) and selector.patch_size == 16
    assert selector.supervision == Supervision.labels("imagenet1k")
    images = fill.images(meta["batch"], meta["image_size"], meta["seed"])
    with torch.no_grad():
        glimpses = selector.net(images)
    torch.testing.assert_close(glimpses.actions, torch.from_numpy(out["actions"]), atol=1e-5, rtol=0)
    torch.testing.assert_close(glimpses.logits, torch.from_numpy(out["logits"]), atol=1e-4, rtol=1e-4)
    expected = (torch.from_numpy(out["actions"]) * (meta["image_size"] - meta["crop"])).floor().long()
    assert torch.equal(glimpses.corners, expected)
    with torch.inference_mode():
        assert torch.equal(selector.net.focus(images), expected)
        scores = selector._scores(images, None)
    assert torch.equal(scores, glimpse_ranking(expected, 96, (14, 14), 16))


class TestContract(WeightsContract):
    build = GFNetSelector

    @pytest.fixture
    def selector(self, tmp_path: Path) -> Selector:
        save_gfnet(tmp_path / "gfnet.safetensors", tiny())
        return GFNetSelector(tmp_path / "gfnet.safetensors")


def test_images_are_looked_at_in_different_places() -> None:
    # Else the contract above would hold for a constant.
    with torch.no_grad():
        corners = tiny().focus(torch.randn(8, 3, 96, 96).cumsum(2).div(5))
    assert len({tuple(c) for c in corners.flatten(0, 1).tolist()}) > 8


def test_focus_is_the_forward_pass_without_the_classifier() -> None:
    net, images = tiny(), torch.randn(3, 3, 96, 96)
    with torch.no_grad():
        glimpses = net(images)
        assert torch.equal(net.focus(images), glimpses.corners)
        assert glimpses.logits.shape == glimpses.own.shape == (3, 5, 3) and glimpses.states.shape == (4, 3, 16, 6, 6)
        more = net(images, glances=7)
        assert torch.equal(more.corners[:, :4], glimpses.corners) and more.corners.shape == (3, 6, 2)
        means, values = net.policy.sequence(glimpses.states)
    torch.testing.assert_close(means.transpose(0, 1), glimpses.actions)
    assert values.shape == (4, 3)


def test_foreign_and_broken_files(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"model": {"blocks.0.attn.qkv.weight": torch.zeros(3, 1)}}, path)
    with pytest.raises(InputError, match=r"do not fit a GFNet.*model_prime_state_dict.*a plain vision transformer"):
        GFNetSelector(path)
    path.write_bytes(b"not a file of torch")
    with pytest.raises(InputError, match="cannot read weights"):
        GFNetSelector(path)
    other = tmp_path / "w.safetensors"
    from ltrp_bench.selectors.checkpoints import save_safetensors

    save_safetensors(other, {"mask_token": torch.zeros(1)}, {"kind": "mae"})
    with pytest.raises(InputError, match="no GFNet file.*looks like a MAE"):
        GFNetSelector(other)
    net = tiny()
    save_safetensors(other, net.state_dict(), {"kind": "gfnet", "config": {"crop": 1}})
    with pytest.raises(InputError, match="metadata do not describe a GFNet"):
        GFNetSelector(other)


def test_options(tmp_path: Path) -> None:
    path = tmp_path / "gfnet.safetensors"
    save_gfnet(path, tiny(mean=(0.4, 0.5, 0.6), std=(0.2, 0.2, 0.2)))
    selector = GFNetSelector(path)
    assert selector.supervision == Supervision.labels("mine") and selector.mean == (0.4, 0.5, 0.6)
    assert selector.input_size == (96, 96) and selector.patch_size == 8 and selector.glances == 5
    images = torch.zeros(1, 3, 96, 96)
    assert GFNetSelector(path, patch_size=16, glances=2).scores(images).shape == (1, 6, 6)
    assert GFNetSelector(path, label_set="a+b").supervision == Supervision.labels("a", "b")
    with pytest.raises(UsageError, match="patch_size 7 does not divide images of 96 pixels"):
        GFNetSelector(path, patch_size=7)
    with pytest.raises(UsageError, match="glances must be at least 2"):
        GFNetSelector(path, glances=1)
    save_gfnet(path, tiny(label_set=""))
    with pytest.raises(InputError, match="give label_set=NAME"):
        GFNetSelector(path)
    with pytest.raises(UsageError, match="does not fit into images of 32"):
        tiny(image_size=32)


def test_a_classifier_without_a_gru_ends_at_five_looks(tmp_path: Path) -> None:
    net = tiny(fc_hidden=None, own_first=True)
    images = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        assert net(images).logits.shape == (2, 5, 3)
        # The policy goes on alone.
        assert net.focus(images, 8).shape == (2, 7, 2)
        with pytest.raises(UsageError, match="at most 5 glimpses"):
            net(images, glances=6)
    with pytest.raises(UsageError, match="own_first"):
        tiny(fc_hidden=None)
