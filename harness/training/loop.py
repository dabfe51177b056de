"""One training loop for all: mmengine's Runner over a stream of samples, resumable after a kill at any moment."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import mmengine.device.utils
import torch
from mmengine.dataset import InfiniteSampler
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS, OPTIM_WRAPPERS
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, default_collate

from ltrp_bench.selectors.checkpoints import load_state
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.models.openmmlab.setup import plain_checkpoints

LAST = "last_checkpoint"


@dataclass(frozen=True)
class TrainingOptions:
    """What every training shares.

    Attributes:
        out: folder of checkpoints, logs and TensorBoard events.
        iterations: optimiser steps are `iterations / accumulate`.
        batch_size: images a process and iteration.
        lr, weight_decay, betas, warmup: of AdamW with a linear warm-up (iterations) and cosine decay to zero.
        clip: largest gradient norm; 0 for any.
        accumulate: iterations a step.
        amp: "none", "float16" (a GPU only) or "bfloat16" (on a CPU it pays where there are instructions for it).
        workers: loader processes.
        save_every: iterations between checkpoints.
        seed: of weights, order, augmentation and masks.
        device: "auto", "cpu" or "cuda".
    """

    out: Path
    iterations: int
    batch_size: int = 64
    lr: float = 1e-3
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.95)
    warmup: int = 200
    clip: float = 1.0
    accumulate: int = 1
    amp: str = "none"
    workers: int = 1
    save_every: int = 500
    log_every: int = 50
    seed: int = 0
    device: str = "auto"

    @property
    def draws(self) -> int:
        """Images drawn over the whole training, by all processes."""
        return self.iterations * self.batch_size * int(os.environ.get("WORLD_SIZE", "1"))

    def recipe(self) -> dict[str, Any]:
        """The options that make the result, with the warm-up as it is used."""
        speed = ("out", "device", "workers", "log_every", "save_every")
        made = {key: value for key, value in asdict(self).items() if key not in speed}
        return {**made, "warmup": min(self.warmup, self.iterations // 10)}


@dataclass(frozen=True)
class LoopExtras:
    """What some trainings add: configs of mmengine's hooks, and entries of the optimiser's wrapper in place of ours."""

    hooks: tuple[dict[str, Any], ...] = ()
    optim: Mapping[str, Any] = field(default_factory=dict)


class LossModel(BaseModel):
    """A module with a loss, as mmengine's Runner wants it.

    Args:
        module: what is trained and saved.
        loss: (module, normalised images, what else a sample holds (labels, boxes), ..., generator) -> scalar loss.
        mean, std: normalisation of the images, per channel of RGB in [0, 1].
        seed: of the generator that `loss` is given.
    """

    def __init__(
        self,
        module: nn.Module,
        loss: Callable[..., Tensor],
        mean: tuple[float, ...],
        std: tuple[float, ...],
        seed: int,
    ) -> None:
        super().__init__()
        # Not `module`: mmengine takes that prefix for a wrapper's and strips it when it resumes.
        self.trained = module
        self._loss, self._seed = loss, seed
        self.register_buffer("_mean", torch.tensor(mean).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("_std", torch.tensor(std).view(1, 3, 1, 1) * 255, persistent=False)
        self.iteration = 0

    def init_weights(self) -> None:
        """Nothing: the Runner would have timm's ViTs draw weights anew, whatever they started from."""

    def forward(self, images: Tensor, *more: Tensor, mode: str = "tensor") -> dict[str, Tensor]:  # type: ignore[override]
        """[B, 3, H, W] uint8, labels, ... -> {"loss": scalar}; randomness depends on (seed, iteration, rank) alone."""
        if mode != "loss":
            raise ValueError(f"a training model only has mode 'loss', not {mode!r}")
        rank = int(os.environ.get("RANK", 0))
        key = (self._seed * 1_000_003 + self.iteration) * 1_009 + rank
        generator = torch.Generator().manual_seed(key)
        pixels = (images.to(self._mean.device).float() - self._mean) / self._std
        # Faster for convolutions, on a CPU as on a GPU.
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        more = tuple(x.to(pixels.device) for x in more)
        return {"loss": self._loss(self.trained, pixels, *more, generator)}


