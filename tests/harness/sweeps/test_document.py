"""YAML files with the lines of their values."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import pytest

from ltrp_bench.harness.sweeps.document import Document, dump, read_document
from ltrp_bench.selectors.errors import InputError, UsageError

TEXT = """\
# a comment
base: &base
  weights: w.pth
selectors:
  - random
  - <<: *base
    name: ltrp
    options:
      heads: 3
rate: 1e-3
"""


def read(folder: Path, text: str | bytes) -> Document:
    file = folder / "s.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_document(file, "s.yaml")


def test_values_and_their_lines(tmp_path: Path) -> None:
    document = read(tmp_path, "\ufeff" + TEXT)
    assert document.data["selectors"] == ["random", {"weights": "w.pth", "name": "ltrp", "options": {"heads": 3}}]
    assert document.data["rate"] == 0.001
    lines = {
        (): 2,
        ("selectors",): 4,
        ("selectors", 0): 5,
        ("selectors", 0, "name"): 5,  # a name alone
        ("selectors", 1): 6,
        ("selectors", 1, "name"): 7,
        ("selectors", 1, "options", "heads"): 9,
        ("selectors", 1, "weights"): 3,  # where the anchor is
        ("selectors", 1, "label"): 6,  # nothing there: the table
        ("selectors", 5, "label"): 4,
        ("rate",): 10,
    }
    assert {location: document.line(location) for location in lines} == lines
    assert document.at(("rate",)) == "s.yaml:10"


def test_an_error_within_a_place_keeps_its_kind(tmp_path: Path) -> None:
    document = read(tmp_path, TEXT)
    for kind in (InputError, UsageError):
        place = document.located(("selectors", 1, "options", "heads"))
        with pytest.raises(kind, match=r"^s\.yaml:9: no such head$"), place:
            raise kind("no such head")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "s.yaml is empty"),
        ("# nothing\n", "s.yaml is empty"),
        ("a: 1\nb: [1\nc: 2\n", "s.yaml:3: no valid YAML: expected ',' or ']', but got ':'"),
        ("a:\n\t- 1\n", "s.yaml:2: no valid YAML: found character '\\t' that cannot start any token"),
        ("a: 1\n---\na: 2\n", "s.yaml:2: no valid YAML: but found another document"),
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "s.yaml:4: 'c' is given twice"),
        ("a: &x\n  b: *x\n", "s.yaml:1: an alias within its own anchor"),
        ("a: !!python/name:os.system\n", "s.yaml:1: no valid YAML: could not determine a constructor"),
        (b"a: \xff\n", "s.yaml is no text in UTF-8"),
        ("a: 2020-13-45\n", "s.yaml: no valid YAML: month must be in 1..12"),
    ],
)
def test_what_is_no_yaml_is_one_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


def test_standard_input_and_a_file_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"a: 1\nb: 2\n")))
    document = read_document("-")
    assert document.data == {"a": 1, "b": 2} and document.at(("b",)) == "standard input:2"
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_document(tmp_path / "none.yaml")
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        read_document(tmp_path)


def test_written_text_is_read_again(tmp_path: Path) -> None:
    data = {"b": 1e-07, "a": ["é", "2017", "no", None, {"x": [0.25, True]}]}
    text = dump(data)
    assert list(read(tmp_path, text).data) == ["b", "a"] and read(tmp_path, text).data == data and "é" in text
