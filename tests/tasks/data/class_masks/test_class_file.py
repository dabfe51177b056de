from __future__ import annotations

from pathlib import Path

import pytest

from ltrp_bench.tasks.data.class_masks.class_file import read_classes


@pytest.mark.parametrize(
    "text",
    [
        "0: Unlabeled\n1: cat\n12: sea lion\n",
        "id,name\n1,cat\n12,sea lion",
        "# classes\n1\tcat\n\n12\tsea lion\r\n",
        "1 cat\n12 sea lion",
    ],
)
def test_separators_headings_and_comments(tmp_path: Path, text: str) -> None:
    path = tmp_path / "classes.txt"
    path.write_text("\ufeff" + text, encoding="utf-8")
    assert read_classes(path) == ({1: "cat", 12: "sea lion"}, frozenset({0}))
