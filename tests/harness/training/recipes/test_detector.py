"""`train detector`: an interrupted training of RTMDet ends with the same weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ltrp_bench.harness.cli.main import run_command
from ltrp_bench.harness.training.data.detection import FilledScenes
from ltrp_bench.harness.training.options.tasks import DetectorOptions, DetectorTrainingOptions
from ltrp_bench.harness.training.recipes.detector import detector_record, export_detector, train_detector
from ltrp_bench.tasks.catalog import shapes_det

OPTIONS = DetectorOptions()


def training(out: Path, save_every: int = 2) -> DetectorTrainingOptions:
    return DetectorTrainingOptions(
        out=out, iterations=4, batch_size=2, warmup=1, save_every=save_every, log_every=1, device="cpu"
    )


@pytest.mark.slow
def test_an_interrupted_training_ends_like_a_whole_one(tmp_path: Path) -> None:
    whole = train_detector(OPTIONS, training(tmp_path / "whole", 4))

    class Stop(Exception):
        pass

    held = FilledScenes.__getitem__

    def fail_late(self: FilledScenes, position: int) -> dict[str, object]:
        if position >= 6:
            raise Stop
        return held(self, position)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FilledScenes, "__getitem__", fail_late)
        with pytest.raises(Stop):
            train_detector(OPTIONS, training(tmp_path / "cut"))
    resumed = train_detector(OPTIONS, training(tmp_path / "cut"))
    for key, value in whole.items():
        torch.testing.assert_close(resumed[key], value, rtol=0, atol=0, msg=key)
    file = tmp_path / "detector.safetensors"
    export_detector(whole, file, detector_record(OPTIONS, training(tmp_path)))
    assert len(shapes_det(limit=1, model_weights=file)) == 1


def test_the_record_has_the_keys_of_earlier_trainings(tmp_path: Path) -> None:
    assert detector_record(OPTIONS, DetectorTrainingOptions(out=tmp_path)) == {
        "iterations": 4000,
        "batch_size": 32,
        "lr": 2e-3,
        "warmup": 200,
        "pool": 16384,
        "amp": "none",
        "seed": 0,
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--architecture", "yolo"], "--architecture"),
        (["--amp", "float16"], "--amp"),
        (["--keep-ratio", "0.5"], "add --architecture vit"),
    ],
)
def test_wrong_options_are_refused(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["train", "detector", "--out", str(tmp_path), *arguments]) == 2
    assert message in capsys.readouterr().err
