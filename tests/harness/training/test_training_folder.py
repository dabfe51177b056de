"""Checkpoints and options in a training's folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from ltrp_bench.harness.training.training_folder import (
    check_same_training,
    checkpoint_state,
    last_checkpoint,
    trained_state,
    write_text,
)
from ltrp_bench.selectors.errors import InputError, UsageError


def test_the_last_checkpoint_is_that_of_the_highest_iteration(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path) is None
    for name in ("iter_9.pth", "iter_10.pth", "writing.tmp", "last_checkpoint"):
        (tmp_path / name).touch()
    assert last_checkpoint(tmp_path) == tmp_path / "iter_10.pth"


def test_the_trained_module_is_taken_out_of_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no checkpoint"):
        trained_state(tmp_path)
    state = {"trained.weight": torch.ones(2), "data_preprocessor.mean": torch.zeros(3)}
    torch.save({"state_dict": state}, tmp_path / "iter_3.pth")
    assert list(trained_state(tmp_path)) == ["weight"]
    assert list(checkpoint_state(tmp_path)) == list(state)


def test_a_folder_belongs_to_one_training(tmp_path: Path) -> None:
    file = tmp_path / "training.json"
    check_same_training(file, {"lr": 0.1, "betas": (0.9, 0.95)})
    assert json.loads(file.read_text()) == {"lr": 0.1, "betas": [0.9, 0.95]}
    check_same_training(file, {"betas": (0.9, 0.95), "lr": 0.1})
    with pytest.raises(UsageError, match="use another --out"):
        check_same_training(file, {"lr": 0.2, "betas": (0.9, 0.95)})


def test_text_is_written_whole(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "one")
    write_text(tmp_path / "a.txt", "two")
    assert [(f.name, f.read_text()) for f in tmp_path.iterdir()] == [("a.txt", "two")]
