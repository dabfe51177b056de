"""Options of the loop: the record of a training, and the number of images."""

from __future__ import annotations

from pathlib import Path

import pytest

from ltrp_bench.harness.training.options.tasks import TaskTrainingOptions
from ltrp_bench.harness.training.options.training import TrainingOptions


def test_the_record_has_the_keys_of_earlier_trainings() -> None:
    """A folder of an earlier training is resumed only if its training.json is the same."""
    assert TrainingOptions(out=Path(), iterations=100).recipe() == {
        "iterations": 100,
        "batch_size": 64,
        "lr": 1.5e-3,
        "weight_decay": 0.05,
        "betas": (0.9, 0.95),
        "warmup": 10,
        "clip": 1.0,
        "accumulate": 1,
        "amp": "none",
        "seed": 0,
    }


def test_epochs_are_no_part_of_the_record() -> None:
    assert TaskTrainingOptions(out=Path(), epochs=3).recipe().keys() == TrainingOptions(out=Path()).recipe().keys()


def test_images_are_drawn_by_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    options = TrainingOptions(out=Path(), iterations=10, batch_size=4)
    assert options.images_drawn == 40
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert options.images_drawn == 120
