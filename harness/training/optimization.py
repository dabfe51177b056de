"""Optimizer, mixed precision and learning rate schedule of the training loop, as mmengine's configs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn

from ltrp_bench.harness.training.options.training import TrainingOptions


@OPTIM_WRAPPERS.register_module(force=True)
class BFloat16OptimWrapper(OptimWrapper):
    """Mixed precision in bfloat16 on any device; mmengine's own needs a GPU. bfloat16 needs no loss scale."""

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Compute in bfloat16 where that is safe."""
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, torch.bfloat16):
            yield


WRAPPERS = {"none": "OptimWrapper", "float16": "AmpOptimWrapper", "bfloat16": "BFloat16OptimWrapper"}


def optim_wrapper(options: TrainingOptions) -> dict[str, Any]:
    """Config of AdamW's wrapper; normalization layers and biases have no weight decay."""
    wrapper: dict[str, Any] = {
        "type": WRAPPERS[options.amp],
        "optimizer": {
            "type": "AdamW",
            "lr": options.lr,
            "betas": options.betas,
            "weight_decay": options.weight_decay,
        },
        "paramwise_cfg": {"norm_decay_mult": 0.0, "bias_decay_mult": 0.0},
        "clip_grad": {"max_norm": options.clip} if options.clip else None,
        "accumulative_counts": options.accumulate,
    }
    if options.amp == "float16":
        wrapper["dtype"] = options.amp
    return wrapper


def warmup_cosine(warmup: int, iterations: int) -> list[dict[str, Any]]:
    """Configs of the schedule: linear warm-up over at most a tenth of the iterations, cosine decay to zero."""
    warmup = min(warmup, iterations // 10)
    rise = {"type": "LinearLR", "start_factor": 1e-3, "by_epoch": False, "begin": 0, "end": warmup}
    fall = {
        "type": "CosineAnnealingLR",
        "T_max": iterations - warmup,
        "by_epoch": False,
        "begin": warmup,
        "end": iterations,
    }
    return [rise, fall] if warmup else [fall]
