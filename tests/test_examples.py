"""The notebooks in examples/: they run from top to bottom, and what is stored of their outputs is small and private."""

from __future__ import annotations

import getpass
import json
import os
import re
import socket
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
MAX_BYTES = 600_000


def outputs(notebook: Any) -> list[Any]:
    return [one for cell in notebook["cells"] if cell["cell_type"] == "code" for one in cell["outputs"]]


def executed(name: str, folder: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The notebook after it ran in an empty folder. Raises CellExecutionError if a cell fails."""
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient").NotebookClient
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    notebook = nbformat.read(EXAMPLES / name, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    client(notebook, timeout=1200, kernel_name="python3", resources=resources).execute()
    return notebook


def test_there_are_two_notebooks() -> None:
    assert [one.name for one in NOTEBOOKS] == ["coco.ipynb", "quickstart.ipynb"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda one: one.stem)
def test_stored_outputs_are_small_and_hold_nothing_of_a_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text) < MAX_BYTES
    shown = json.dumps([one for one in outputs(json.loads(text))])
    words = re.sub(r'"image/png": "[^"]*"', "", shown)
    assert not re.search(r"/(home|work|root|tmp|Users|usr|mnt)/", words)
    for private in (socket.gethostname(), getpass.getuser()):
        assert not re.search(rf"\b{re.escape(private)}\b", words) or private in ("runner", "user", "test")
    assert all(one["output_type"] != "error" for one in outputs(json.loads(text)))


@pytest.mark.slow
def test_the_quickstart_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = executed("quickstart.ipynb", tmp_path, {}, monkeypatch)
    shown = outputs(notebook)
    assert not [one for one in shown if one["output_type"] == "stream" and one["name"] == "stderr"]
    plain = "\n".join(str(one.get("data", {}).get("text/plain", "")) for one in shown)
    assert "200/200 images · 200 evaluated now · done" in plain and "Results(15 cells in 'runs')" in plain
    assert sum("image/png" in one.get("data", {}) for one in shown) == 3
    assert len(list((tmp_path / "runs" / "cells").glob("*.json"))) == 15
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "runs" / "records").iterdir()}
    again = executed("quickstart.ipynb", tmp_path, {}, monkeypatch)
    assert any("200/200 images · 0 evaluated now · done" in str(one.get("data")) for one in outputs(again))
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "runs" / "records").iterdir()} == before


@pytest.mark.slow
def test_a_coco_folder_with_a_real_detector(tmp_path: Path, shared_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = shared_dir / "data"
    environment = {
        "COCO_FOLDER": os.fspath(data / "coco"),
        "DETECTOR_WEIGHTS": os.fspath(data / "weights" / "yolox_nano_coco.pth"),
        "IMAGES": "4",
    }
    notebook = executed("coco.ipynb", tmp_path, environment, monkeypatch)
    plain = "\n".join(str(one.get("data", {}).get("text/plain", "")) for one in outputs(notebook))
    assert "done" in plain and "Results(21 cells in 'runs-coco')" in plain
