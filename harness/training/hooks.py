"""Hooks of mmengine's Runner: crash-safe checkpoints, and the current iteration for the model."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ltrp_bench.harness.training.loss_model import LossModel
from ltrp_bench.harness.training.training_folder import LAST, write_text


@HOOKS.register_module(force=True)
class AtomicCheckpoint(Hook):
    """Saves a checkpoint every `interval` iterations and at the end; the last one stays valid if killed at any time."""

    priority = "VERY_LOW"

    def __init__(self, interval: int) -> None:
        self.interval = interval

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Save a checkpoint if one is due."""
        done = runner.iter + 1
        if done % self.interval and done != runner.max_iters:
            return
        if runner.rank == 0:
            out = Path(runner.work_dir)
            # Written under another name and then renamed, so that a file of this name is always complete.
            runner.save_checkpoint(str(out), "writing.tmp", by_epoch=False)
            (out / "writing.tmp").replace(out / f"iter_{done}.pth")
            write_text(out / LAST, f"iter_{done}.pth")
            for old in out.glob("iter_*.pth"):
                if old.name != f"iter_{done}.pth":
                    old.unlink()


@HOOKS.register_module(force=True)
class IterationClock(Hook):
    """Sets the iteration of a `LossModel` and logs images per second."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self._last: float | None = None
        self._seconds: float | None = None

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Set the iteration: randomness is drawn from its number, so that a resumed run draws the same."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if isinstance(model, LossModel):
            model.iteration = runner.iter

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Log the rate over all processes, smoothed over some ten iterations."""
        now, hub = time.perf_counter(), runner.message_hub
        if self._last is not None:
            seconds = now - self._last
            self._seconds = seconds if self._seconds is None else 0.9 * self._seconds + 0.1 * seconds
            hub.update_scalar("train/images_per_s", self.batch_size * runner.world_size / self._seconds)
        self._last = now
