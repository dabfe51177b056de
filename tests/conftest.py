"""Fixtures and options of all tests: location of genuine data, golden vectors, slow tests."""

from __future__ import annotations

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    # The processes of pytest-xdist share the cores; torch reads this when it is imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import importlib.util
import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

# No test depends on how busy the machine is.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

ROOT = Path(__file__).resolve().parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--runslow", action="store_true", help="run the slow tests too")
    parser.addoption("--fuzz", type=int, default=300, metavar="N", help="damaged files that tests/fuzz tries a format")
    parser.addoption("--kills", type=int, default=100, metavar="N", help="processes that test_endurance kills")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--runslow"):
        return
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="slow; run with --runslow"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Gives all tests of a file to one process, so that its module fixtures are made once."""
    from xdist.scheduler import LoadFileScheduling

    return LoadFileScheduling(config, log)


@pytest.fixture(autouse=True)
def process_state() -> Iterator[None]:
    """Puts back what a command sets for its whole process: the limit of pixels and what SIGTERM does.

    Both reach every later test of the process, and every process that those start.
    """
    pixels, variable = Image.MAX_IMAGE_PIXELS, os.environ.get("LTRP_BENCH_MAX_PIXELS")
    handler = signal.getsignal(signal.SIGTERM)
    yield
    Image.MAX_IMAGE_PIXELS = pixels
    if variable is None:
        os.environ.pop("LTRP_BENCH_MAX_PIXELS", None)
    else:
        os.environ["LTRP_BENCH_MAX_PIXELS"] = variable
    if signal.getsignal(signal.SIGTERM) is not handler:
        signal.signal(signal.SIGTERM, handler)


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of genuine data and golden vectors; absent on a user's machine, needed in CI."""
    folder = Path(os.environ.get("LTRP_BENCH_SHARED", ROOT.parent / "shared"))
    if not (folder / "golden").is_dir():
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI needs the shared data at {folder}; set LTRP_BENCH_SHARED")
        pytest.skip(f"no shared data at {folder}; set LTRP_BENCH_SHARED")
    return folder


@pytest.fixture(scope="session")
def golden(shared_dir: Path) -> Callable[[str], tuple[dict[str, Any], dict[str, np.ndarray], Any]]:
    """`golden(name)` -> (sizes and options, the reference's outputs, the module that makes weights and images)."""
    file = shared_dir / "golden" / "fill_by_name.py"
    spec = importlib.util.spec_from_file_location("fill_by_name", file)
    assert spec is not None and spec.loader is not None
    fill = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fill)

    def load(name: str) -> tuple[dict[str, Any], dict[str, np.ndarray], Any]:
        meta = json.loads((file.parent / f"{name}.json").read_text())
        with np.load(file.parent / f"{name}.npz") as arrays:
            return meta, {k: arrays[k] for k in arrays.files}, fill

    return load
