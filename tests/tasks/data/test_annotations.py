from __future__ import annotations

import pytest

from ltrp_bench.tasks.data.annotations import size_bucket


@pytest.mark.parametrize(
    ("area", "bucket"),
    [(0, "small"), (1023.9, "small"), (1024, "medium"), (9215.9, "medium"), (9216, "large"), (1e9, "large")],
)
def test_size_buckets_are_cocos(area: float, bucket: str) -> None:
    assert size_bucket(area) == bucket
