"""Options of a run."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields

import pytest

from ltrp_bench.harness.evaluation.options import Request, SweepOptions


@pytest.mark.parametrize(
    ("device", "batch_size", "effective"), [("cpu", 16, 1), ("cuda:1", 16, 16), ("mps", 5, 5), ("cuda", 0, 1)]
)
def test_a_cpu_takes_one_image_at_a_time(device: str, batch_size: int, effective: int) -> None:
    assert SweepOptions(device=device, batch_size=batch_size).effective_batch_size == effective


def test_options_are_frozen_and_keyword_only() -> None:
    with pytest.raises(FrozenInstanceError):
        SweepOptions().workers = 3  # type: ignore[misc]
    assert all(field.kw_only for kind in (SweepOptions, Request) for field in fields(kind))
