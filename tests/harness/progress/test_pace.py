"""The time that remains of a sweep."""

from __future__ import annotations

import pytest

from ltrp_bench.harness.progress.pace import Pace


def test_nothing_is_known_before_some_work_is_done() -> None:
    pace = Pace({"cheap": 100})
    pace.add("cheap", 40, None)  # done by an earlier run
    assert pace.left(5.0) is None


def test_groups_keep_their_own_speed() -> None:
    pace = Pace({"cheap": 100, "dear": 100})
    pace.add("cheap", 90, 9.0)
    pace.add("dear", 10, 100.0)
    # 10 images of .1 s and 90 of 10 s; a mean over both groups would say 100 images of 1.09 s.
    assert pace.left(109.0) == pytest.approx(10 * 0.1 + 90 * 10.0)


def test_groups_without_speed_take_the_mean() -> None:
    pace = Pace({"done": 10, "next": 30})
    pace.add("done", 10, 20.0)
    assert pace.left(20.0) == pytest.approx(30 * 2.0)


def test_several_processes_at_once_halve_the_time() -> None:
    pace = Pace({"one": 40})
    pace.add("one", 20, 40.0)  # 40 seconds of work in 20 of the clock
    assert pace.left(20.0) == pytest.approx(20 * 2.0 / 2)
