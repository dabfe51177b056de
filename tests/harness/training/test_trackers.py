"""Curves reach TensorBoard, MLflow and W&B; the report on the machine reaches the log file alone."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ltrp_bench.harness.cli.main import run_command
from ltrp_bench.harness.training.options.training import TrainingOptions
from ltrp_bench.harness.training.trackers import backends


def command(out: Path, *log_to: str) -> list[str]:
    options = ["--size", "96", "--iterations", "2", "--batch-size", "2", "--workers", "0"]
    trackers = [word for tracker in log_to for word in ("--log-to", tracker)]
    return ["train", "mae", "--data", "shapes", "--out", str(out), *options, *trackers]


def test_tensorboard_has_the_loss_and_the_terminal_no_report_on_the_machine(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_command(command(tmp_path)) == 0
    (events,) = tmp_path.rglob("events.out.tfevents.*")
    curves = EventAccumulator(str(events))
    curves.Reload()
    (loss,) = curves.Scalars("loss")
    assert loss.step == 2 and 0 < loss.value < 100
    printed = "".join(capfd.readouterr())
    (log,) = tmp_path.rglob("*.log")
    assert "System environment" in log.read_text() and "Hooks will be executed" in log.read_text()
    assert "System environment" not in printed and "Hooks will be executed" not in printed
    assert "Iter(train) [2/2]" in printed and len(printed.splitlines()) < 10


def test_a_missing_package_is_one_line_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "wandb" else found(name, *rest)
    )
    assert run_command(command(tmp_path / "run", "wandb")) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.endswith("--log-to wandb: the package wandb is not installed; pip install 'ltrp-bench[wandb]'")
    assert not (tmp_path / "run").exists()


def test_an_unknown_tracker_is_a_usage_error(tmp_path: Path) -> None:
    assert run_command(command(tmp_path, "comet")) == 2


def test_backends_of_a_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    options = TrainingOptions(out=tmp_path, log_to=("wandb", "mlflow", "wandb"))

    def made() -> list[dict[str, Any]]:
        return backends(options, {"lr": 0.1})

    local, wandb, mlflow = made()
    assert local["type"] == "LocalVisBackend"
    assert mlflow["tracking_uri"] == (tmp_path / "mlruns").as_uri() and mlflow["params"] == {"lr": "0.1"}
    assert wandb["init_kwargs"]["config"] == {"lr": 0.1}
    # A resumed training goes on in the same run.
    assert made()[1]["init_kwargs"]["id"] == wandb["init_kwargs"]["id"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:5000")
    assert made()[2]["tracking_uri"] == "http://localhost:5000"


def test_mlflow_has_the_loss_and_the_parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason="needs the extra `mlflow`")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert run_command(command(tmp_path, "mlflow")) == 0
    (loss,) = (tmp_path / "mlruns").rglob("metrics/loss")
    assert loss.read_text().split()[2] == "2"
    (seed,) = (tmp_path / "mlruns").rglob("params/seed")
    assert seed.read_text() == "0"


def test_wandb_keeps_an_offline_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="needs the extra `wandb`")
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert run_command(command(tmp_path, "wandb")) == 0
    (run,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    assert run.stem == f"run-{(tmp_path / 'wandb_run.txt').read_text()}" and run.stat().st_size > 1000
