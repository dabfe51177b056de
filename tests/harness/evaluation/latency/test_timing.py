"""Clocks and turns, with a clock that tests set: no test here takes the time of anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from ltrp_bench.harness.evaluation.latency.timing import (
    FEWEST_TURNS,
    Clock,
    affordable_turns,
    time_in_turns,
    times_of,
)
from ltrp_bench.results.store.latency import Times


class FakeClock(Clock):
    """Its hands are moved by the calls that are timed."""

    def __init__(self) -> None:
        super().__init__("wall", torch.device("cpu"))
        self.time, self.log = 0.0, []  # type: ignore[var-annotated]
        self.now = lambda: self.time

    def taking(self, name: str, *seconds: float) -> Callable[[], None]:
        """A call that takes these seconds, one after another; the last of them from then on."""
        left = list(seconds)

        def run() -> None:
            self.log.append(name)
            self.time += left.pop(0) if len(left) > 1 else left[0]

        return run


def test_median_and_percentile_of_milliseconds() -> None:
    # Sorted: 1, 2, 3, 4, 10 s. The 90th percentile lies at 0.9 * 4 = 3.6 of the way: 4 + 0.6 * 6.
    times = times_of([3.0, 1.0, 10.0, 2.0, 4.0])
    assert times.median == pytest.approx(3000) and times.p90 == pytest.approx(7600)
    assert times_of([0.5]) == Times(500.0, 500.0)


def test_the_first_call_warms_up_and_is_not_counted() -> None:
    clock = FakeClock()
    seconds = time_in_turns({"a": clock.taking("a", 100.0, 1.0), "b": clock.taking("b", 50.0, 2.0)}, 3, clock)
    assert seconds == {"a": [1.0, 1.0, 1.0], "b": [2.0, 2.0, 2.0]}


def test_every_turn_begins_with_another_variant() -> None:
    clock = FakeClock()
    variants = {name: clock.taking(name, 1.0) for name in "abc"}
    time_in_turns(variants, 4, clock)
    assert "".join(clock.log) == "abc" + "abc" + "bca" + "cab" + "abc"


@pytest.mark.parametrize(("limit", "turns"), [(1000.0, 30), (45.0, 15), (46.9, 15), (1.0, FEWEST_TURNS)])
def test_turns_are_as_many_as_the_seconds_allow(limit: float, turns: int) -> None:
    """A turn takes 3 s; the warm-up, 200 s, says nothing about it."""
    clock = FakeClock()
    variants = {"a": clock.taking("a", 100.0, 1.0), "b": clock.taking("b", 100.0, 2.0)}
    assert affordable_turns(variants, 30, limit, clock) == turns


def test_calls_that_take_no_time_get_all_turns() -> None:
    clock = FakeClock()
    assert affordable_turns({"a": clock.taking("a", 0.0)}, 30, 1.0, clock) == 30


@pytest.mark.parametrize(("device", "module"), [("cuda:1", "cuda"), ("mps", "mps")])
def test_a_gpu_is_waited_for_before_and_after_each_call(
    monkeypatch: pytest.MonkeyPatch, device: str, module: str
) -> None:
    """The call only starts its work, which takes 5 s; work that was started before, 7 s, is not counted."""
    state = {"now": 0.0, "pending": 7.0}
    waited: list[Any] = []

    def synchronize(*where: Any) -> None:
        waited.append(where)
        state["now"] += state.pop("pending")
        state["pending"] = 0.0

    monkeypatch.setattr(getattr(torch, module), "synchronize", synchronize)
    clock = Clock("wall", torch.device(device))
    clock.now = lambda: state["now"]
    assert clock(lambda: state.update(pending=5.0)) == 5.0
    assert waited == ([(torch.device(device),)] * 2 if module == "cuda" else [()] * 2)


def test_processor_time_and_wall_time_are_those_of_the_standard_library() -> None:
    import time

    assert Clock("cpu", torch.device("cpu")).now is time.process_time
    assert Clock("wall", torch.device("cpu")).now is time.perf_counter
