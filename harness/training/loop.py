"""The training loop of all recipes: mmengine's Runner over a stream of samples, resumable after a kill at any moment.

A recipe composes it of a data set (its order and augmentation), a model with a loss (which may keep some patches
only), and `LoopExtras` where these need a hook, an optimizer's entry or a collate function of their own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import mmengine.device.utils
import torch
from mmengine.dataset import InfiniteSampler
from mmengine.model import BaseModel
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

import ltrp_bench.harness.training.hooks  # noqa: F401, registers the hooks
from ltrp_bench.harness.training.data.notes import TrainingNotes
from ltrp_bench.harness.training.data.order import TrainingStream
from ltrp_bench.harness.training.optimization import optim_wrapper, warmup_cosine
from ltrp_bench.harness.training.options.training import Device, TrainingOptions
from ltrp_bench.harness.training.trackers import LoggedRunner, backends, check_installed
from ltrp_bench.harness.training.training_folder import check_same_training, last_checkpoint
from ltrp_bench.selectors.errors import InputError, UsageError


def as_list(items: list[Any]) -> list[Tensor]:
    """Collate images, or tuples that begin with one, into the list that mmengine's data preprocessors take."""
    return [torch.stack(items)] if isinstance(items[0], Tensor) else list(default_collate(items))


@dataclass(frozen=True, kw_only=True)
class LoopExtras:
    """Parts of the loop that some recipes add or replace.

    Attributes:
        hooks: configs of further mmengine hooks.
        optim_wrapper: entries of the optimizer wrapper's config that replace the usual ones.
        collate: list of samples -> batch.
        scope: registry of the model's config and parts, "mmengine" or "mmdet".
        channels_last: True to store the weights of convolutions channels last, which is faster for CNNs.
        assumptions: one line for each thing that was assumed of weights; printed, and kept in the folder.
    """

    hooks: tuple[dict[str, Any], ...] = ()
    optim_wrapper: Mapping[str, Any] = field(default_factory=dict)
    collate: Callable[[list[Any]], Any] = as_list
    scope: str = "mmengine"
    channels_last: bool = False
    assumptions: tuple[str, ...] = ()


def train(
    model: BaseModel | Mapping[str, Any],
    dataset: Dataset[Any],
    options: TrainingOptions,
    config: dict[str, Any],
    extras: LoopExtras = LoopExtras(),
) -> None:
    """Train to `options.iterations`, resuming from the last checkpoint in `options.out` if there is one.

    Args:
        model: a model with its loss, or its config, which the Runner builds after it has set the seed.
        dataset: random access by position, at least `options.images_drawn` long.
        options: options of the loop.
        config: everything that determines the weights; a folder with another training's checkpoints is refused.
        extras: parts that differ from the usual ones.

    Raises:
        UsageError: the device or precision is not available, or the folder holds another training. InputError: an
            image cannot be read.
    """
    distributed = int(os.environ.get("WORLD_SIZE", "1")) > 1
    cuda = use_device(options.device) == "cuda"
    if options.amp == "float16" and not cuda:
        raise UsageError("--amp float16 needs a GPU; use bfloat16 on a CPU")
    if distributed and not torch.distributed.is_initialized():
        torch.distributed.init_process_group("nccl" if cuda else "gloo")
    check_installed(options.log_to)
    options.out.mkdir(parents=True, exist_ok=True)
    if int(os.environ.get("RANK", "0")) == 0:
        check_same_training(options.out / "training.json", config)
    _wait_for_all()
    _take_notes(dataset, options, extras.assumptions)
    runner = _runner(model, dataset, options, extras, config, distributed=distributed, cuda=cuda)
    last = last_checkpoint(options.out)
    if last is not None:
        runner._load_from, runner._resume = str(last), True
    try:
        runner.train()
    except InputError as error:
        # A loader process sends its error as a traceback, whose last line is the message.
        raise InputError(str(error).strip().splitlines()[-1].rpartition("InputError: ")[2]) from error
    _wait_for_all()  # every process reads the weights next


def _runner(
    model: BaseModel | Mapping[str, Any],
    dataset: Dataset[Any],
    options: TrainingOptions,
    extras: LoopExtras,
    config: dict[str, Any],
    *,
    distributed: bool,
    cuda: bool,
) -> LoggedRunner:
    # Built here: the Runner deep-copies configs, which an endless sampler does not allow.
    loader = DataLoader(
        dataset,
        options.batch_size,
        sampler=InfiniteSampler(dataset, shuffle=False),
        num_workers=options.workers,
        collate_fn=extras.collate,
        persistent_workers=options.workers > 0,
        pin_memory=cuda,
    )
    runner = LoggedRunner(
        model=model,
        work_dir=str(options.out),
        train_dataloader=loader,
        train_cfg={"type": "IterBasedTrainLoop", "max_iters": options.iterations, "val_interval": 10**9},
        optim_wrapper={**optim_wrapper(options), **extras.optim_wrapper},
        param_scheduler=warmup_cosine(options.warmup, options.iterations),
        default_hooks={
            "checkpoint": {"type": "AtomicCheckpoint", "interval": options.save_every},
            "logger": {"type": "LoggerHook", "interval": options.log_every},
        },
        custom_hooks=[{"type": "IterationClock", "batch_size": options.batch_size}, *extras.hooks],
        log_processor={"by_epoch": False, "window_size": options.log_every},
        visualizer={
            "type": "Visualizer",
            "vis_backends": backends(options, config),
        },
        cfg={} if cuda else {"model_wrapper_cfg": {"type": "MMDistributedDataParallel", "device_ids": None}},
        launcher="pytorch" if distributed else "none",
        env_cfg={"dist_cfg": {"backend": "nccl" if cuda else "gloo"}, "cudnn_benchmark": cuda},
        randomness={"seed": options.seed},
        log_level="INFO" if int(os.environ.get("RANK", "0")) == 0 else "ERROR",
        default_scope=extras.scope,
        experiment_name=options.out.name,
    )
    if extras.channels_last:
        runner.model.to(memory_format=torch.channels_last)
    return runner


def _take_notes(dataset: Dataset[Any], options: TrainingOptions, lines: Sequence[str]) -> None:
    """Say what was assumed, and let the stream draw other images instead of unreadable ones if that is wanted."""
    notes = TrainingNotes(options.out)
    if isinstance(dataset, TrainingStream):
        lines = (*lines, *dataset.assumptions)
        if options.skip_bad_images:
            dataset.notes = notes
    if int(os.environ.get("RANK", "0")) == 0:
        notes.assume(lines)
        for line in lines:
            print(f"note: {line}", file=sys.stderr)


def _wait_for_all() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.barrier()


def use_device(device: Device) -> str:
    """Set mmengine's device to "cpu" or "cuda" ("auto": a GPU if there is one) and return it.

    Raises:
        UsageError: "cuda" without a GPU.
    """
    found = torch.cuda.is_available()
    if device == "cuda" and not found:
        raise UsageError("--device cuda cannot be used here: torch sees no GPU (ltrp-bench doctor)")
    chosen = "cuda" if found and device != "cpu" else "cpu"
    # The Runner moves every model to the device that mmengine found at import.
    mmengine.device.utils.DEVICE = chosen
    return chosen
