"""Supervised selectors: windows, initial weights, and exported weights that load as the selector."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from ltrp_bench.harness.cli.main import run_command
from ltrp_bench.harness.training.data.single_label import CLASSES
from ltrp_bench.harness.training.options.selectors import CroprOptions, SupervisedOptions
from ltrp_bench.harness.training.options.training import TrainingOptions
from ltrp_bench.harness.training.recipes.cropr import train_cropr
from ltrp_bench.harness.training.recipes.dynamicvit import train_dynamicvit
from ltrp_bench.harness.training.recipes.evit import train_evit
from ltrp_bench.harness.training.recipes.supervised import GRID, initial_vit
from ltrp_bench.harness.training.recipes.vit import forward_patches, train_vit, window_around
from ltrp_bench.selectors.checkpoints import load_state, resolve, save_safetensors
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.registry import create_selector


def training(out: Path, iterations: int = 2) -> TrainingOptions:
    return TrainingOptions(out=out, iterations=iterations, batch_size=4, lr=1e-3, workers=0, save_every=1, device="cpu")


@pytest.mark.parametrize("side", [4, 6, 9])
def test_windows_hold_the_box_inside_the_image(side: int) -> None:
    generator = torch.Generator().manual_seed(0)
    size = torch.randint(6, 25, (200, 2), generator=generator).float()
    boxes = torch.cat([(96 - size) * torch.rand(200, 2, generator=generator), size], dim=1)
    seen = window_around(boxes, side, generator)
    assert seen.shape == (200, side * side) and seen.min() >= 0 and seen.max() < GRID * GRID
    rows, columns = seen // GRID, seen % GRID
    assert (rows.amax(1) - rows.amin(1) == side - 1).all() and (columns.amax(1) - columns.amin(1) == side - 1).all()
    held = (columns.amin(1) * 8 <= boxes[:, 0]) & ((columns.amax(1) + 1) * 8 >= boxes[:, 0] + boxes[:, 2])
    held &= (rows.amin(1) * 8 <= boxes[:, 1]) & ((rows.amax(1) + 1) * 8 >= boxes[:, 1] + boxes[:, 3])
    # A box of 25 pixels may touch five patches, so windows of four cannot hold all.
    assert held.all() if side > 4 else held.float().mean() > 0.7


def test_every_place_that_holds_the_box_occurs() -> None:
    box = torch.tensor([[40.0, 40.0, 8.0, 8.0]]).expand(500, 4)
    corners = window_around(box, 4, torch.Generator().manual_seed(0))[:, 0]
    assert {(int(c) // GRID, int(c) % GRID) for c in corners} == {(r, c) for r in range(2, 6) for c in range(2, 6)}


def test_all_patches_are_the_whole_image_and_patches_outside_have_no_influence() -> None:
    vit = initial_vit(SupervisedOptions(stem="patch")).eval()
    images = torch.randn(2, 3, 96, 96)
    torch.testing.assert_close(forward_patches(vit, images, torch.arange(GRID * GRID).expand(2, -1))[0], vit(images))
    corner = (torch.arange(6)[:, None] * GRID + torch.arange(6)).flatten().expand(2, -1)
    elsewhere = images.clone()
    elsewhere[..., 48:, :] = elsewhere[..., 48:] = 0
    logits, patches = forward_patches(vit, images, corner)
    assert patches.shape == (2, 36, 128) and not torch.allclose(logits, vit(images))
    torch.testing.assert_close(forward_patches(vit, elsewhere, corner)[0], logits)


@pytest.mark.parametrize("stem", ["conv", "patch"])
def test_a_net_starts_from_the_autoencoders_encoder(stem: Literal["conv", "patch"]) -> None:
    vit, theirs = initial_vit(SupervisedOptions(stem=stem)), load_state(resolve("mae.shapes"))
    mine = vit.state_dict()
    assert (mine["blocks.3.mlp.fc1.weight"] == theirs["blocks.3.mlp.fc1.weight"]).all()
    assert not vit.pos_embed.requires_grad and mine["head.weight"].shape[0] == CLASSES
    if stem == "patch":
        assert (mine["patch_embed.proj.weight"] == theirs["patch_embed.proj.weight"]).all()


TRAINERS: dict[str, Any] = {"vit": train_vit, "evit": train_evit, "dynamicvit": train_dynamicvit, "cropr": train_cropr}


@pytest.mark.parametrize(("kind", "train"), TRAINERS.items())
def test_the_trained_weights_load_as_the_selector(kind: str, train: Any, tmp_path: Path) -> None:
    made = train(CroprOptions(fold=1, num_images=8), training(tmp_path / "out"), eval_images=10)
    assert made["training"]["accuracy"] in [right / 10 for right in range(11)]  # of ten images
    assert made["training"]["what"] == kind
    file = tmp_path / f"{kind}.safetensors"
    save_safetensors(file, made["state"], {"kind": kind, "config": made["config"], "training": made["training"]})
    selector = create_selector("gradcam" if kind == "vit" else kind, weights=file)
    assert str(selector.supervision) == "shapes-seen/1" and selector.mean == (0.44, 0.44, 0.44)
    assert selector.scores(torch.zeros(2, 3, 96, 96)).shape == (2, 12, 12)


def test_the_record_holds_the_options_that_a_method_uses(tmp_path: Path) -> None:
    options = CroprOptions(num_images=8)
    records = {
        kind: train(options, training(tmp_path / kind, 1), eval_images=0)["training"]
        for kind, train in TRAINERS.items()
    }
    windows, pruning = {"windows", "stem_loss"}, {"pruning_rate", "last_layer_fusion"}
    own = {*windows, *pruning, "smoothing"}
    assert {kind: own & record.keys() for kind, record in records.items()} == {
        "vit": {*windows, "smoothing"},
        "evit": {"smoothing"},
        "dynamicvit": set(),
        "cropr": {*pruning, "smoothing"},
    }
    # 144 patches, a module after each of three blocks: 9/10 of the patches are dropped.
    assert records["cropr"]["pruning_rate"] == 43 and records["cropr"]["last_layer_fusion"] is False


def test_a_trained_vit_is_where_others_start(tmp_path: Path) -> None:
    made = train_vit(SupervisedOptions(num_images=8), training(tmp_path / "vit"), eval_images=0)
    file = tmp_path / "vit.safetensors"
    save_safetensors(file, made["state"], {"kind": "vit", "config": made["config"]})
    begun = initial_vit(SupervisedOptions(init=str(file)))
    assert (begun.state_dict()["head.weight"] == made["state"]["head.weight"]).all()
    with pytest.raises(UsageError, match="was trained on shapes-seen/0, not shapes-seen/1"):
        initial_vit(SupervisedOptions(init=str(file), fold=1))


def test_windows_out_of_range_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="sides of 2 to 12 patches"):
        train_vit(SupervisedOptions(window=(1,)), training(tmp_path))
    for kind in TRAINERS.keys() - {"vit"}:
        with pytest.raises(UsageError, match="windows are for vit"):
            TRAINERS[kind](CroprOptions(window=(6, 12)), training(tmp_path))


@pytest.mark.parametrize(
    ("flag", "value"), [("--fold", "2"), ("--stem", "mlp"), ("--smoothing", "1"), ("--window", "x")]
)
def test_wrong_options_of_the_command_are_refused(
    flag: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["train", "vit", "--out", str(tmp_path), flag, value]) == 2
    assert flag in capsys.readouterr().err


@pytest.mark.slow
def test_it_learns_a_few_images(tmp_path: Path) -> None:
    """Eight images by heart, in windows: chance is 1/8 and a loss of 2.08."""
    options = SupervisedOptions(window=(6,), smoothing=0, num_images=8)
    train_vit(options, training(tmp_path, 150), eval_images=0)
    (log,) = tmp_path.glob("*/vis_data/scalars.json")
    losses = [json.loads(line)["loss"] for line in log.read_text().splitlines() if '"loss"' in line]
    assert losses[-1] < 0.7 * losses[0]
