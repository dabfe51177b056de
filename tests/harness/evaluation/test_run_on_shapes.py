"""A sweep on the built-in data set, interrupted and resumed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import toy_bench as toy

from ltrp_bench.harness.evaluation.options import Request
from ltrp_bench.harness.evaluation.plan import plan
from ltrp_bench.harness.evaluation.request import resolve_request
from ltrp_bench.results.leaderboard.aggregate import aggregate_cells


def _groups() -> list[object]:
    request = Request(selectors=("random", "variance", "oracle"), tasks=("shapes-coverage",), shared={"limit": 80})
    return list(plan(resolve_request(request, print), [0.25, 0.5], [0, 1], print))


def test_shapes_coverage_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    records = toy.sweep(tmp_path / "whole", groups=_groups())
    for finished in (0, 1, 2):
        with pytest.raises(KeyboardInterrupt):
            toy.sweep(tmp_path / "parts", toy.Recorder(interrupt_after=finished), groups=_groups(), workers=finished)
    toy.sweep(tmp_path / "parts", groups=_groups(), batch_size=3)
    assert toy.contents(tmp_path / "whole") == toy.contents(tmp_path / "parts")

    frame = aggregate_cells(records).set_index(["keep_ratio", "selector"])
    assert frame["complete"].all()
    assert frame.loc[(0.25, "oracle"), "all"] > 0.95
    assert frame.loc[(0.25, "random"), "all"] == pytest.approx(0.25, abs=0.05)
    assert frame.loc[(0.25, "random"), "seeds"] == 2


def test_a_detector_gives_the_same_bytes_whatever_threads_torch_has(tmp_path: Path) -> None:
    request = Request(selectors=("gradcam",), tasks=("shapes-det",), shared={"limit": 3})
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            toy.sweep(tmp_path / str(threads), groups=plan(resolve_request(request, print), [0.5], [0], print))
    finally:
        torch.set_num_threads(before)
    assert toy.contents(tmp_path / "1") == toy.contents(tmp_path / "2")
