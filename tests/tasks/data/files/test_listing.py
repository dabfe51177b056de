from __future__ import annotations

from pathlib import Path

import pytest

from ltrp_bench.tasks.data.files.listing import (
    holds_files,
    is_hidden,
    is_image,
    list_files,
    list_folders,
    natural_key,
)

HIDDEN = ("._a.jpg", ".ipynb_checkpoints/a.jpg", "__MACOSX/a.jpg", "@eaDir/a.jpg", "Thumbs.db", "desktop.ini")


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.mark.parametrize("name", HIDDEN)
def test_hidden_files_are_no_data(tmp_path: Path, name: str) -> None:
    folder = tmp_path / ".cache"  # a hidden folder above says nothing
    touch(folder, name, "x/b.jpg", f"x/{name}")
    assert is_hidden(name) and not is_hidden("x/b.jpg") and not is_hidden("../x/./b.jpg")
    assert list_files(folder, (), recursive=True) == [folder / "x/b.jpg"]
    assert list_folders(folder) == [folder / "x"]


@pytest.mark.parametrize(("name", "expected"), [("a.JPG", True), ("a.tif", True), ("._a.jpg", False), ("a.txt", False)])
def test_images_are_told_by_their_names(name: str, expected: bool) -> None:
    assert is_image(name) is expected and is_image(f"x/{name}") is expected


def test_links_are_followed_once(tmp_path: Path) -> None:
    touch(tmp_path, "set/a.jpg", "elsewhere/deep/b.png", "elsewhere/c.txt")
    (tmp_path / "set" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "circle").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "dangling.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "set" / "folder.jpg").mkdir()
    names = ["a.jpg", "dangling.jpg", "linked/deep/b.png"]
    assert list_files(tmp_path / "set", recursive=True) == [tmp_path / "set" / name for name in names]
    assert list_files(tmp_path / "set") == [tmp_path / "set" / name for name in names[:2]]
    assert holds_files(tmp_path / "set" / "linked") and not holds_files(tmp_path / "set" / "folder.jpg")


def test_names_in_their_natural_order() -> None:
    assert sorted(["10", "2", "b10", "b9", "1", "01"], key=natural_key) == ["1", "01", "2", "10", "b9", "b10"]
