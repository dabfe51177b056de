from __future__ import annotations

import codecs
import os
from pathlib import Path

import pytest

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.data.files.text import printable, read_lines, read_text


@pytest.mark.parametrize(
    "raw",
    [
        "a\r\n é \n".encode(),
        codecs.BOM_UTF8 + "a\n é \n".encode(),
        codecs.BOM_UTF16_LE + "a\n é \n".encode("utf-16-le"),
        codecs.BOM_UTF16_BE + "a\r\n é \n".encode("utf-16-be"),
    ],
)
def test_byte_order_marks_are_no_text(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(raw)
    assert read_lines(path) == ["a", "é"]


def test_only_names_may_be_of_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(b"a\ncaf\xe9\n")
    assert os.fsencode(read_lines(path, names=True)[1]) == b"caf\xe9"
    assert printable(read_text(path, names=True)) == "a\ncaf\\udce9\n"
    with pytest.raises(InputError, match=r"list\.txt, line 2: it is not UTF-8; save it as UTF-8$"):
        read_lines(path)
    with pytest.raises(InputError, match=r"^cannot read .*none\.txt: No such file or directory$"):
        read_text(tmp_path / "none.txt")
