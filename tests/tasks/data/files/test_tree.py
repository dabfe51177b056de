from __future__ import annotations

import unicodedata
from pathlib import Path

from ltrp_bench.tasks.data.files.tree import FileTree


def test_paths_are_found_in_another_case_or_unicode_form(tmp_path: Path) -> None:
    (tmp_path / "Images" / unicodedata.normalize("NFD", "é")).mkdir(parents=True)
    (tmp_path / "Images" / "List.TXT").touch()
    tree = FileTree(tmp_path)
    assert tree.find("images/list.txt") == tmp_path / "Images" / "List.TXT" == tree.path("IMAGES/list.txt")
    composed = f"images/{unicodedata.normalize('NFC', 'é')}"
    assert tree.folder(composed) == tmp_path / "Images" / unicodedata.normalize("NFD", "é")
    assert tree.folder("images/list.txt") is None and tree.folder("none", "images") == tmp_path / "Images"
    assert tree.find("none/images") is None and tree.path("none/images") == tmp_path / "none" / "images"


def test_the_exact_name_comes_first_and_several_others_are_none(tmp_path: Path) -> None:
    for name in ("Val", "VAL", "validation"):
        (tmp_path / name).mkdir()
    assert FileTree(tmp_path).find("val") is None
    assert FileTree(tmp_path).find("VAL") == tmp_path / "VAL"
    assert FileTree(tmp_path).find("val", "validation") == tmp_path / "validation"
