from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.data.class_order import class_name, ordered_classes


def test_numbers_are_sorted_as_numbers() -> None:
    names, lines = ordered_classes([str(i) for i in range(12)])
    assert names == tuple(str(i) for i in range(12))
    assert lines == (
        "class folders are whole numbers: labels are in their order (0, 1, 2, 3, ...), not in that of the text "
        "(0, 1, 10, 11, ...); --task-option classes=FILE gives another order, one name per line",
    )
    assert ordered_classes(["02", "00", "01"]) == (("00", "01", "02"), ())
    assert ordered_classes(["7", "5"]) == (
        ("5", "7"),
        ("class folder 5 is label 0, since folders do not count from 0 without gaps",),
    )
    lines = ordered_classes([str(i) for i in range(1, 1001)])[1]
    assert lines[1].endswith("if they are ILSVRC's own ids, labels are wrong")


def test_other_names_are_sorted_as_text_with_a_word_where_timm_differs() -> None:
    assert ordered_classes(["zebra", "Ant", "bee"]) == (("Ant", "bee", "zebra"), ())
    names, lines = ordered_classes(["c2", "c1", "c10"])
    assert names == ("c1", "c10", "c2") and len(lines) == 1
    assert "torchvision has it: 1 is 'c10', in timm's natural order 'c2'" in lines[0]


def test_a_list_gives_the_order(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_bytes("\ufeffdog\r\ncafe\u0301\r\n\r\ncat\r\n".encode())
    assert ordered_classes(["cat", class_name("caf\u00e9")], path) == (("dog", "caf\u00e9", "cat"), ())
    with pytest.raises(InputError, match=r"classes\.txt does not list the class folder 'cow': it must list all"):
        ordered_classes(["cow"], path)
    for text, message in (("a\nb\na\n", "the class 'a' twice"), ("\n", "no classes")):
        path.write_text(text)
        with pytest.raises(InputError, match=rf"lists {message}$"):
            ordered_classes(["a"], path)


def test_names_are_composed() -> None:
    assert class_name(unicodedata.normalize("NFD", "caf\u00e9")) == "caf\u00e9"


@pytest.mark.parametrize("text", ['["dog", "cat"]', '{"cat": 1, "dog": 0}', '{"cat": "1", "dog": "0"}', "dog\n\ncat "])
def test_lists_in_json_and_text(tmp_path: Path, text: str) -> None:
    (tmp_path / "classes").write_text(text)
    assert ordered_classes(["cat", "dog"], tmp_path / "classes") == (("dog", "cat"), ())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"cat": 1, "dog": 2}', "labels must count from 0 without gaps"),
        ("[1", "is no JSON list of names"),
        ("Dog\ncat", r"does not list the class folder 'dog', but 'Dog'"),
    ],
)
def test_lists_that_do_not_fit(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "classes").write_text(text)
    with pytest.raises(InputError, match=message):
        ordered_classes(["cat", "dog"], tmp_path / "classes")
