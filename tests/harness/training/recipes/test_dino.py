"""DINO's training: its parts against plain computations, and a whole run that goes on exactly after a kill."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from killed import run_until

from ltrp_bench.harness.training.options.pretraining import CropOptions, DinoOptions
from ltrp_bench.harness.training.options.training import TrainingOptions
from ltrp_bench.harness.training.recipes.dino import (
    Dino,
    cross_entropy,
    teacher_momentum,
    train_dino,
    vit_of_mae,
)
from ltrp_bench.harness.training.training_folder import trained_state
from ltrp_bench.selectors.attention.class_attention import DinoSelector
from ltrp_bench.selectors.checkpoints import save_safetensors
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.ltrp.mae import MAE, MAEConfig
from ltrp_bench.selectors.ltrp.mae_checkpoints import load_mae

CROPS = CropOptions(local_crops=2)
SMALL = DinoOptions(hidden=16, bottleneck=8, prototypes=32, num_images=4)

SCRIPT = """
import sys
from pathlib import Path
from ltrp_bench.harness.training.options.pretraining import CropOptions, DinoOptions
from ltrp_bench.harness.training.options.training import TrainingOptions
from ltrp_bench.harness.training.recipes.dino import train_dino
dino = DinoOptions(hidden=16, bottleneck=8, prototypes=32, num_images=6)
options = TrainingOptions(out=Path(sys.argv[1]), iterations=30, batch_size=2, workers=0, save_every=1)
train_dino(dino, options, CropOptions(local_crops=2))
"""


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tiny() -> Dino:
    torch.manual_seed(0)
    net, _ = vit_of_mae(
        MAE(
            MAEConfig(
                image_size=32,
                patch_size=8,
                embed_dim=16,
                depth=2,
                heads=2,
                decoder_dim=16,
                decoder_depth=1,
                decoder_heads=2,
            )
        )
    )
    return Dino(net, SMALL, 100)


def test_teachers_momentum_rises_from_its_start_to_one() -> None:
    assert teacher_momentum(0.9, 0, 10) == pytest.approx(0.9) and teacher_momentum(0.9, 10, 10) == 1
    assert teacher_momentum(0.9, 5, 10) == pytest.approx(0.95)


def test_cross_entropy_skips_pairs_of_the_same_view() -> None:
    targets = tuple(torch.rand(2, 5, generator=generator(i)).softmax(-1) for i in range(2))
    learnt = [torch.rand(2, 5, generator=generator(i + 2)) for i in range(3)]
    expected = []
    for i, j in ((0, 1), (0, 2), (1, 0), (1, 2)):
        for p, x in zip(targets[i], learnt[j], strict=True):
            weights = [math.exp(10 * float(v)) for v in x]
            expected.append(-sum(float(p[c]) * math.log(weights[c] / sum(weights)) for c in range(5)))
    assert float(cross_entropy(targets, learnt)) == pytest.approx(sum(expected) / len(expected), rel=1e-5)


def test_a_step_moves_the_centre_and_the_next_one_the_teacher() -> None:
    model = tiny()
    large, small = torch.randn(4, 3, 32, 32, generator=generator()), torch.randn(4, 3, 16, 16, generator=generator(1))
    outputs = model.teacher(large)
    before = {k: v.clone() for k, v in model.teacher.state_dict().items()}
    model.loss(large, small).backward()
    torch.testing.assert_close(model.centre, 0.1 * outputs.mean(0))
    assert int(model.step) == 1 and all(p.grad is None for p in model.teacher.parameters())
    # The head's last layer stays as it is at first, with a gradient of zero and not without one.
    last = model.student.head.prototypes.grad
    assert last is not None and not last.any()
    assert all(
        p.grad is not None and p.grad.any() for n, p in model.student.named_parameters() if "prototypes" not in n
    )
    with torch.no_grad():
        for p in model.student.parameters():
            p.add_(1.0)
    model.loss(large, small)
    share = 1 - teacher_momentum(0.99, 1, 100)
    moved = dict(model.teacher.named_parameters())
    for key, value in moved.items():
        torch.testing.assert_close(value, before[key] + share, atol=1e-6, rtol=1e-5)


def test_prototypes_learn_after_their_rest() -> None:
    model = tiny()
    model.step += 2
    model.loss(torch.randn(4, 3, 32, 32), torch.zeros(0, 3, 16, 16)).backward()
    grad = model.student.head.prototypes.grad
    assert grad is not None and grad.any()


def test_it_starts_from_the_encoder_of_the_mae() -> None:
    mae = load_mae("mae.shapes")
    net, config = vit_of_mae(mae)
    own, given = net.state_dict(), mae.state_dict()
    assert len(own) == 54 and all(torch.equal(own[k], given[k]) for k in own)
    assert config["image_size"] == 96 and config["classes"] == 0 and config["mean"] == list(mae.mean)


def test_it_ends_in_weights_for_the_selector(tmp_path: Path) -> None:
    options = TrainingOptions(out=tmp_path / "run", iterations=3, batch_size=2, workers=0, lr=1e-4, log_every=1)
    made = train_dino(SMALL, options, CROPS)
    assert made["training"]["what"] == "dino" and made["training"]["crops"]["local_size"] == 48
    whole = trained_state(tmp_path / "run")
    assert {"centre", "step", "teacher.head.prototypes", "student.backbone.norm.bias"} <= whole.keys()
    assert int(whole["step"]) == 3 and whole["centre"].any()
    start = load_mae("mae.shapes").state_dict()
    assert 0 < (made["state"]["norm.weight"] - start["norm.weight"]).abs().max() < 1e-2
    file = tmp_path / "dino.test.safetensors"
    save_safetensors(file, made["state"], {"kind": "dino", "config": made["config"], "training": made["training"]})
    selector = DinoSelector(file)
    assert (selector.input_size, selector.patch_size) == ((96, 96), 8)
    assert selector.mean == tuple(made["config"]["mean"]) and selector.model.blocks[0].attn.num_heads == 4
    scores = selector.scores(torch.rand(2, 3, 96, 96))
    assert scores.shape == (2, 12, 12) and len(scores.unique()) > 200


@pytest.mark.slow
def test_a_killed_training_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run = [sys.executable, "-c", SCRIPT]
    subprocess.run([*run, str(whole)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for stop_at in (2, 5):
        assert run_until([*run, str(killed)], killed, stop_at).name != "iter_30.pth"
    subprocess.run([*run, str(killed)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    expected, got = trained_state(whole), trained_state(killed)
    assert expected.keys() == got.keys() and any(k.startswith("teacher.") for k in got)
    for key, value in expected.items():
        assert torch.equal(value, got[key]), key


def test_options_out_of_range(tmp_path: Path) -> None:
    options = TrainingOptions(out=tmp_path, iterations=1, batch_size=2, workers=0)
    for wrong, crops, message in (
        (SMALL, CropOptions(local_crops=-1), "local crops"),
        (SMALL, CropOptions(local_size=20), "local crops"),
        (SMALL, CropOptions(global_scale=(0.5, 1.5)), "the scale of a crop"),
        (replace(SMALL, momentum=1.5), CROPS, "momentum"),
        (replace(SMALL, teacher_temperature=0), CROPS, "temperature"),
        (replace(SMALL, prototypes=0), CROPS, "widths"),
    ):
        with pytest.raises(UsageError, match=message):
            train_dino(wrong, options, crops)
    assert not list(tmp_path.iterdir())
