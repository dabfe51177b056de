from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.base import Downsample, Keep
from ltrp_bench.tasks.catalog import shapes_seg


def test_results_do_not_depend_on_the_batch() -> None:
    task = shapes_seg(images=5, random_weights=0)
    samples = [task.load(i) for i in range(5)]
    rng = np.random.default_rng(0)
    keeps: list[Any] = [Keep(rng.permutation(144).reshape(12, 12) < k) for k in (30, 50, 30, 144)]
    keeps.append(Downsample(0.25))
    together = task.predict(samples, keeps)
    assert together == [task.predict([s], [k])[0] for s, k in zip(samples, keeps, strict=True)]
    assert sum(row["pixels"] for row in together[0]) == 96 * 96
    with pytest.raises(InputError, match="the grid is"):
        task.predict(samples[:1], [Keep(np.ones((3, 3), bool))])
