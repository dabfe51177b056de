"""Randomness of a training model depends on (seed, iteration, rank) alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ltrp_bench.harness.training.loss_model import LossModel


def model(seed: int = 0) -> LossModel:
    def loss(module: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        assert images.dtype == torch.float32
        return images.mean() + labels.sum() + torch.rand((), generator=generator)

    return LossModel(nn.Linear(1, 1), loss, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), seed)


def value(one: LossModel, iteration: int) -> float:
    one.iteration = iteration
    images, labels = torch.full((2, 3, 4, 4), 255, dtype=torch.uint8), torch.zeros(2)
    return float(one(images, labels, mode="loss")["loss"])


def test_images_are_normalized() -> None:
    seen: list[Tensor] = []

    def loss(module: nn.Module, images: Tensor, generator: torch.Generator) -> Tensor:
        seen.append(images)
        return images.sum()

    made = LossModel(nn.Linear(1, 1), loss, (0.0, 0.5, 1.0), (1.0, 0.5, 0.25), 0)
    made(torch.full((1, 3, 2, 2), 255, dtype=torch.uint8), mode="loss")
    assert seen[0][0, :, 0, 0].tolist() == [1.0, 1.0, 0.0]
    assert seen[0].is_contiguous(memory_format=torch.channels_last)


def test_randomness_depends_on_seed_iteration_and_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    first = value(model(), 3)
    torch.manual_seed(123)
    assert value(model(), 3) == first
    assert value(model(), 4) != first
    assert value(model(seed=1), 3) != first
    monkeypatch.setenv("RANK", "1")
    assert value(model(), 3) != first


def test_the_trained_module_is_saved_under_its_prefix() -> None:
    assert list(model().state_dict()) == ["trained.weight", "trained.bias"]


def test_other_modes_are_refused() -> None:
    given: Any = torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
    with pytest.raises(ValueError, match="only has mode 'loss', not 'predict'"):
        model()(given, mode="predict")
