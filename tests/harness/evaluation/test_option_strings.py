"""Option strings of the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from ltrp_bench.harness.evaluation.option_strings import check_prefix, parse_named_options, parse_weights, split_list
from ltrp_bench.harness.evaluation.recipes import TaskRecipe
from ltrp_bench.selectors.errors import UsageError


def named(*names: str) -> list[TaskRecipe]:
    return [TaskRecipe(name=name) for name in names]


def test_weights_need_a_name_among_several_selectors() -> None:
    assert parse_weights(["a=x.pt", "b=y=1.pt"], ["a", "b"]) == {"a": "x.pt", "b": "y=1.pt"}
    assert parse_weights(["x.pt"], ["a"]) == {"a": "x.pt"}
    with pytest.raises(UsageError, match=r"--weights x.pt: which selector is it for\? write NAME=FILE \(a, b\)"):
        parse_weights(["x.pt"], ["a", "b"])
    assert parse_weights(["ours=x.pt", "a=y.pt"], ["a"], ["ours"]) == {"ours": "x.pt", "a": "y.pt"}


def test_a_misspelled_name_of_weights_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for selectors in (["evit"], ["ltrp", "evit"]):
        with pytest.raises(UsageError, match=r"--weights EVIT=x.pt: 'EVIT' is not in this run; did you mean 'evit'\?"):
            parse_weights(["EVIT=x.pt"], selectors)
    Path("EVIT=x.pt").touch()  # a file's name may hold "="
    assert parse_weights(["EVIT=x.pt"], ["evit"]) == {"evit": "EVIT=x.pt"}
    for text in ("./b=x.pt", "timm:vit=1", "$B=x.pt", "~/b=x"):
        assert parse_weights([text], ["evit"]) == {"evit": text}


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("COCO", "did you mean 'coco-det'?"),
        ("voc-dte", "did you mean 'voc-det'?"),
        ("x", "the run has coco-det, voc-det"),
    ],
)
def test_a_misspelled_prefix_is_named(given: str, meant: str) -> None:
    known = ("coco-det", "voc-det", "coco-det")
    with pytest.raises(UsageError) as caught:
        check_prefix("--data", f"{given}=/there", known)
    assert str(caught.value) == f"--data {given}=/there: {given!r} is not in this run; {meant}"
    check_prefix("--data", "coco-det=/there", known)


def test_lists_of_texts_and_numbers() -> None:
    assert split_list("ltrp,random") == ["ltrp", "random"]
    assert split_list("Lite0, fill,b") == ["Lite0, fill", "b"]
    assert split_list(r"a\,b,c") == ["a,b", "c"]
    assert split_list(".25, .5", spaced=True) == [".25", ".5"]
    assert split_list("a,,") == ["a", "", ""]
    assert split_list("one") == ["one"]


def test_named_options() -> None:
    given = ["a.x=1", "timm:vit.b.y=text", "a.z=[0.5]", "a.x=2"]
    options = parse_named_options(given, named("a", "timm:vit.b"), flag="--o", form="NAME.key=value")
    assert options == [{"x": 2, "z": [0.5]}, {"y": "text"}]


def test_a_name_stands_for_all_of_it_and_a_label_for_one() -> None:
    owners = [TaskRecipe(name="a"), TaskRecipe(name="a", label="ours")]
    options = parse_named_options(["a.x=1", "ours.y=2"], owners, flag="--o", form="NAME.key=value")
    assert options == [{"x": 1}, {"x": 1, "y": 2}]


def test_values_are_parsed_by_the_type_of_their_option() -> None:
    types = {"a": {"x": str, "y": float}, "b": {}}
    options = parse_named_options(
        ["a.x=2017", "a.y=2017", "b.x=2017"], named("a", "b"), flag="--o", form="NAME.key=value", option_types=types.get
    )
    assert options == [{"x": "2017", "y": 2017}, {"x": 2017}]


@pytest.mark.parametrize("text", ["a.x", "x=1", "a.=1", "=1"])
def test_named_options_of_another_form(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_named_options([text], named("a"), flag="--o", form="NAME.key=value")
    assert str(caught.value) == f"--o {text}: write NAME.key=value"


def test_options_of_something_that_does_not_run() -> None:
    with pytest.raises(UsageError, match="--o b.x=1: 'b' is not in this run; the run has a, c"):
        parse_named_options(["b.x=1"], named("a", "c"), flag="--o", form="NAME.key=value")
