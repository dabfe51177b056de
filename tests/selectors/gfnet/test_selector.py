"""GFNet: the reference's glimpses through our own loader, foreign files, ranking, and the contract."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from ltrp_bench.selectors.base import Selector, Supervision
from ltrp_bench.selectors.contract import WeightsContract
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.gfnet.checkpoints import _crop_from, load_gfnet, save_gfnet
from ltrp_bench.selectors.gfnet.encoders import PUBLISHED, CnnEncoder, timm_keys
from ltrp_bench.selectors.gfnet.glimpse_ranking import glimpse_ranking
from ltrp_bench.selectors.gfnet.model import GFNet
from ltrp_bench.selectors.gfnet.policy import cut, top_left
from ltrp_bench.selectors.gfnet.selector import GFNetSelector

VIT = {"backbone": "vit", "image_size": 48, "patch_size": 8, "embed_dim": 16, "depth": 2, "heads": 2}


def tiny(**options: Any) -> GFNet:
    """A small GFNet whose policy looks at different places of different images."""
    torch.manual_seed(0)
    given = {"policy_hidden": 16, "policy_convolution": True, "fc_hidden": 16, "patch_size": 8, "label_set": "mine"}
    net = GFNet(VIT, classes=3, crop=48, glances=5, image_size=96, **{**given, **options})
    for parameter in net.policy.parameters():
        parameter.data *= 3
    return net.eval()


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
        looks = selector.net(images)
    torch.testing.assert_close(looks.actions, torch.from_numpy(out["actions"]), atol=1e-5, rtol=0)
    torch.testing.assert_close(looks.logits, torch.from_numpy(out["logits"]), atol=1e-4, rtol=1e-4)
    expected = (torch.from_numpy(out["actions"]) * (meta["image_size"] - meta["crop"])).floor().long()
    assert torch.equal(looks.corners, expected)
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
        looks = net(images)
        assert torch.equal(net.focus(images), looks.corners)
        assert looks.logits.shape == looks.own.shape == (3, 5, 3) and looks.states.shape == (4, 3, 16, 6, 6)
        more = net(images, glances=7)
        assert torch.equal(more.corners[:, :4], looks.corners) and more.corners.shape == (3, 6, 2)
        means, values = net.policy.sequence(looks.states)
    torch.testing.assert_close(means.transpose(0, 1), looks.actions)
    assert values.shape == (4, 3)


def test_crops_are_what_slices_give() -> None:
    images, crop = torch.randn(3, 3, 40, 56), 24
    actions = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.51, 0.37]])
    corners = top_left(actions, (40, 56), crop)
    assert corners.tolist() == [[0, 0], [16, 32], [8, 11]]
    found = cut(images, corners, crop)
    for image, (row, column), got in zip(images, corners.tolist(), found, strict=True):
        assert torch.equal(got, image[:, row : row + crop, column : column + crop])


def ranking_by_hand(corners: list[tuple[int, int]], crop: int, grid: tuple[int, int], patch: int) -> list[list[int]]:
    """The same order as a sort of tuples, pixel by pixel."""
    keys = {}
    for row in range(grid[0]):
        for column in range(grid[1]):
            y, x = (row + 0.5) * patch, (column + 0.5) * patch
            best: tuple[Any, ...] | None = None
            away = []
            for step, (top, left) in enumerate(corners):
                inside = sum(
                    top <= row * patch + i < top + crop and left <= column * patch + j < left + crop
                    for i in range(patch)
                    for j in range(patch)
                )
                centre = (y - top - crop / 2) ** 2 + (x - left - crop / 2) ** 2
                dy, dx = max(top - y, y - top - crop, 0), max(left - x, x - left - crop, 0)
                away.append((dy**2 + dx**2, centre))
                if inside and best is None:
                    best = (0, step, -inside, centre)
            keys[row, column] = best or (1, *min(away))
    return [[sum(other > keys[r, c] for other in keys.values()) for c in range(grid[1])] for r in range(grid[0])]


@pytest.mark.parametrize("corners", [[(3, 5)], [(0, 0), (20, 8), (4, 24)], [(16, 16), (16, 16), (0, 24)]])
def test_ranking_equals_one_by_hand(corners: list[tuple[int, int]]) -> None:
    found = glimpse_ranking(torch.tensor([corners, corners[::-1]]), 16, (5, 6), 8)
    assert found[0].tolist() == ranking_by_hand(corners, 16, (5, 6), 8)
    assert found[1].tolist() == ranking_by_hand(corners[::-1], 16, (5, 6), 8)


def test_earlier_glimpses_come_first_and_the_ranking_is_full() -> None:
    scores = glimpse_ranking(torch.tensor([[[0, 0], [64, 64]]]), 32, (12, 12), 8)[0]
    first, second = scores[:4, :4], scores[8:, 8:]
    assert first.min() > second.max() and second.min() > scores[:4, 4:].max()
    # All 144 patches have a place, the farthest the last: the published wrapper keeps 64 at most.
    assert scores.min() == scores[0, 11] == scores[11, 0] == 0 and scores.unique().numel() == 27


@pytest.mark.parametrize("name", ["mobilenetv3_large_100", "regnety_600m"])
def test_released_files_of_other_backbones(name: str, tmp_path: Path) -> None:
    round_trip(name, 96, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(PUBLISHED) - {"mobilenetv3_large_100", "regnety_600m"}))
def test_released_files_of_all_backbones(name: str, tmp_path: Path) -> None:
    round_trip(name, 144 if name == "efficientnet_b3" else 128, tmp_path)


def round_trip(name: str, crop: int, tmp_path: Path) -> None:
    """A file saved with the released names, sizes and wrapping is loaded and gives the same looks."""
    plan = PUBLISHED[name]
    torch.manual_seed(0)
    net = GFNet(
        {"backbone": name},
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
    ).eval()
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


def pycls_key(key: str) -> str:
    """timm's name of a RegNet's part -> pycls'."""
    key = re.sub(r"\.conv([123])\.(conv|bn)\.", lambda m: f".f.{'abc'[int(m[1]) - 1]}{'_bn' * (m[2] == 'bn')}.", key)
    key = re.sub(r"\.se\.fc([12])\.", lambda m: f".f.se.f_ex.{2 * int(m[1]) - 2}.", key)
    key = key.replace(".downsample.conv.", ".proj.").replace(".downsample.bn.", ".bn.")
    return key.replace("head.fc.", "fc.")


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


