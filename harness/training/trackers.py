"""Where a training writes its curves, by mmengine's visualization backends, and what of its log reaches the terminal.

TensorBoard's events, MLflow's file store and W&B's offline runs lie in the training's folder; a server is used only if
the packages' own environment variables name one.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
import uuid
from pathlib import Path
from typing import Any, Final

from mmengine.logging import MMLogger
from mmengine.registry import VISBACKENDS
from mmengine.runner import Runner
from mmengine.visualization import MLflowVisBackend, WandbVisBackend

from ltrp_bench.harness.training.options.training import LogTo, TrainingOptions
from ltrp_bench.harness.training.training_folder import write_text
from ltrp_bench.selectors.errors import UsageError

# Messages to suppress, because mmengine logs them for each parameter.
NOISE: Final = ("paramwise_options", "since its requires_grad=False", "The value is the same before and after calling")
# Messages that the log file keeps and the terminal does not show: 125 lines before the first iteration.
FILE_ONLY: Final = (
    "System environment:",
    "Config:\n",
    "Hooks will be executed",
    "has no metainfo",
    "will be deprecated in future",
    'is the alias of "LocalBackend"',
    "the mlflow server is running",
)
PACKAGES: Final[dict[LogTo, str]] = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}


def check_installed(log_to: tuple[LogTo, ...], flag: str = "--log-to") -> None:
    """Look for the packages before a training starts.

    Args:
        log_to: trackers to log to.
        flag: option that names them, for the error message.

    Raises:
        UsageError: a package is not installed.
    """
    for tracker in log_to:
        if importlib.util.find_spec(PACKAGES[tracker]) is None:
            raise UsageError(
                f"{flag} {tracker}: the package {PACKAGES[tracker]} is not installed; "
                f"pip install 'ltrp-bench[{tracker}]'"
            )


def backends(options: TrainingOptions, config: dict[str, Any]) -> list[dict[str, Any]]:
    """Configs of mmengine's backends: always the JSON lines of the folder, then those of `--log-to`.

    Args:
        options: options of the loop.
        config: everything that determines the weights; shown as the run's parameters.
    """
    found: list[dict[str, Any]] = [{"type": "LocalVisBackend"}]
    for tracker in dict.fromkeys(options.log_to):
        if tracker == "tensorboard":
            found.append({"type": "TensorboardVisBackend"})
        elif tracker == "wandb":
            init = {
                "project": os.environ.get("WANDB_PROJECT", "ltrp-bench"),
                "name": options.out.name,
                "config": config,
                # A resumed training goes on in the same run.
                "id": _run_id(options.out / "wandb_run.txt"),
                "resume": "allow",
                "dir": str(options.out),
            }
            found.append({"type": "WandbRun", "init_kwargs": init})
        else:
            found.append(
                {
                    "type": "MLflowRun",
                    "exp_name": os.environ.get("MLFLOW_EXPERIMENT_NAME", "ltrp-bench"),
                    "run_name": options.out.name,
                    "params": {key: str(value)[:500] for key, value in config.items()},
                    "tracking_uri": os.environ.get("MLFLOW_TRACKING_URI", (options.out / "mlruns").absolute().as_uri()),
                }
            )
    return found


def _run_id(file: Path) -> str:
    """Id of the folder's run, made when it is first asked for."""
    if not file.is_file():
        write_text(file, uuid.uuid4().hex)
    return file.read_text(encoding="utf-8").strip()


@VISBACKENDS.register_module(force=True)
class WandbRun(WandbVisBackend):
    """mmengine's backend for W&B, with iterations as steps; its `close` calls a method that W&B has removed."""

    def add_scalars(self, scalar_dict: dict[str, Any], step: int = 0, file_path: Any = None, **kwargs: Any) -> None:
        """Log the values of an iteration."""
        self.experiment.log(scalar_dict, step=step)

    def close(self) -> None:
        """End the run, so that it is uploaded or, offline, complete on disk."""
        if hasattr(self, "_wandb"):
            self._wandb.finish()


@VISBACKENDS.register_module(force=True)
class MLflowRun(MLflowVisBackend):
    """mmengine's backend for MLflow; its `close` needs a config file and copies the folder into the store."""

    def _init_env(self) -> None:
        # MLflow asks for this word before it writes to a plain folder, which needs no server and no database.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        super()._init_env()

    def close(self) -> None:
        """End the run."""
        if hasattr(self, "_mlflow"):
            self._mlflow.end_run()


class LoggedRunner(Runner):
    """mmengine's Runner, whose 125 lines about the machine go to the log file alone."""

    def build_logger(self, log_level: int | str = "INFO", log_file: str | None = None, **kwargs: Any) -> MMLogger:
        """mmengine's logger with filters."""
        logger = super().build_logger(log_level, log_file, **kwargs)
        logger.addFilter(lambda record: not _has(record, NOISE))
        for handler in logger.handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream in (sys.stdout, sys.stderr):
                handler.addFilter(lambda record: not _has(record, FILE_ONLY))
        return logger


def _has(record: logging.LogRecord, texts: tuple[str, ...]) -> bool:
    message = record.getMessage()
    return any(text in message for text in texts)
