"""Option strings of the command line."""

from __future__ import annotations

import pytest

from ltrp_bench.harness.evaluation.option_strings import parse_named_options, parse_weights
from ltrp_bench.selectors.errors import UsageError


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


def test_values_are_parsed_by_the_type_of_their_option() -> None:
    types = {"a": {"x": str, "y": float}, "b": {}}
    options = parse_named_options(
        ["a.x=2017", "a.y=2017", "b.x=2017"], ["a", "b"], flag="--o", form="NAME.key=value", option_types=types.get
    )
    assert options == {"a": {"x": "2017", "y": 2017}, "b": {"x": 2017}}


@pytest.mark.parametrize("text", ["a.x", "x=1", "a.=1", "=1"])
def test_named_options_of_another_form(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_named_options([text], ["a"], flag="--o", form="NAME.key=value")
    assert str(caught.value) == f"--o {text}: write NAME.key=value"


def test_options_of_something_that_does_not_run() -> None:
    with pytest.raises(UsageError, match=r"--o b.x=1: 'b' is not in this run \(a, c\)"):
        parse_named_options(["b.x=1"], ["a", "c"], flag="--o", form="NAME.key=value")
