"""Options against signatures: names, types, choices and ranges."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.option_checks import check_options, check_value, check_whole, option_names


class Takes:
    def __init__(
        self,
        weights: str | Path,
        *,
        flag: bool = False,
        count: int | None = None,
        share: float = 0.5,
        rule: Literal["a", "b"] = "a",
        stages: Sequence[int] | None = None,
        target: str | int = "predicted",
        other: dict[str, int] | None = None,
        free=None,  # type: ignore[no-untyped-def]
    ) -> None: ...


def factory(size: int = 3) -> object:
    return size


GOOD: list[dict[str, Any]] = [
    {"flag": True},
    {"count": 3},
    {"count": None},
    {"share": 1},
    {"share": 0.25},
    {"rule": "b"},
    {"stages": [1, 2]},
    {"stages": (3,)},
    {"stages": None},
    {"target": "top-3"},
    {"target": 5},
    {"weights": Path("a")},
    {"other": {"a": 1}},
    {"free": object()},
]


@pytest.mark.parametrize("options", GOOD)
def test_values_that_fit(options: dict[str, Any]) -> None:
    check_options("selector 'x'", Takes, {"weights": "file", **options})


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"flag": "no"}, "flag is true or false, got 'no'"),
        ({"flag": 1}, "flag is true or false, got 1"),
        ({"count": 2.0}, "count is a whole number or null, got 2.0"),
        ({"count": True}, "count is a whole number or null, got True"),
        ({"share": "half"}, "share is a number, got 'half'"),
        ({"share": True}, "share is a number, got True"),
        ({"share": None}, "share is a number, got None"),
        ({"rule": "c"}, "rule is one of a, b, got 'c'"),
        ({"stages": [1, "2"]}, "stages is a list, each a whole number or null, got [1, '2']"),
        ({"stages": 3}, "stages is a list, each a whole number or null, got 3"),
        ({"target": 0.5}, "target is text or a whole number, got 0.5"),
        ({"weights": 3}, "weights is text or a path, got 3"),
    ],
)
def test_values_that_do_not_fit(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_options("selector 'x'", Takes, {"weights": "file", **options})
    assert str(caught.value) == f"selector 'x': {says}"


def test_names() -> None:
    assert option_names(Takes) == ["flag", "count", "share", "rule", "stages", "target", "other", "free"]
    assert option_names(factory) == ["size"]
    with pytest.raises(UsageError, match="selector 'x': got an unexpected keyword argument 'sise'; its options: size"):
        check_options("selector 'x'", factory, {"sise": 3})
    with pytest.raises(UsageError, match="missing a required argument: 'weights'; its options: flag, "):
        check_options("selector 'x'", Takes, {})
    with pytest.raises(UsageError, match="its options: none"):
        check_options("selector 'x'", lambda: None, {"a": 1})


def test_annotations_that_cannot_be_resolved_are_not_checked() -> None:
    def local(size: Missing = 3) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    check_options("selector 'x'", local, {"size": "anything"})


def test_choices() -> None:
    choices = Literal["a", 1]
    check_value("x", "rule", "a", choices)
    check_value("x", "rule", 1, choices)
    for value in ("b", True, "1"):
        with pytest.raises(UsageError, match="x: rule is one of a, 1, got"):
            check_value("x", "rule", value, choices)


@pytest.mark.parametrize("value", [1, 2, 3])
def test_whole_numbers_in_range(value: int) -> None:
    check_whole("x", "n", value, 1, 3)


@pytest.mark.parametrize("value", [0, 4, 2.0, True, "2", None])
def test_whole_numbers_out_of_range(value: Any) -> None:
    with pytest.raises(UsageError, match="x: n is a whole number from 1 to 3, got"):
        check_whole("x", "n", value, 1, 3)
    if value != 4:
        with pytest.raises(UsageError, match="x: n is a whole number from 1 on, got"):
            check_whole("x", "n", value, 1)