def test_a_checkpoint_of_the_authors_training_says_less(tmp_path: Path) -> None:
    name, path = "regnety_600m", tmp_path / "gfnet.pth.tar"
    net = GFNet({"backbone": name}, 1000, 96, 5, 224, 256, True, own_first=True, glance="bilinear")
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
        GFNet(VIT, 3, 48, 5, 32)


def test_a_classifier_without_a_gru_ends_at_five_looks(tmp_path: Path) -> None:
    net = tiny(fc_hidden=None, own_first=True)
    images = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        assert net(images).logits.shape == (2, 5, 3)
        # The policy goes on alone.
        assert net.focus(images, 8).shape == (2, 7, 2)
        with pytest.raises(UsageError, match="at most 5 looks"):
            net(images, glances=6)
    with pytest.raises(UsageError, match="own_first"):
        tiny(fc_hidden=None)


@pytest.mark.parametrize("pool", ["avg", "max", "token"])
def test_what_the_classifier_reads_of_a_vit(pool: str) -> None:
    torch.manual_seed(0)
    net = GFNet({**VIT, "pool": pool}, 3, 48, 2, 96, 16, True, fc_hidden=16).eval()
    crops: Tensor = torch.randn(2, 3, 48, 48)
    with torch.no_grad():
        pooled, found = net.local(crops)
        tokens = net.local.get_submodule("net").forward_features(crops)  # type: ignore[operator]
    assert torch.equal(found[0, :, 1, 2], tokens[0, 1 + 6 + 2])
    expected = {"avg": found.mean((2, 3)), "max": found.amax((2, 3)), "token": tokens[:, 0]}[pool]
    torch.testing.assert_close(pooled, expected)
    with pytest.raises(UsageError, match="no pooling 'sum'"):
        GFNet({**VIT, "pool": "sum"}, 3, 48, 2, 96)