@HOOKS.register_module(force=True)
class AtomicCheckpoint(Hook):
    """A checkpoint every `interval` iterations and at the end; a kill at any moment leaves the one before whole."""

    priority = "VERY_LOW"

    def __init__(self, interval: int) -> None:
        self.interval = interval

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Save where it is time."""
        done = runner.iter + 1
        if done % self.interval and done != runner.max_iters:
            return
        if runner.rank == 0:
            out = Path(runner.work_dir)
            # Written under another name first: a file of this name is always whole.
            runner.save_checkpoint(str(out), "writing.tmp", by_epoch=False)
            (out / "writing.tmp").replace(out / f"iter_{done}.pth")
            write_text(out / LAST, f"iter_{done}.pth")
            for old in out.glob("iter_*.pth"):
                if old.name != f"iter_{done}.pth":
                    old.unlink()


@HOOKS.register_module(force=True)
class IterationClock(Hook):
    """Tells the model its iteration and logs images per second."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self._last: float | None = None
        self._seconds: float | None = None

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Masks and orders are drawn from the iteration's number, so that a resumed run draws the same."""
        model = runner.model
        (model if isinstance(model, LossModel) else model.module).iteration = runner.iter

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Log the rate over all processes, smoothed over some ten iterations."""
        now, hub = time.perf_counter(), runner.message_hub
        if self._last is not None:
            seconds = now - self._last
            self._seconds = seconds if self._seconds is None else 0.9 * self._seconds + 0.1 * seconds
            hub.update_scalar("train/images_per_s", self.batch_size * runner.world_size / self._seconds)
        self._last = now


def _as_list(items: list[Any]) -> list[Tensor]:
    """A batch of images, or of tuples that begin with one, in the list that mmengine's data preprocessors take."""
    return [torch.stack(items)] if isinstance(items[0], Tensor) else list(default_collate(items))


def write_text(path: Path, text: str) -> None:
    """Write a small file whole or not at all."""
    part = path.with_name(path.name + ".tmp")
    part.write_text(text)
    part.replace(path)


def train(
    model: LossModel,
    dataset: Dataset[Any],
    options: TrainingOptions,
    config: dict[str, Any],
    extras: LoopExtras = LoopExtras(),
) -> None:
    """Train to `options.iterations`, going on from the last checkpoint in `options.out` where there is one.

    Args:
        model: with its loss.
        images: random access by position, at least iterations * batch_size * processes long.
        options: of the loop.
        config: what the training is of; a folder that holds another training's checkpoints is refused.
        extras: hooks and the optimiser's groups, where they are not the usual ones.
    """
    distributed = int(os.environ.get("WORLD_SIZE", "1")) > 1
    cuda = use_device(options.device) == "cuda"
    if options.amp not in ("none", "float16", "bfloat16"):
        raise UsageError(f"--amp {options.amp}: write none, float16 or bfloat16")
    if options.amp == "float16" and not cuda:
        raise UsageError("--amp float16 needs a GPU; a CPU has bfloat16")
    if distributed and not torch.distributed.is_initialized():
        torch.distributed.init_process_group("nccl" if cuda else "gloo")
    # The first process looks and writes, the others wait for it.
    options.out.mkdir(parents=True, exist_ok=True)
    if int(os.environ.get("RANK", "0")) == 0:
        same_training(options.out / "training.json", config)
    if torch.distributed.is_initialized():
        torch.distributed.barrier()  # the weights are read next, by every process
    # Built here: the Runner deep-copies configs, which an endless sampler does not allow.
    loader = DataLoader(
        dataset,
        options.batch_size,
        sampler=InfiniteSampler(dataset, shuffle=False),
        num_workers=options.workers,
        collate_fn=_as_list,
        persistent_workers=options.workers > 0,
        pin_memory=cuda,
    )
    runner = Runner(
        model=model,
        work_dir=str(options.out),
        train_dataloader=loader,
        train_cfg={"type": "IterBasedTrainLoop", "max_iters": options.iterations, "val_interval": 10**9},
        optim_wrapper={**_optim_wrapper(options, cuda), **extras.optim},
        param_scheduler=warmup_cosine(options.warmup, options.iterations),
        default_hooks={
            "checkpoint": {"type": "AtomicCheckpoint", "interval": options.save_every},
            "logger": {"type": "LoggerHook", "interval": options.log_every},
        },
        custom_hooks=[{"type": "IterationClock", "batch_size": options.batch_size}, *extras.hooks],
        log_processor={"by_epoch": False, "window_size": options.log_every},
        visualizer={
            "type": "Visualizer",
            "vis_backends": [{"type": "LocalVisBackend"}, {"type": "TensorboardVisBackend"}],
        },
        cfg={} if cuda else {"model_wrapper_cfg": {"type": "MMDistributedDataParallel", "device_ids": None}},
        launcher="pytorch" if distributed else "none",
        env_cfg={"dist_cfg": {"backend": "nccl" if cuda else "gloo"}, "cudnn_benchmark": cuda},
        randomness={"seed": options.seed},
        log_level="INFO" if int(os.environ.get("RANK", "0")) == 0 else "ERROR",
        experiment_name=options.out.name,
    )
    # One line a parameter otherwise.
    noise = ("paramwise_options", "since its requires_grad=False")
    runner.logger.addFilter(lambda record: not any(text in record.getMessage() for text in noise))
    last = last_checkpoint(options.out)
    if last is not None:
        runner._load_from, runner._resume = str(last), True
    try:
        runner.train()
    except InputError as error:
        # A loader process hands its error on inside a traceback; its own line is the last.
        raise InputError(str(error).strip().splitlines()[-1].rpartition("InputError: ")[2]) from error
    if torch.distributed.is_initialized():
        torch.distributed.barrier()  # the weights are read next, by every process


