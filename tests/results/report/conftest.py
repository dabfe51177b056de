"""A leaderboard to draw: five selectors at three keep ratios, one cell missing, and one cell of another task."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from ltrp_bench.results.leaderboard.build import load_leaderboard


@pytest.fixture(scope="module")
def frame(module_world: Any) -> pd.DataFrame:
    world = module_world
    for place, name in enumerate(("ltrp.shapes", "evit.shapes0", "variance", "center", "random")):
        for ratio in (0.25, 0.5, 1.0):
            if (name, ratio) == ("evit.shapes0", 0.5):
                continue
            cost = {"selector_ms": 1.0 + place, "selector_gflops": 0.1, "model_ms": 10 * ratio}
            world.cell(name, ratio, 0.8 - 0.1 * place, 0.03 * place, task="shapes-cls", reduction="drop", cost=cost)
    world.cell("ltrp.shapes", 0.25, 0.8, task="shapes-coverage")
    return load_leaderboard(world.store.root).frame
