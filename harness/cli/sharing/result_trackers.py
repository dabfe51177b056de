"""Where `results log` writes: TensorBoard, Weights & Biases or MLflow.

The packages' own environment variables name servers, projects and experiments, as for `train … --log-to`. What the
packages would add of themselves (user, host, command line, code) is left out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd

PROJECT: Final = "ltrp-bench"


@dataclass(frozen=True, kw_only=True)
class LoggedResults:
    """Results of one run folder.

    Attributes:
        name: name of the run.
        about: parameter -> value: what was run.
        curves: step -> name -> value; steps are thousandths of the keep ratio, in ascending order.
        table: the leaderboard.
        files: the leaderboard as files.
    """

    name: str
    about: Mapping[str, str]
    curves: Mapping[int, Mapping[str, float]]
    table: pd.DataFrame
    files: Sequence[Path]


def log_to_tensorboard(results: LoggedResults, folder: Path) -> str:
    """Write events into a folder, in place of those of an earlier call; return where they are."""
    from torch.utils.tensorboard import SummaryWriter

    suffix = f".{PROJECT}"
    for old in folder.glob(f"events.out.tfevents.*{suffix}"):
        old.unlink()
    writer = SummaryWriter(str(folder), filename_suffix=suffix)  # type: ignore[no-untyped-call]
    (markdown,) = (file for file in results.files if file.suffix == ".md")
    writer.add_text("leaderboard", markdown.read_text(encoding="utf-8"), 0)  # type: ignore[no-untyped-call]
    about = "\n".join(f"- {name}: {value}" for name, value in results.about.items())
    writer.add_text("about", about, 0)  # type: ignore[no-untyped-call]
    for step, values in results.curves.items():
        for name, value in values.items():
            writer.add_scalar(name, value, step)  # type: ignore[no-untyped-call]
    writer.close()  # type: ignore[no-untyped-call]
    for number, file in enumerate(sorted(folder.glob(f"events.out.tfevents.*{suffix}"))):
        file.rename(folder / f"events.out.tfevents.{number}{suffix}")  # its name holds that of the host
    return f"tensorboard --logdir {folder}"


def log_to_wandb(results: LoggedResults, folder: Path) -> str:
    """Send a run to W&B or, with WANDB_MODE=offline, write it below a folder; return where it is."""
    import wandb

    folder.mkdir(parents=True, exist_ok=True)
    hidden = {"x_disable_meta": True, "disable_git": True, "disable_code": True, "host": "host", "username": "user"}
    with wandb.init(
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        name=results.name,
        config=dict(results.about),
        dir=str(folder),
        settings=wandb.Settings(console="off", silent=True, **hidden),
    ) as run:
        for step, values in results.curves.items():
            run.log(dict(values), step=step)
        texts = results.table.astype(object).where(results.table.notna(), None)
        run.log({"leaderboard": wandb.Table(columns=list(texts.columns), data=texts.values.tolist())})
        artifact = wandb.Artifact("leaderboard", type="leaderboard")
        for file in results.files:
            artifact.add_file(str(file))
        run.log_artifact(artifact)
        return f"wandb sync {Path(run.dir).parent}" if run.offline else str(run.url)


def log_to_mlflow(results: LoggedResults, folder: Path) -> str:
    """Send a run to the server of MLFLOW_TRACKING_URI, or write it into a store in a folder; return where it is."""
    # MLflow asks for this word before it writes to a plain folder, which needs no server and no database.
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    import mlflow

    place = os.environ.get("MLFLOW_TRACKING_URI", folder.absolute().as_uri())
    mlflow.set_tracking_uri(place)
    mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT))
    hidden = {"mlflow.user": "user", "mlflow.source.name": PROJECT, "mlflow.source.type": "LOCAL"}
    with mlflow.start_run(run_name=results.name, tags=hidden):
        mlflow.log_params({name: value[:500] for name, value in results.about.items()})
        for step, values in results.curves.items():
            mlflow.log_metrics(dict(values), step=step)
        for file in results.files:
            mlflow.log_artifact(str(file))
    return place if "MLFLOW_TRACKING_URI" in os.environ else f"mlflow ui --backend-store-uri {folder}"


TRACKERS: Final[Mapping[str, tuple[str, Callable[[LoggedResults, Path], str]]]] = {
    "tensorboard": ("", log_to_tensorboard),
    "wandb": ("", log_to_wandb),
    "mlflow": ("mlruns", log_to_mlflow),
}
"""Tracker -> folder below that of the logs, and the function that writes to it. W&B makes its own folder."""


def unique_names(names: Sequence[str]) -> list[str]:
    """Names in the letters that all trackers take, told apart by a number where they would become equal."""
    taken: dict[str, str] = {}
    out: list[str] = []
    for name in names:
        plain = "".join(one if one.isascii() and (one.isalnum() or one in "_-. ") else "-" for one in name)
        base, number = plain, 1
        while taken.setdefault(plain, name) != name:
            number += 1
            plain = f"{base} {number}"
        out.append(plain)
    return out
