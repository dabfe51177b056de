"""`train classifier` and `train multilabel`: tasks load their weights, and an interruption changes nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from killed import run_until
from PIL import Image
from torch import Tensor

from ltrp_bench.harness.cli.main import run_command
from ltrp_bench.harness.training.data.labelled import class_folders, labelled_shapes
from ltrp_bench.harness.training.options.tasks import (
    SHAPES_CLASSIFIER,
    SHAPES_MULTILABEL,
    ClassifierOptions,
    MultiLabelOptions,
    TaskTrainingOptions,
)
from ltrp_bench.harness.training.options.training import PatchOptions
from ltrp_bench.harness.training.patch_policy import PatchPolicy, patch_policy
from ltrp_bench.harness.training.recipes.classifier import train_classifier
from ltrp_bench.harness.training.recipes.multilabel import train_multilabel
from ltrp_bench.harness.training.training_folder import TrainedModel, trained_state
from ltrp_bench.selectors.checkpoints import load_content, load_metadata, load_state, save_safetensors
from ltrp_bench.selectors.vit.backbones import build_vit
from ltrp_bench.tasks.data.shapes.world import CATEGORIES
from ltrp_bench.tasks.models.vit.loading import load_timm
from ltrp_bench.tasks.models.vit.multilabel_models import load_multilabel
from ltrp_bench.tasks.registry import create_task

TINY = {"image_size": 96, "patch_size": 8, "embed_dim": 32, "depth": 2, "heads": 2}


@pytest.fixture(scope="module")
def init(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained encoder of 32 channels."""
    torch.manual_seed(0)
    vit = build_vit(TINY)
    file = tmp_path_factory.mktemp("init") / "tiny.safetensors"
    save_safetensors(file, vit.state_dict(), {"config": TINY})
    return file


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for i in range(6):
        place = tmp_path / "data" / "train" / "abc"[i // 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (60 + i, 72, 3), dtype=np.uint8)).save(place / f"{i}.png")
    return tmp_path / "data"


def training(out: Path, iterations: int = 2, **extra: Any) -> TaskTrainingOptions:
    given = {"batch_size": 4, "lr": 1e-3, "workers": 0, "save_every": 1, "device": "cpu"}
    return TaskTrainingOptions(out=out, iterations=iterations, **{**given, **extra})


def policy(keep_ratio: str, selector: str | None = None) -> PatchPolicy:
    return patch_policy(PatchOptions(keep_ratio=keep_ratio, selector=selector))


def arguments(kind: str, init: Path, out: Path, *extra: str) -> list[str]:
    usual = ["--iterations", "2", "--batch-size", "4", "--pictures", "8", "--workers", "0", "--device", "cpu"]
    return ["train", kind, "--init", str(init), "--out", str(out), *usual, *extra]


def test_a_classifier_of_shapes_is_loaded_by_its_task(init: Path, tmp_path: Path, capsys: Any) -> None:
    weights = tmp_path / "classifier.test.safetensors"
    more = ["--keep-ratio", "random", "--export", str(weights)]
    assert run_command(arguments("classifier", init, tmp_path / "out", *more)) == 0
    assert "tensors are from the file, the rest is new (fc_norm, head)" in capsys.readouterr().out
    model = load_timm(weights)
    assert model.class_names == CATEGORIES and model.inputs.size == (96, 96) and model.inputs.crop_pct == 1.0
    task = create_task("shapes-cls", images=4, model_weights=weights)
    assert task.reduction == "drop" and task.grid(task.load(0)) == (12, 12)
    card = weights.with_suffix(".md").read_text()
    assert "| keep_ratio | random |" in card and "| accuracy | 0." in card and str(tmp_path) not in card


def test_a_training_starts_from_its_weights(init: Path, tmp_path: Path) -> None:
    # mmengine's Runner calls `init_weights`, which timm's ViTs have: it must not replace the loaded weights.
    still = training(tmp_path / "out", 1, lr=1e-12)
    options = ClassifierOptions(init=str(init), **{**SHAPES_CLASSIFIER, "mixup": 0.8, "cutmix": 1.0})
    made = train_classifier(labelled_shapes(4, "single-object"), options, still, eval_images=0)
    for key, value in load_state(init).items():
        if not key.startswith(("head.", "norm.")):
            torch.testing.assert_close(made["state"][key], value)


def test_a_multilabel_model_of_shapes_is_loaded_by_its_task(init: Path, tmp_path: Path) -> None:
    weights = tmp_path / "multilabel.test.safetensors"
    more = ["--selector", "ltrp", "--keep-ratio", "0.25", "--cache-scores", "--export", str(weights)]
    assert run_command(arguments("multilabel", init, tmp_path / "out", *more)) == 0
    assert len(list((tmp_path / "out" / "scores").glob("*.npy"))) == 1
    model = load_multilabel(weights)
    assert model.class_names == CATEGORIES and model.inputs.crop_mode == "squash"
    assert create_task("shapes-multilabel", images=4, model_weights=weights).reduction == "drop"
    record = json.loads(load_metadata(weights)["training"])
    assert 0 <= record["mAP"] <= 1 and record["keep_ratio"] == 0.25 and record["selector"]["name"] == "ltrp.shapes"
    # A training that starts from it keeps its head.
    still, key = training(tmp_path / "on", lr=1e-12), "head.decoder.duplicate_pooling"
    options = MultiLabelOptions(init=str(weights), **{**SHAPES_MULTILABEL, "ema": 0.0})
    after = train_multilabel(labelled_shapes(8, "scenes"), options, still, eval_images=0)["state"]
    assert torch.allclose(load_state(weights)[key], after[key])


class _StoppedError(Exception):
    """An interruption at a chosen iteration."""


def stopping(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    from ltrp_bench.harness.training.loss_model import LossModel

    plain = LossModel.forward

    def forward(self: LossModel, *given: Any, **named: Any) -> dict[str, Tensor]:
        if self.iteration == at:
            raise _StoppedError
        return plain(self, *given, **named)

    monkeypatch.setattr(LossModel, "forward", forward)


def classify(out: Path, init: Path, photos: Path) -> TrainedModel:
    """With all that is random: crops, RandAugment, erasing, mixing, stochastic depth, a selector's random ratios."""
    options = ClassifierOptions(init=str(init), layer_decay=0.65, drop_path=0.5, erasing=0.5, ema=0.9)
    return train_classifier(class_folders(photos), options, training(out, 5), policy("random", "edge-energy"))


def label(out: Path, init: Path, photos: Path) -> TrainedModel:
    """With dropout, random fields at random ratios, averaged weights."""
    options = MultiLabelOptions(init=str(init), **{**SHAPES_MULTILABEL, "drop_path": 0.5})
    return train_multilabel(labelled_shapes(8, "scenes"), options, training(out, 5), policy("random"), eval_images=0)


@pytest.mark.parametrize("task", [classify, label])
def test_a_stop_changes_nothing(
    task: Callable[..., TrainedModel], init: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = task(tmp_path / "whole", init, photos)["state"]
    with monkeypatch.context() as patched, pytest.raises(_StoppedError):
        stopping(patched, 3)
        task(tmp_path / "stopped", init, photos)
    assert (tmp_path / "stopped" / "iter_3.pth").is_file()
    found = task(tmp_path / "stopped", init, photos)["state"]
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(value, found[key]), key
    begun = load_state(init)
    assert not torch.equal(begun["blocks.1.mlp.fc1.weight"], found["blocks.1.mlp.fc1.weight"])


def test_averaged_weights_are_what_comes_out(init: Path, tmp_path: Path) -> None:
    made = label(tmp_path, init, tmp_path)
    saved = load_content(tmp_path / "iter_5.pth")
    key = "trained.blocks.0.attn.qkv.weight"
    averaged, last = saved["state_dict"][key], saved["ema_state_dict"][f"module.{key}"]
    assert torch.equal(made["state"]["blocks.0.attn.qkv.weight"], averaged) and not torch.equal(averaged, last)


@pytest.mark.parametrize("keep", [PatchPolicy(), policy("0.25"), policy("0.5", "variance")])
def test_it_learns_a_few_images(keep: PatchPolicy, init: Path, tmp_path: Path) -> None:
    """Four images by heart."""
    options = ClassifierOptions(init=str(init), **SHAPES_CLASSIFIER)
    loop = training(tmp_path, 30, lr=3e-3, log_every=5)
    train_classifier(labelled_shapes(4, "single-object"), options, loop, keep, eval_images=0)
    (log,) = tmp_path.glob("*/vis_data/scalars.json")
    losses = [json.loads(line)["loss"] for line in log.read_text().splitlines() if '"loss"' in line]
    assert losses[-1] < 0.75 * losses[0]


def test_genuine_photos(shared_dir: Path, init: Path, tmp_path: Path) -> None:
    """ImageNet's and COCO's layouts with MAE's recipe; classes and normalisation are theirs."""
    (tmp_path / "imagenet" / "train").mkdir(parents=True)
    for folder in sorted((shared_dir / "data" / "imagenet").glob("n*"))[:20]:
        (tmp_path / "imagenet" / "train" / folder.name).symlink_to(folder)
    weights = tmp_path / "cls.safetensors"
    more = ["--data", str(tmp_path / "imagenet"), "--keep-ratio", "0.5", "--selector", "variance", "--cache-scores"]
    assert run_command([*arguments("classifier", init, tmp_path / "a", *more), "--export", str(weights)]) == 0
    model = load_timm(weights)
    assert model.classes == 1000 and model.inputs.mean == (0.485, 0.456, 0.406) and model.inputs.crop_pct == 0.875
    more = ["--data", str(shared_dir / "data" / "coco"), "--keep-ratio", "random", "--dim", "32", "--heads", "2"]
    assert run_command([*arguments("multilabel", init, tmp_path / "b", *more), "--export", str(weights)]) == 0
    assert load_multilabel(weights).classes == 80


@pytest.mark.parametrize(
    ("kind", "extra", "code", "message"),
    [
        ("classifier", ["--selector", "missing", "--keep-ratio", "0.5"], 2, "no selector 'missing'"),
        ("classifier", ["--keep-ratio", "0"], 2, "is not in (0, 1]"),
        ("classifier", ["--keep-ratio", "some"], 2, "or random"),
        ("classifier", ["--fold", "2"], 2, "'--fold'"),
        ("classifier", ["--stem", "mlp"], 2, "'conv', 'patch'"),
        ("classifier", ["--layer-decay", "0"], 2, "--layer-decay"),
        ("classifier", ["--mixup", "0.8", "--batch-size", "3"], 2, "must be even"),
        ("classifier", ["--ema", "1"], 2, "--ema"),
        ("classifier", ["--cache-scores"], 2, "add --selector"),
        ("classifier", ["--epochs", "2"], 2, "not both"),
        ("multilabel", ["--gamma-neg", "-1"], 2, "asymmetric loss"),
        ("multilabel", ["--heads", "5"], 2, "heads divide dim"),
        ("multilabel", ["--data", "nowhere"], 1, "no COCO data set in nowhere"),
        ("multilabel", ["--data", ".", "--format", "pascal"], 2, "'coco', 'voc', 'nuswide'"),
    ],
)
def test_wrong_options_are_one_line(
    kind: str,
    extra: list[str],
    code: int,
    message: str,
    init: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_command(arguments(kind, init, tmp_path / "out", *extra)) == code
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("ltrp-bench: ")
    assert message in error
    assert not list((tmp_path / "out").glob("iter_*.pth"))


def test_photos_need_weights_and_a_train_folder(tmp_path: Path, init: Path, capsys: Any) -> None:
    usual = ["--out", str(tmp_path / "out"), "--iterations", "1"]
    assert run_command(["train", "classifier", "--data", str(tmp_path), *usual]) == 2
    assert "--init" in capsys.readouterr().err
    assert run_command(["train", "classifier", "--data", str(tmp_path), "--init", str(init), *usual]) == 1
    assert "no folder train/" in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_training_ends_with_the_same_weights(init: Path, tmp_path: Path) -> None:
    def command(out: Path) -> list[str]:
        given = arguments("multilabel", init, out, "--keep-ratio", "random", "--save-every", "1")
        return [{"2": "40"}.get(one, one) for one in given]

    assert run_command(command(tmp_path / "whole")) == 0
    killed = tmp_path / "killed"
    process = [sys.executable, "-m", "ltrp_bench.harness.cli.main", *command(killed)]
    for stop_at in (2, 5):
        assert run_until(process, killed, stop_at).name != "iter_40.pth"
    assert run_command(command(killed)) == 0
    expected, got = trained_state(tmp_path / "whole"), trained_state(killed)
    for key, value in expected.items():
        assert torch.equal(value, got[key]), key


@pytest.mark.slow
def test_two_processes_train_together(init: Path, tmp_path: Path) -> None:
    weights = tmp_path / "two.safetensors"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29518"]
    more = ["--selector", "variance", "--keep-ratio", "random", "--cache-scores", "--export", str(weights)]
    process = subprocess.run(
        [*launcher, "-m", "ltrp_bench.harness.cli.main", *arguments("multilabel", init, tmp_path / "two", *more)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr[-2000:]
    assert run_command(arguments("multilabel", init, tmp_path / "one", *more[:-2])) == 0
    together, alone = load_state(weights), trained_state(tmp_path / "one")
    assert any(not torch.equal(alone[key], together[key]) for key in alone), "two processes see twice the images"
    assert all(torch.isfinite(value).all() for value in together.values())
