"""`train ltrp`: a ranker that starts from its teacher's encoder, and errors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ltrp_bench.harness.cli.main import run_command
from ltrp_bench.harness.training.options.pretraining import LtrpOptions
from ltrp_bench.harness.training.options.training import TrainingOptions
from ltrp_bench.harness.training.recipes.ltrp import train_ltrp
from ltrp_bench.selectors.checkpoints import load_metadata
from ltrp_bench.selectors.ltrp.cross_checkpoints import load_cross_mae
from ltrp_bench.selectors.ltrp.mae_checkpoints import load_mae
from ltrp_bench.selectors.ltrp.ranker import load_ranker
from ltrp_bench.selectors.registry import create_selector


def command(data: str, out: Path, iterations: int) -> list[str]:
    options = f"--size 96 --iterations {iterations} --batch-size 4 --save-every 1 --workers 0 --no-norm-pix"
    return ["train", "mae", "--data", data, "--out", str(out), "--pictures", "12", *options.split()]


def test_a_ranker_starts_from_its_teacher_and_is_loaded_by_the_selector(tmp_path: Path) -> None:
    teacher, ranker = tmp_path / "mae.test.safetensors", tmp_path / "ltrp.test.safetensors"
    assert run_command([*command("shapes", tmp_path / "mae", 1), "--export", str(teacher)]) == 0
    options = "--ranker mae --iterations 2 --batch-size 2 --pictures 4 --workers 0 --lr 0 --distance l2 --no-asymmetric"
    arguments = ["train", "ltrp", "--mae", str(teacher), "--out", str(tmp_path / "ltrp"), "--export", str(ranker)]
    assert run_command([*arguments, *options.split()]) == 0
    selector = create_selector("ltrp", weights=ranker)
    assert selector.scores(torch.zeros(2, 3, 96, 96)).shape == (2, 12, 12)
    encoder, learnt = load_mae(teacher).state_dict(), load_ranker(ranker).state_dict()
    shared = [k for k in learnt if k in encoder and k.startswith(("blocks.", "patch_embed."))]
    # A learning rate of zero: the ranker still is the teacher's encoder.
    assert len(shared) > 40 and all(torch.equal(encoder[k], learnt[k]) for k in shared)
    assert run_command([*arguments[:3], "no_such_tag", "--out", str(tmp_path / "x"), *options.split()]) == 1


def test_a_cross_attending_teacher(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    teacher, ranker = tmp_path / "cross.safetensors", tmp_path / "ltrp.safetensors"
    made = [*command("shapes", tmp_path / "mae", 1), "--decoder", "cross", "--export", str(teacher)]
    assert run_command(made) == 0
    options = "--ranker mae --iterations 2 --batch-size 2 --pictures 4 --workers 0 --lr 0 --samples 2 --positions 12"
    arguments = ["train", "ltrp", "--mae", str(teacher), "--out", str(tmp_path / "ltrp"), *options.split()]
    assert run_command([*arguments, "--export", str(ranker)]) == 0
    record = json.loads(load_metadata(ranker)["training"])
    assert record["positions"] == "12" and record["samples"] == 2
    encoder, learnt = load_cross_mae(teacher).state_dict(), load_ranker(ranker).state_dict()
    shared = [k for k in learnt if k in encoder and k.startswith(("blocks.", "patch_embed."))]
    assert len(shared) > 40 and all(torch.equal(encoder[k], learnt[k]) for k in shared)
    selector = create_selector("ltrp-teacher", weights=teacher, visits=1, positions=0.1)
    assert selector.scores(torch.zeros(2, 3, 96, 96)).std() > 0
    capsys.readouterr()
    for wrong, message in (("some", "write all, a whole number, or a share"), ("131", "the 130 masked patches")):
        assert run_command([*arguments[:-1], wrong]) == 2
        assert message in capsys.readouterr().err
    assert run_command(["train", "ltrp", "--mae", "mae.shapes", *arguments[4:]]) == 2
    assert "positions and samples are for a CrossMAE" in capsys.readouterr().err


def test_the_record_of_a_mae_teacher_is_that_of_earlier_trainings(tmp_path: Path) -> None:
    """A folder of an earlier training is resumed only if its training.json is the same."""
    training = TrainingOptions(out=tmp_path, iterations=1, batch_size=2, workers=0)
    record = train_ltrp(LtrpOptions(mae="mae.shapes", ranker="ti", num_images=4), training)["training"]
    own = {"what", "mae_sha256", "size", "loss", "distance", "hide", "mask_ratio", "asymmetric", "sublist"}
    assert record.keys() == own | {"data", "pictures", "revision"} | training.recipe().keys()


def test_a_ranker_goes_on_from_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = tmp_path / "ltrp.first.safetensors"
    shared = "--mae mae.shapes --ranker mae --mask-ratio 0.9 --batch-size 2 --workers 0 --pictures 4 --seed"
    begin = ["train", "ltrp", *shared.split(), "1", "--iterations", "2", "--lr", "1e-3", "--export", str(first)]
    assert run_command([*begin, "--out", str(tmp_path / "first")]) == 0
    second = tmp_path / "ltrp.second.safetensors"
    again = ["train", "ltrp", *shared.split(), "2", "--iterations", "1", "--lr", "0", "--init", str(first)]
    assert run_command([*again, "--export", str(second), "--out", str(tmp_path / "second")]) == 0
    before, after = load_ranker(first).state_dict(), load_ranker(second).state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before), "a rate of 0 keeps the given weights"
    assert "| init_sha256 |" in second.with_suffix(".md").read_text()
    assert "init_sha256" not in first.with_suffix(".md").read_text()
    wrong = ["train", "ltrp", *shared.split(), "2", "--init", "mae.shapes", "--out", str(tmp_path / "third")]
    capsys.readouterr()
    assert run_command(wrong) == 1 and "LTRP ranker" in capsys.readouterr().err


def test_images_that_the_teacher_scores_in_tiles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "photos").mkdir()
    for index in range(2):
        pixels = np.random.default_rng(index).integers(0, 256, (120, 160, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{index}.png")
    ranker = tmp_path / "ltrp.safetensors"
    shared = "--mae mae.photos --init ltrp.shapes --mask-ratio 0.9 --batch-size 1 --workers 0 --iterations 1 --lr 0"
    arguments = ["train", "ltrp", *shared.split(), "--tiles", "2", "--out", str(tmp_path / "out")]
    assert run_command([*arguments, "--data", str(tmp_path / "photos"), "--export", str(ranker)]) == 0
    record = json.loads(load_metadata(ranker)["training"])
    assert record["tiles"] == 2 and record["size"] == "init"
    selector = create_selector("ltrp", weights=ranker)
    assert selector.input_size == (192, 192)
    # A learning rate of zero: the shipped ranker with interpolated positions.
    images = torch.rand(1, 3, 192, 192)
    expected = create_selector("ltrp.shapes", any_size=True).scores(images)
    torch.testing.assert_close(selector.scores(images), expected, atol=1e-4, rtol=1e-4)
    capsys.readouterr()
    assert run_command([*arguments, "--data", "shapes"]) == 2
    assert "images of shapes are 96 pixels wide: a model for 192 pixels" in capsys.readouterr().err
