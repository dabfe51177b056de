"""Models of timm from files: sizes, crops and normalisation are the weights' own; what does not fit is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.data import resolve_data_config

from ltrp_bench.selectors.checkpoints import save_safetensors
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.vit.backbones import build_vit
from ltrp_bench.tasks.models.vit.loading import PlainViT, TimmModel, check_patches, image_sides, load_timm, load_vit
from ltrp_bench.tasks.models.vit.token_dropping import forward_kept

OWN: dict[str, Any] = {"image_size": 48, "patch_size": 8, "embed_dim": 32, "depth": 2, "heads": 4, "classes": 5}


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    torch.manual_seed(0)


def saved(net: torch.nn.Module, path: Path, wrap: str | None = "model") -> Path:
    """The net's weights made lively, in a file."""
    generator = torch.Generator().manual_seed(0)
    state = net.state_dict()
    for key, value in state.items():
        if value.is_floating_point():
            noise = torch.randn(value.shape, generator=generator)
            state[key] = 0.5 + noise.abs() if "running_var" in key else value + noise * 0.1
    net.load_state_dict(state)
    net.eval()
    torch.save({wrap: state} if wrap else state, path)
    return path


def images(model: TimmModel, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, 3, *model.inputs.size, generator=torch.Generator().manual_seed(1))


def same(a: torch.Tensor, b: torch.Tensor) -> None:
    assert float(b.detach().std(0).min()) > 1e-4
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["test_vit", "test_vit2", "test_vit3", "test_vit4"])
def test_vits_by_name(name: str, tmp_path: Path) -> None:
    net = timm.create_model(name, num_classes=7)
    model = load_vit(saved(net, tmp_path / "weights.pth"), name)
    config = resolve_data_config(model=net)
    assert (model.inputs.mean, model.inputs.std) == (config["mean"], config["std"])
    assert (model.inputs.size, model.inputs.crop_pct, model.patch, model.grid) == ((160, 160), 0.95, 16, (10, 10))
    assert model.classes == 7 and model.any_size and model.class_names is None
    assert not model.net.training and not any(p.requires_grad for p in model.net.parameters())
    same(forward_kept(model.vit, images(model)), net(images(model)))


def test_a_file_named_after_a_timm_model_needs_no_name(tmp_path: Path) -> None:
    net = timm.create_model("test_vit")
    model = load_timm(saved(net, tmp_path / "test_vit.r160_in1k.pt"))
    assert model.identity["model"] == "test_vit.r160_in1k" and model.inputs.crop_pct == 0.95 and model.classes == 1000


def test_sizes_of_images() -> None:
    assert image_sides(None) is None and image_sides(96) == (96, 96) and image_sides([96, 128]) == (96, 128)
    for bad in (0, (96,), (96, 0), (96, 9.5)):
        with pytest.raises(UsageError, match="image_size must be one number of pixels or"):
            image_sides(bad)  # type: ignore[arg-type]


def test_patches_must_be_square() -> None:
    oblong = timm.create_model("test_vit", patch_size=(8, 16), num_classes=0)
    with pytest.raises(InputError, match=r"^the model has patches of 8x16 pixels: they must be square$"):
        check_patches(oblong, (160, 160))


def test_another_input_size_resamples_positions_as_timm_does(tmp_path: Path) -> None:
    net = timm.create_model("test_vit", num_classes=7)
    file = saved(net, tmp_path / "w.pth")
    model = load_vit(file, "test_vit", image_size=[96, 128])
    assert model.inputs.size == (96, 128) and model.grid == (6, 8)
    net.set_input_size(img_size=(96, 128))
    same(model.net(images(model)), net(images(model)))
    same(forward_kept(model.vit, images(model)), net(images(model)))
    # A file of weights that were trained at that size.
    trained = saved(net, tmp_path / "oblong.pth")
    same(load_vit(trained, "test_vit", image_size=(96, 128)).net(images(model)), net(images(model)))
    with pytest.raises(InputError, match=r"pos_embed 1x49x64 instead of 1x101x64"):
        load_vit(trained, "test_vit")
    with pytest.raises(UsageError, match="100x96 pixels cannot be cut into the model's patches of 16"):
        load_vit(file, "test_vit", image_size=(100, 96))
    with pytest.raises(UsageError, match="image_size must be"):
        load_vit(file, "test_vit", image_size=(96, 96, 96))


