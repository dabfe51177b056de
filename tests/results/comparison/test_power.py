"""Standard errors of differences against the closed form for means, and rows of the table."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from ltrp_bench.results.comparison.power import COLUMNS, PowerOptions, power_table
from ltrp_bench.selectors.errors import UsageError


def test_errors_are_those_of_paired_means(world: Any) -> None:
    for name, skill in (("ltrp", 0.6), ("evit", 0.3), ("oracle", 0.9)):
        world.cell(name, 0.5, skill, 0.3 if name == "evit" else 0.0)
    differences = world.values(0.6, 0.0, 0.5) - world.values(0.3, 0.3, 0.5)
    error = differences.std() / math.sqrt(len(differences))
    frame = power_table(world.store.root, PowerOptions(difference=0.02, resamples=4000))
    assert tuple(frame.columns) == COLUMNS
    (row,) = frame.to_dict("records")  # references are left out
    assert (row["pairs"], row["images"], row["group"], row["keep_ratio"]) == (1, 120, "all", 0.5)
    assert row["error"] == row["error_max"] == pytest.approx(error, rel=0.05)
    assert row["detectable"] == pytest.approx(2.801585 * row["error"], rel=1e-6)
    assert row["needed"] == math.ceil(120 * (2.801585 * row["error"] / 0.02) ** 2)


def test_the_median_and_the_largest_of_pairs(world: Any) -> None:
    for number, name in enumerate(("ltrp", "evit", "gradcam")):
        world.cell(name, 0.25, 0.6 - 0.1 * number, 0.2 * number)
    options = PowerOptions(groups=("all", "unseen", "gap"))
    frame = power_table(world.store.root, options)
    assert frame["group"].tolist() == ["all", "unseen", "gap"] and frame["pairs"].tolist() == [3, 3, 3]
    assert np.all(frame["error"] <= frame["error_max"]) and np.all(frame["needed"] <= frame["needed_max"])
    chosen = power_table(world.store.root, PowerOptions(selectors=("ltrp", "evit")))
    assert chosen["pairs"].tolist() == [1]


def test_what_cannot_be_told(world: Any) -> None:
    world.cell("ltrp", 0.5, 0.6)
    notices: list[str] = []
    assert len(power_table(world.store.root, PowerOptions(), notices.append)) == 0
    assert notices == ["shapes-coverage: no two selectors with resampling summaries that differ"]
    with pytest.raises(UsageError, match="difference must be positive"):
        power_table(world.store.root, PowerOptions(difference=-1.0))
    with pytest.raises(UsageError, match="no cell has the metric 'no"):
        power_table(world.store.root, PowerOptions(metrics=("no",)))
