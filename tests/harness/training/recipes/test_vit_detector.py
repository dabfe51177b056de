"""`train detector --architecture vit`: weights to start from, and resumed trainings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ltrp_bench.harness.cli.main import run_command
from ltrp_bench.harness.training.data.detection import GRID, Scenes
from ltrp_bench.harness.training.options.tasks import DetectorOptions, DetectorTrainingOptions
from ltrp_bench.harness.training.patch_policy import PatchPolicy
from ltrp_bench.harness.training.recipes.detector import export_detector
from ltrp_bench.harness.training.recipes.vit_detector import CONFIG, train_vit_detector
from ltrp_bench.selectors.checkpoints import load_state
from ltrp_bench.tasks.catalog import shapes_det
from ltrp_bench.tasks.models.bundled import shipped_model

SEGMENTOR = str(shipped_model("segmentor", "fill"))


def training(out: Path, **options: Any) -> DetectorTrainingOptions:
    given = {"iterations": 4, "batch_size": 2, "warmup": 1, "save_every": 2, "log_every": 1, "device": "cpu"}
    return DetectorTrainingOptions(out=out, **{**given, **options})


def test_it_starts_from_a_segmentors_encoder_and_its_file_is_read_again(tmp_path: Path) -> None:
    still = training(tmp_path / "t", iterations=1, warmup=0, lr=1e-12)
    state, record = train_vit_detector(DetectorOptions(init=SEGMENTOR), still, PatchPolicy(None))
    wanted = {k.removeprefix("vit."): v for k, v in load_state(SEGMENTOR).items()}
    key = next(k for k in state if k.endswith("blocks.0.attn.qkv.weight"))
    source = next(v for k, v in wanted.items() if k.endswith("blocks.0.attn.qkv.weight"))
    torch.testing.assert_close(state[key], source.float(), rtol=0, atol=1e-6)
    assert record["architecture"] == "vit" and record["keep_ratio"] == "random" and record["init_tensors"] > 50
    file = tmp_path / "d.safetensors"
    export_detector(state, file, record, CONFIG)
    task = shapes_det(limit=2, model_weights=file, reduction="drop")
    from ltrp_bench.tasks.base import Keep

    sample = task.load(0)
    half = np.arange(GRID * GRID).reshape(GRID, GRID) % 2 == 0
    assert len(task.predict([sample], [Keep(half)])) == 1


@pytest.mark.slow
def test_an_interrupted_training_ends_like_a_whole_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options, policy = DetectorOptions(init=SEGMENTOR), PatchPolicy(None)
    whole, _ = train_vit_detector(options, training(tmp_path / "whole", save_every=4), policy)

    class Stop(Exception):
        pass

    held = Scenes.__getitem__

    def fail_late(self: Scenes, position: int) -> dict[str, Any]:
        if position >= 6:
            raise Stop
        return held(self, position)

    with monkeypatch.context() as patch:
        patch.setattr(Scenes, "__getitem__", fail_late)
        with pytest.raises(Stop):
            train_vit_detector(options, training(tmp_path / "cut"), policy)
    resumed, _ = train_vit_detector(options, training(tmp_path / "cut"), policy)
    for key, value in whole.items():
        torch.testing.assert_close(resumed[key], value, rtol=0, atol=0, msg=key)


def test_a_file_without_a_vit_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from ltrp_bench.tasks.models.detectors.loading import SHAPES_WEIGHTS

    arguments = ["train", "detector", "--architecture", "vit", "--iterations", "1", "--out", str(tmp_path / "x")]
    assert run_command([*arguments, "--init", str(SHAPES_WEIGHTS)]) == 1
    error = capsys.readouterr().err.strip()
    assert error.count("\n") == 0 and "plain ViT" in error


def test_a_ratio_out_of_range_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", "detector", "--architecture", "vit", "--iterations", "1", "--out", str(tmp_path / "x")]
    assert run_command([*arguments, "--keep-ratio", "1.5"]) == 2
    assert "1.5" in capsys.readouterr().err
