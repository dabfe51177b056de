"""Options against signatures: names, types, choices and ranges."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np
import pytest
from typing_extensions import Unpack

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.option_checks import (
    check_name,
    check_options,
    check_value,
    check_whole,
    option_types,
    parse_option,
    signature_of,
)


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
        pairs: Sequence[Sequence[float]] | None = None,
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
    {"count": np.int64(3)},
    {"share": np.float32(0.5)},
    {"pairs": [[1, 2.5], (3, 4)]},
]


@pytest.mark.parametrize("options", GOOD)
def test_values_that_fit(options: dict[str, Any]) -> None:
    check_options("selector 'x'", Takes, {"weights": "file", **options})


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"flag": "no"}, "flag must be true or false, got 'no'"),
        ({"flag": 1}, "flag must be true or false, got 1"),
        ({"count": 2.0}, "count must be a whole number or null, got 2.0"),
        ({"count": True}, "count must be a whole number or null, got True"),
        ({"share": "half"}, "share must be a number, got 'half'"),
        ({"share": True}, "share must be a number, got True"),
        ({"share": None}, "share must be a number, got None"),
        ({"rule": "c"}, "rule must be one of a, b, got 'c'"),
        ({"stages": [1, "2"]}, "stages must be a list of whole numbers or null, got [1, '2']"),
        ({"stages": 3}, "stages must be a list of whole numbers or null, got 3"),
        ({"pairs": [[1, 2], 3]}, "pairs must be a list, each a list of numbers or null, got [[1, 2], 3]"),
        ({"target": 0.5}, "target must be text or a whole number, got 0.5"),
        ({"weights": 3}, "weights must be text or a path, got 3"),
    ],
)
def test_values_that_do_not_fit(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_options("selector 'x'", Takes, {"weights": "file", **options})
    assert str(caught.value) == f"selector 'x': {says}"


def test_names() -> None:
    with pytest.raises(UsageError, match="^selector 'x' has no option 'sise'; its options: size$"):
        check_options("selector 'x'", factory, {"sise": 3})
    with pytest.raises(UsageError, match="missing a required argument: 'weights'; its options: weights, flag, "):
        check_options("selector 'x'", Takes, {})
    with pytest.raises(UsageError, match="has no option 'flog'; its options: flag, count, share, rule, "):
        check_options("selector 'x'", Takes, {"flog": True}, unlisted=("weights",))
    with pytest.raises(UsageError, match="its options: none"):
        check_options("selector 'x'", lambda: None, {"a": 1})
    check_options("selector 'x'", lambda **options: options, {"a": 1})


def test_a_name_of_a_table() -> None:
    check_name("task 'y'", "fold", {"fold": 0})
    with pytest.raises(UsageError, match="^task 'y' has no option 'fould'; its options: fold, images$"):
        check_name("task 'y'", "fould", {"fold": 0, "images": 3})


def test_annotations_that_cannot_be_resolved_are_not_checked() -> None:
    def local(size: Missing = 3) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    check_options("selector 'x'", local, {"size": "anything"})


def test_choices() -> None:
    choices = Literal["a", 1]
    check_value("x", "rule", "a", choices)
    check_value("x", "rule", 1, choices)
    check_value("x", "rule", np.int64(1), choices)
    for value in ("b", True, 1.0, "1"):
        with pytest.raises(UsageError, match="x: rule must be one of a, 1, got"):
            check_value("x", "rule", value, choices)


@pytest.mark.parametrize("value", [1, 2, 3, np.int64(2)])
def test_whole_numbers_in_range(value: int) -> None:
    check_whole("x", "n", value, 1, 3)


@pytest.mark.parametrize("value", [0, 4, 2.0, True, "2", None])
def test_whole_numbers_out_of_range(value: Any) -> None:
    with pytest.raises(UsageError, match="x: n must be a whole number from 1 to 3, got"):
        check_whole("x", "n", value, 1, 3)
    if value != 4:
        with pytest.raises(UsageError, match="x: n must be a whole number from 1 on, got"):
            check_whole("x", "n", value, 1)


def test_what_the_caller_gives_is_neither_listed_nor_checked() -> None:
    def build(weights: str, size: int = 1) -> None: ...

    check_options("selector 'x'", build, {"weights": Path("w.pth"), "size": 2}, unlisted=("weights",))
    with pytest.raises(UsageError, match="its options: size$"):
        check_options("selector 'x'", build, {"weights": Path("w.pth"), "side": 2}, unlisted=("weights",))


@pytest.mark.parametrize(
    ("text", "hint", "value"),
    [
        *((text, hint, text) for text in ("2017", "1e3", "true", "null", "[1]") for hint in (str, Path, str | None)),
        ('"2017"', str, "2017"),
        ("3", int, 3),
        ("3", float, 3),
        (".5", float, 0.5),
        ("1e-3", float | None, 0.001),
        ("null", int | None, None),
        ("[3, 4]", int | Sequence[int] | None, [3, 4]),
        ("7", int | Sequence[int], 7),
        ("7", str | int, 7),
        ("x", str | int, "x"),
        ("true", str | int, "true"),
        ("1", Literal["1", "2"], "1"),
        ("1", Literal[0, 1], 1),
        ("a", Literal["a", "b"] | None, "a"),
        ("1", bool, True),
        ("False", bool, False),
        ("no", bool | None, False),
        ("x", int, "x"),
        ("nan", float, "nan"),
        ("2017", Any, 2017),
        ('{"a": 1}', dict[str, int] | None, {"a": 1}),
    ],
)
def test_text_of_the_command_line_is_parsed_by_the_type(text: str, hint: Any, value: Any) -> None:
    parsed = parse_option(text, hint)
    assert parsed == value and type(parsed) is type(value)


def test_types_of_options_follow_annotations_then_defaults() -> None:
    def plain(name="x", count=3, other=None, *, flag: bool = False) -> None: ...  # type: ignore[no-untyped-def]

    assert option_types(plain) == {"name": str, "count": int, "other": Any, "flag": bool}
    assert option_types(Takes)["target"] == str | int


class Shared(TypedDict, total=False):
    heads: int | None
    mean: Sequence[float] | None


def test_options_that_callables_share_count_as_their_own() -> None:
    def build(weights: str, *, rate: float = 0.5, **shared: Unpack[Shared]) -> None: ...

    def free(**anything: int) -> None: ...

    assert list(signature_of(build).parameters) == ["weights", "rate", "heads", "mean"]
    assert signature_of(build).parameters["heads"].default is None
    assert option_types(build)["heads"] == int | None
    check_options("it", build, {"weights": "a", "heads": 3, "mean": [0.5]})
    with pytest.raises(UsageError, match="it has no option 'head'; its options: weights, rate, heads, mean"):
        check_options("it", build, {"weights": "a", "head": 3})
    with pytest.raises(UsageError, match="it: heads must be"):
        check_options("it", build, {"weights": "a", "heads": "x"})
    check_options("it", free, {"whatever": 1})


class _Base:
    """Takes all options that there are."""

    def __init__(self, weights: str, *, rule: Literal["mean", "max"] = "mean", heads: int | None = None) -> None: ...


class _Middle(_Base):
    def __init__(self, weights: str, *, size: int = 224, **options: Any) -> None: ...


class _Leaf(_Middle):
    def __init__(self, weights: str, *, heads: int = 12, **options: Any) -> None: ...


class _Free(_Base):
    def __init__(self, weights: str, **anything: Any) -> None: ...


class _Alone:
    def __init__(self, **options: Any) -> None: ...


def test_options_that_a_constructor_passes_on_are_those_of_its_base_classes() -> None:
    parameters = signature_of(_Leaf).parameters
    assert {name: one.default for name, one in parameters.items() if name != "weights"} == {
        "heads": 12,
        "size": 224,
        "rule": "mean",
    }
    assert option_types(_Leaf) == {"weights": str, "heads": int, "size": int, "rule": Literal["mean", "max"]}
    check_options("s", _Leaf, {"weights": "w", "rule": "max", "size": 8})
    with pytest.raises(UsageError, match="s has no option 'roule'; its options: weights, heads, size, rule"):
        check_options("s", _Leaf, {"weights": "w", "roule": "max"})
    with pytest.raises(UsageError, match="s: rule must be one of mean, max, got 'min'"):
        check_options("s", _Leaf, {"weights": "w", "rule": "min"})


def test_other_collections_of_options_stay_open() -> None:
    check_options("s", _Free, {"weights": "w", "whatever": 1})
    check_options("s", _Alone, {"whatever": 1})
    assert list(signature_of(_Free).parameters) == ["weights", "anything"]