@pytest.mark.parametrize("stem", ["patch", "conv"])
def test_another_input_size_of_weights_trained_with_ltrp_bench(stem: str, tmp_path: Path) -> None:
    net = build_vit({**OWN, "stem": stem})
    saved(net, tmp_path / "w.pth")
    config = {**OWN, "stem": stem, "mean": [0.4] * 3, "std": [0.2] * 3, "crop_pct": 1.0, "classes": list("abcde")}
    save_safetensors(tmp_path / "own.safetensors", net.state_dict(), {"kind": "vit", "config": config})
    model = load_vit(tmp_path / "own.safetensors")
    assert (model.inputs.size, model.inputs.mean, model.inputs.crop_pct) == ((48, 48), (0.4, 0.4, 0.4), 1.0)
    assert model.class_names == tuple("abcde")
    same(forward_kept(model.vit, images(model)), net(images(model)))
    wide = load_vit(tmp_path / "own.safetensors", image_size=(48, 80))
    assert wide.grid == (6, 10) and wide.identity != model.identity
    assert forward_kept(wide.vit, images(wide)).shape == (2, 5)


def test_official_mae_fine_tunes_pool_patches_and_have_a_norm_after(tmp_path: Path) -> None:
    """Keys as MAE's main_finetune saves them: "model", fc_norm, no norm; also under a timm name."""
    net = build_vit({**OWN, "embed_dim": 192, "heads": 3, "classes": 1000, "fc_norm": True})
    model = load_vit(saved(net, tmp_path / "finetune_vit_tiny.pth"))
    assert {"fc_norm.weight", "head.weight"} <= net.state_dict().keys() and "norm.weight" not in net.state_dict()
    same(forward_kept(model.vit, images(model)), net(images(model)))
    assert model.inputs.crop_pct == 224 / 256 and model.inputs.mean == (0.485, 0.456, 0.406)
    named = timm.create_model("test_vit", num_classes=9, global_pool="avg")
    model = load_vit(saved(named, tmp_path / "mae.pth"), "test_vit")
    same(forward_kept(model.vit, images(model)), named(images(model)))


def test_convolutional_models_and_models_of_one_size(tmp_path: Path) -> None:
    for name, head in (("test_resnet", 6), ("test_convnext", 6)):
        net = timm.create_model(name, num_classes=head)
        model = load_timm(saved(net, tmp_path / f"{name}.pth", None), name)
        assert not isinstance(model, PlainViT) and model.any_size and model.classes == head
        same(model.net(images(model)), net(images(model)))
        with pytest.raises(UsageError, match="not a plain vision transformer"):
            load_vit(tmp_path / f"{name}.pth", name)
    assert not load_timm(None, "pit_ti_224", random_weights=0).any_size


def test_random_weights_depend_on_the_seed_alone() -> None:
    one, same_, other = (load_timm(None, "test_vit", random_weights=seed, classes=3) for seed in (1, 1, 2))
    weights = [m.net.state_dict()["head.weight"] for m in (one, same_, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    assert one.identity == same_.identity != other.identity and one.classes == 3


def test_wrong_use_is_one_line(tmp_path: Path) -> None:
    file = saved(timm.create_model("test_resnet"), tmp_path / "resnet.pth")
    cases: list[tuple[type[Exception], str, Any]] = [
        (UsageError, "neither was given", lambda: load_timm(None, "test_vit")),
        (UsageError, "not both", lambda: load_timm(file, "test_vit", random_weights=0)),
        (UsageError, "needs a timm name", lambda: load_timm(None, random_weights=0)),
        (UsageError, "timm has no model 'vit_nonsense'", lambda: load_timm(file, "vit_nonsense")),
        (UsageError, r"crop_pct must be in \(0, 1\]", lambda: load_timm(file, "test_resnet", crop_pct=1.2)),
        (InputError, "looks like a ResNet", lambda: load_timm(file, "test_vit")),
        (InputError, "looks like a ResNet", lambda: load_timm(file)),
        (InputError, "nowhere", lambda: load_timm(tmp_path / "nowhere.pth", "test_vit")),
    ]
    for kind, line, call in cases:
        with pytest.raises(kind, match=line) as error:
            call()
        assert "\n" not in str(error.value)
