"""Configs of the optimizer, of mixed precision and of the learning rate schedule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from ltrp_bench.harness.training.optimization import optim_wrapper, warmup_cosine
from ltrp_bench.harness.training.options.training import TrainingOptions


def options(**given: Any) -> TrainingOptions:
    return TrainingOptions(out=Path(), **given)


@pytest.mark.parametrize(
    ("amp", "wrapper"), [("none", "OptimWrapper"), ("float16", "AmpOptimWrapper"), ("bfloat16", "BFloat16OptimWrapper")]
)
def test_mixed_precision_has_its_wrapper(amp: Any, wrapper: str) -> None:
    assert optim_wrapper(options(amp=amp))["type"] == wrapper


def test_vectors_have_no_weight_decay() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    made = build_optim_wrapper(net, optim_wrapper(options(lr=0.1, weight_decay=0.3)))
    group_of = {id(parameter): group for group in made.param_groups for parameter in group["params"]}
    decays = {name: group_of[id(parameter)]["weight_decay"] for name, parameter in net.named_parameters()}
    assert decays == {"0.weight": 0.3, "0.bias": 0.0, "1.weight": 0.0, "1.bias": 0.0}


def test_no_clipping_with_a_norm_of_zero() -> None:
    assert optim_wrapper(options(clip=0.0))["clip_grad"] is None
    assert optim_wrapper(options(clip=2.0))["clip_grad"] == {"max_norm": 2.0}


def test_bfloat16_is_used_inside_the_context_alone() -> None:
    net = nn.Linear(2, 2)
    made = build_optim_wrapper(net, optim_wrapper(options(amp="bfloat16")))
    with made.optim_context(net):
        assert net(torch.zeros(1, 2)).dtype == torch.bfloat16
    assert net(torch.zeros(1, 2)).dtype == torch.float32


@pytest.mark.parametrize(
    ("warmup", "iterations", "expected"), [(200, 4000, 200), (200, 500, 50), (200, 9, 0), (0, 100, 0)]
)
def test_the_warmup_is_at_most_a_tenth(warmup: int, iterations: int, expected: int) -> None:
    schedule = warmup_cosine(warmup, iterations)
    assert [one["type"] for one in schedule] == ["LinearLR", "CosineAnnealingLR"][not expected :]
    assert (schedule[-1]["begin"], schedule[-1]["end"], schedule[-1]["T_max"]) == (
        expected,
        iterations,
        iterations - expected,
    )
    assert options(warmup=warmup, iterations=iterations).recipe()["warmup"] == expected
