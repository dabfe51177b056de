"""`train segmentor`: an interruption changes nothing, the model gets the kept patches, errors are one line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toy_data import ade20k_folder

from ltrp_bench.harness.cli.main import run_command
from ltrp_bench.harness.training.options.tasks import SegmentorOptions
from ltrp_bench.harness.training.options.training import PatchOptions, TrainingOptions
from ltrp_bench.harness.training.patch_policy import patch_policy
from ltrp_bench.harness.training.recipes.segmentor import object_accuracy, train_segmentor
from ltrp_bench.selectors.checkpoints import load_metadata, load_state, save_safetensors
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.tasks.catalog import shapes_seg
from ltrp_bench.tasks.data.shapes.world import ShapesWorld
from ltrp_bench.tasks.models.segmentors.plain_vit import build_segmentor

SMALL = SegmentorOptions(cells=2, stem="conv", stem_loss=0.5, num_images=6)
PLAIN = SegmentorOptions(stem_loss=0.5, num_images=4)


def options(out: Path, iterations: int = 4) -> TrainingOptions:
    return TrainingOptions(out=out, iterations=iterations, batch_size=2, lr=1e-3, workers=0, save_every=2, device="cpu")


def test_a_training_that_was_cut_ends_like_a_whole_one(tmp_path: Path) -> None:
    keep = patch_policy(PatchOptions(keep_ratio="random"), "shapes")
    whole = train_segmentor(SMALL, options(tmp_path / "whole"), keep, eval_images=2)
    assert 0 <= whole["training"]["accuracy"] <= 1 and whole["training"]["keep_ratio"] == "random"
    for file in (tmp_path / "whole").glob("iter_*.pth"):
        assert file.name == "iter_4.pth"
    cut = tmp_path / "cut"
    # The same schedule, but the loop stops half-way.
    from ltrp_bench.harness.training import hooks as training

    saved = training.AtomicCheckpoint.after_train_iter

    def stop(self: object, runner: object, *rest: object, **more: object) -> None:
        saved(self, runner, *rest, **more)  # type: ignore[arg-type]
        if runner.iter == 1:  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training.AtomicCheckpoint, "after_train_iter", stop)
        train_segmentor(SMALL, options(cut), keep, eval_images=0)
    again = train_segmentor(SMALL, options(cut), keep, eval_images=0)
    assert all(torch.equal(value, again["state"][key]) for key, value in whole["state"].items())


def test_a_selector_chooses_and_the_result_is_a_task_model(tmp_path: Path) -> None:
    keep = patch_policy(PatchOptions(keep_ratio="0.25", selector="variance"), "shapes")
    made = train_segmentor(SMALL, options(tmp_path / "out", 2), keep, eval_images=0)
    assert made["training"]["keep_ratio"] == 0.25 and made["training"]["selector"]
    file = tmp_path / "s.safetensors"
    save_safetensors(file, made["state"], {"kind": "segmentor", "config": made["config"]})
    assert len(shapes_seg(images=2, model_weights=file)) == 2
    # A training that starts from it keeps its head; another stem is refused.
    more = train_segmentor(replace(PLAIN, init=str(file)), options(tmp_path / "more", 2), keep, eval_images=0)
    assert more["training"]["init_tensors"] == len(load_state(file))
    with pytest.raises(UsageError, match="already has a stem"):
        train_segmentor(replace(PLAIN, init=str(file), stem="patch"), options(tmp_path / "x", 2), keep)


def test_accuracy_counts_objects_alone() -> None:
    config = json.loads(json.dumps({**_config(), "segmentor": {"head": "linear", "cells": 1}}))
    net = build_segmentor(config).eval()
    torch.nn.init.zeros_(net.decoder.head.weight)
    net.decoder.head.bias.data = torch.eye(17)[5]
    world, fifth, objects = ShapesWorld(1000), 0, 0
    for i in range(20):
        semantic = world.image(i).semantic
        fifth, objects = fifth + int((semantic == 5).sum()), objects + int((semantic > 0).sum())
    assert object_accuracy(net, 20, (0.5,) * 3, (0.5,) * 3) == fifth / objects > 0


def _config() -> dict[str, object]:
    return {"image_size": 96, "patch_size": 8, "embed_dim": 24, "depth": 1, "heads": 3, "classes": ["x"] * 17}


def test_the_command_on_files_and_its_wrong_arguments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, file = ade20k_folder(tmp_path / "data"), tmp_path / "vit.safetensors"
    config = {**_config(), "image_size": 48, "patch_size": 16, "segmentor": {"head": "linear"}}
    save_safetensors(file, build_segmentor(config).encoder.state_dict(), {"config": {**config, "classes": 0}})
    arguments = ["train", "segmentor", "--out", str(tmp_path / "out"), "--data", str(data), "--format", "ade20k"]
    fast = ["--iterations", "2", "--batch-size", "2", "--workers", "0", "--device", "cpu"]
    assert run_command([*arguments, "--init", str(file), *fast, "--export", str(tmp_path / "s.safetensors")]) == 0
    assert len(json.loads(load_metadata(tmp_path / "s.safetensors")["config"])["classes"]) == 150
    capsys.readouterr()
    for wrong, text in (
        ([], "give the weights to start from"),
        (["--init", str(file), "--format", "cityscapes"], "'ade20k', 'voc'"),
        (["--init", str(file), "--keep-ratio", "2"], "is not in"),
        (["--init", str(file), "--head", "cone"], "'linear', 'mask-transformer'"),
    ):
        assert run_command([*arguments, *wrong, *fast]) == 2
        assert text in capsys.readouterr().err