def use_device(device: str) -> str:
    """Have mmengine train on "cpu" or "cuda" ("auto": a GPU where there is one); returns which."""
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device {device}: write auto, cpu or cuda")
    found = torch.cuda.is_available()
    if device == "cuda" and not found:
        raise UsageError("--device cuda: torch sees no GPU here (ltrp-bench doctor)")
    chosen = "cuda" if found and device != "cpu" else "cpu"
    # The Runner moves every model to what mmengine found at import, whatever it is told.
    mmengine.device.utils.DEVICE = chosen
    return chosen


def last_checkpoint(out: Path) -> Path | None:
    """The newest whole checkpoint in a training's folder, or None."""
    found = sorted(out.glob("iter_*.pth"), key=lambda f: int(f.stem.split("_")[1]))
    return found[-1] if found else None


def trained_state(out: Path) -> dict[str, Tensor]:
    """The trained module's state dict from the last checkpoint in `out`."""
    last = last_checkpoint(out)
    if last is None:
        raise InputError(f"no checkpoint iter_*.pth in {out}; has the training saved one yet?")
    with plain_checkpoints():
        state = load_state(last)
    return {k.removeprefix("trained."): v for k, v in state.items() if k.startswith("trained.")}


def same_training(path: Path, config: dict[str, Any]) -> None:
    """Write what a training is of; `UsageError` where the folder holds another one."""
    text = json.dumps(config, sort_keys=True, indent=1)
    if path.is_file() and path.read_text() != text:
        raise UsageError(f"{path.parent} holds a training with other options (see training.json); use another --out")
    write_text(path, text)


@OPTIM_WRAPPERS.register_module(force=True)
class CpuAmpOptimWrapper(OptimWrapper):
    """Mixed precision on a CPU, which mmengine's own refuses; bfloat16 needs no loss scale."""

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Compute in bfloat16 where that is safe."""
        with super().optim_context(model), torch.autocast("cpu", torch.bfloat16):
            yield


def _optim_wrapper(options: TrainingOptions, cuda: bool) -> dict[str, Any]:
    mixed = "AmpOptimWrapper" if cuda else "CpuAmpOptimWrapper"
    wrapper: dict[str, Any] = {
        "type": "OptimWrapper" if options.amp == "none" else mixed,
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
    if cuda and options.amp != "none":
        wrapper["dtype"] = options.amp
    return wrapper


def warmup_cosine(warmup: int, iterations: int) -> list[dict[str, Any]]:
    """mmengine schedulers: linear warm-up over at most a tenth of the iterations, cosine decay to zero."""
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
