"""Option strings of the command line."""

from __future__ import annotations

from typing import Any

import pytest

from ltrp_bench.harness.evaluation.option_strings import parse_named_options, parse_value, parse_weights
from ltrp_bench.selectors.errors import UsageError


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("0.5", 0.5), ("true", True), ("null", None), ("[1, 2]", [1, 2]), ("vit_tiny", "vit_tiny"), ("", "")],
)
def test_values_are_json_or_text(text: str, value: Any) -> None:
    parsed = parse_value(text)
    assert parsed == value and type(parsed) is type(value)


def test_weights_need_a_name_among_several_selectors() -> None:
    assert parse_weights(["a=x.pt", "b=y=1.pt"], ["a", "b"]) == {"a": "x.pt", "b": "y=1.pt"}
    assert parse_weights(["x.pt"], ["a"]) == {"a": "x.pt"}
    assert parse_weights(["b=x.pt"], ["a"]) == {"a": "b=x.pt"}  # a file's name may hold "="
    with pytest.raises(UsageError, match=r"--weights x.pt: which selector is it for\? write NAME=FILE \(a, b\)"):
        parse_weights(["x.pt"], ["a", "b"])


def test_named_options() -> None:
    given = ["a.x=1", "timm:vit.b.y=text", "a.z=[0.5]", "a.x=2"]
    options = parse_named_options(given, ["a", "timm:vit.b"], flag="--o", form="NAME.key=value")
    assert options == {"a": {"x": 2, "z": [0.5]}, "timm:vit.b": {"y": "text"}}


@pytest.mark.parametrize("text", ["a.x", "x=1", "a.=1", "=1"])
def test_named_options_of_another_form(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_named_options([text], ["a"], flag="--o", form="NAME.key=value")
    assert str(caught.value) == f"--o {text}: write NAME.key=value"


def test_options_of_something_that_does_not_run() -> None:
    with pytest.raises(UsageError, match=r"--o b.x=1: 'b' is not in this run \(a, c\)"):
        parse_named_options(["b.x=1"], ["a", "c"], flag="--o", form="NAME.key=value")
