"""`train … --init` and models of tasks with weights from the hub, here from its cache alone."""

from __future__ import annotations

import json
import time
from pathlib import Path

import huggingface_hub.constants
import pytest
from hub_cache import cached_repository

from ltrp_bench.harness.cli.main import run_command
from ltrp_bench.selectors.checkpoints import shipped
from ltrp_bench.tasks.models.detectors.loading import SHAPES_CONFIG, SHAPES_WEIGHTS, load_detector
from ltrp_bench.tasks.models.segmentors.loading import load_plain

SEGMENTOR = SHAPES_WEIGHTS.with_name("segmentor.shapes.safetensors")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def command(out: Path, init: str) -> list[str]:
    options = ["--iterations", "2", "--batch-size", "2", "--workers", "0", "--out", str(out)]
    return ["train", "mae", "--data", "shapes", "--size", "96", "--init", init, *options]


def test_a_training_starts_from_a_repository(cache: Path, tmp_path: Path) -> None:
    cached_repository(cache, "lab/mae", {"model.safetensors": shipped("mae.shapes")})
    assert run_command(command(tmp_path / "hub-run", "hf-hub:lab/mae")) == 0
    assert run_command(command(tmp_path / "file-run", "mae.shapes")) == 0
    (hub,) = (tmp_path / "hub-run").rglob("training.json")
    (file,) = (tmp_path / "file-run").rglob("training.json")
    assert json.loads(hub.read_text())["init_sha256"] == json.loads(file.read_text())["init_sha256"]


def test_a_missing_repository_is_one_line_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begun = time.monotonic()
    assert run_command(command(tmp_path / "run", "hf-hub:lab/none")) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "HF_HUB_OFFLINE is set, and lab/none is not in the hub's cache" in line
    assert time.monotonic() - begun < 20  # the hub is asked for half a minute otherwise


def test_a_detector_and_a_segmentor_of_a_repository(cache: Path) -> None:
    cached_repository(cache, "lab/det", {"rtmdet_shapes.safetensors": SHAPES_WEIGHTS, "README.md": b""})
    found = load_detector(SHAPES_CONFIG, "hf-hub:lab/det")
    assert found.identity == load_detector(SHAPES_CONFIG, SHAPES_WEIGHTS).identity
    cached_repository(cache, "lab/seg", {"a.safetensors": SEGMENTOR, "b.safetensors": SHAPES_WEIGHTS})
    assert load_plain("hf-hub:lab/seg/a.safetensors").identity == load_plain(SEGMENTOR).identity
