"""A killed training ends with the same weights, and another training's folder is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from killed import run_until

from ltrp_bench.harness.cli.main import run_command
from ltrp_bench.harness.training.data.notes import TrainingNotes
from ltrp_bench.harness.training.training_folder import trained_state
from ltrp_bench.selectors.checkpoints import load_metadata
from ltrp_bench.selectors.ltrp.mae_checkpoints import load_mae


def command(data: str, out: Path, iterations: int = 8) -> list[str]:
    options = f"--size 96 --iterations {iterations} --batch-size 4 --save-every 1 --workers 0 --no-norm-pix"
    return ["train", "mae", "--data", data, "--out", str(out), "--pictures", "12", *options.split()]


@pytest.mark.slow
@pytest.mark.parametrize("damaged", [False, True])
def test_a_killed_training_ends_with_the_same_weights(photos: Path, tmp_path: Path, damaged: bool) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    skip = ["--skip-bad-images"] if damaged else []
    if damaged:
        (photos / "a.png").write_bytes(b"not an image")
    assert run_command([*command(str(photos), whole, 40), *skip]) == 0
    arguments = [sys.executable, "-m", "ltrp_bench.harness.cli.main", *command(str(photos), killed, 40), *skip]
    for stop_at in (2, 5):
        assert run_until(arguments, killed, stop_at).name != "iter_40.pth"
    assert run_command([*command(str(photos), killed, 40), *skip]) == 0
    assert TrainingNotes(whole).skipped() == TrainingNotes(killed).skipped()
    assert list(TrainingNotes(killed).skipped()) == ["a.png"] * damaged
    expected, got = trained_state(whole), trained_state(killed)
    assert expected.keys() == got.keys()
    for key, value in expected.items():
        assert torch.equal(value, got[key]), key


def test_export_loads_and_has_a_card(tmp_path: Path) -> None:
    weights = tmp_path / "mae.test.safetensors"
    assert run_command([*command("shapes", tmp_path / "run", 3), "--export", str(weights)]) == 0
    mae = load_mae(weights)
    assert mae.image_size == (96, 96) and mae.patch_size == 8 and not mae.norm_pix_loss
    card = weights.with_suffix(".md").read_text()
    assert "sha256" in card and "ltrp-bench train mae" in card and str(tmp_path) not in card


def test_another_training_in_the_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(command("shapes", tmp_path, 2)) == 0
    assert run_command(command("shapes", tmp_path, 3)) == 2
    assert "other options" in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_train_together(tmp_path: Path) -> None:
    weights = tmp_path / "mae.two.safetensors"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29517"]
    arguments = [*command("shapes", tmp_path / "run", 2), "--export", str(weights)]
    process = subprocess.run(
        [*launcher, "-m", "ltrp_bench.harness.cli.main", *arguments], capture_output=True, text=True, timeout=300
    )
    assert process.returncode == 0, process.stderr[-2000:]
    alone = tmp_path / "alone"
    assert run_command(command("shapes", alone, 2)) == 0
    together, single = load_mae(weights).state_dict(), trained_state(alone)
    moved = [k for k in single if not torch.equal(single[k], together[k])]
    assert moved, "two processes saw twice the images, so their weights must differ from one's"
    assert all(torch.isfinite(v).all() for v in together.values())


def test_a_corrupt_image_is_one_line_from_a_loader_process(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "a.png").write_bytes(b"not an image")
    arguments = [a if a != "0" else "1" for a in command(str(photos), tmp_path / "run")]
    assert arguments[arguments.index("--workers") + 1] == "1"
    assert run_command(arguments) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("ltrp-bench: image ") and "Traceback" not in error
    assert "a.png is corrupt" in error and error.endswith("(--skip-bad-images draws other images instead)")
    # The same training goes on with the option, and the export names what was left out.
    weights = tmp_path / "mae.test.safetensors"
    assert run_command([*arguments, "--skip-bad-images", "--export", str(weights)]) == 0
    error = capsys.readouterr().err
    assert "note: 1 unreadable image left out, with others drawn instead: a.png (image " in error
    assert json.loads(load_metadata(weights)["training"])["skipped_images"] == ["a.png"]
    assert "| skipped_images | ['a.png'] |" in weights.with_suffix(".md").read_text()


def test_what_is_assumed_of_weights_is_said_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, both, weights = tmp_path / "first.safetensors", tmp_path / "both.pth", tmp_path / "mae.test.safetensors"
    assert run_command([*command("shapes", tmp_path / "a", 1), "--export", str(first)]) == 0
    state = load_mae(first).state_dict()
    torch.save({"model": state, "model_ema": {key: value + 1 for key, value in state.items()}}, both)
    capsys.readouterr()
    arguments = [*command("shapes", tmp_path / "run", 1), "--init", str(both), "--export", str(weights)]
    assert run_command(arguments) == 0
    line = "both.pth holds two sets of weights (model, model_ema); took model, not the moving average"
    assert f"note: --init: {line}" in capsys.readouterr().err
    assert line in (tmp_path / "run" / "assumed.json").read_text()
    assert line in json.loads(load_metadata(weights)["training"])["assumed"][0]
    assert "| assumed | " in weights.with_suffix(".md").read_text()


def test_wrong_options_are_usage_errors(tmp_path: Path) -> None:
    assert run_command([*command("shapes", tmp_path / "a", 2), "--device", "bogus"]) == 2
    assert run_command([*command("shapes", tmp_path / "b", 2), "--mask-ratio", "1.5"]) == 2
    assert run_command([*command("shapes", tmp_path / "c", 2), "--patch", "7"]) == 2
    assert run_command([*command("shapes", tmp_path / "d", 2), "--preset", "enormous"]) == 2
    assert run_command([*command("shapes", tmp_path / "e", 2), "--amp", "float32"]) == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="of a machine without a GPU")
def test_mixed_precision_on_a_cpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    losses = {}
    for amp in ("none", "bfloat16"):
        assert run_command([*command("shapes", tmp_path / amp, 1), "--amp", amp]) == 0
        state = trained_state(tmp_path / amp)
        assert all(x.dtype != torch.bfloat16 for x in state.values())
        log = next((tmp_path / amp).glob("*/vis_data/scalars.json")).read_text().splitlines()
        losses[amp] = json.loads(log[-1])["loss"]
    # The forward pass alone was rounded.
    assert losses["none"] != losses["bfloat16"] == pytest.approx(losses["none"], rel=0.02)
    assert run_command([*command("shapes", tmp_path / "half", 1), "--amp", "float16"]) == 2
    assert "needs a GPU" in capsys.readouterr().err


def test_other_images_are_another_training(photos: Path, tmp_path: Path) -> None:
    assert run_command(command(str(photos), tmp_path / "run", 1)) == 0
    file = next(photos.rglob("*.png"))
    file.rename(file.with_name("renamed.png"))
    assert run_command(command(str(photos), tmp_path / "run", 1)) == 2
