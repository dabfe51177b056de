"""Errors that users see: their bases, exit codes and messages."""

from __future__ import annotations

from ltrp_bench.results.schema.record import ResultsError
from ltrp_bench.selectors.errors import BenchError, InputError, UsageError, nearest, unknown_name


def test_two_errors_reach_the_user() -> None:
    assert BenchError.__subclasses__() == [InputError, UsageError]
    assert issubclass(ResultsError, InputError)
    assert (InputError.exit_code, UsageError.exit_code, ResultsError.exit_code) == (1, 2, 1)


def test_unknown_name_suggests_the_closest() -> None:
    error = unknown_name("selector", "randon", ["random", "center"])
    assert str(error) == "no selector 'randon'; did you mean 'random'?"
    assert str(unknown_name("file", "zzz", ["b", "a"])) == "no file 'zzz'; there are a, b"
    assert str(unknown_name("task", "zzz", ["shapes-cls"])) == "no task 'zzz'; `ltrp-bench list tasks` shows all"


def test_nearest_names() -> None:
    known = ["coco-det", "voc-det", "ade20k-seg"]
    names = ("COCO-DTE", "ade20k", "zzz", "x")
    assert [nearest(name, known) for name in names] == ["coco-det", "ade20k-seg", None, None]
