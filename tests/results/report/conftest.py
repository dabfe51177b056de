"""A leaderboard to draw, and a browser to show reports in."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest

from ltrp_bench.results.leaderboard.build import load_leaderboard


@pytest.fixture(scope="module")
def frame(module_world: Any) -> pd.DataFrame:
    """A leaderboard of five selectors at three keep ratios, one cell missing, and one cell of another task."""
    world = module_world
    for place, name in enumerate(("ltrp.shapes", "evit.shapes0", "variance", "center", "random")):
        for ratio in (0.25, 0.5, 1.0):
            if (name, ratio) == ("evit.shapes0", 0.5):
                continue
            cost = {"selector_ms": 1.0 + place, "selector_gflops": 0.1, "model_ms": 10 * ratio}
            world.cell(name, ratio, 0.8 - 0.1 * place, 0.03 * place, task="shapes-cls", reduction="drop", cost=cost)
    world.cell("ltrp.shapes", 0.25, 0.8, task="shapes-coverage")
    return load_leaderboard(world.store.root).frame


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = shutil.which("chromium")
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI needs Debian's chromium: .ci/run installs it")
        pytest.skip("no chromium on this machine")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        own = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield own
        own.close()
