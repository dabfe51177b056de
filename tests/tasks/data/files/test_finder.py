"""Spellings of file names: each is found in the right file, and never where two fit."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from ltrp_bench.tasks.data.files.finder import FileFinder

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "café.jpg") for form in ("NFC", "NFD"))


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("a.jpg", "a.jpg"),
        ("images/a.jpg", "a.jpg"),
        (r"images\a.jpg", "a.jpg"),
        (r"C:\Users\Ann\set\images\a.jpg", "a.jpg"),
        ("/home/ann/images/a.jpg", "a.jpg"),
        ("./a.jpg", "a.jpg"),
        ("../images/a.jpg", "a.jpg"),
        ("a.jpg", "sub/a.jpg"),
        (r"sub\a.jpg", "sub/a.jpg"),
        ("images/sub/a.jpg", "sub/a.jpg"),
        (COMPOSED, DECOMPOSED),
        (DECOMPOSED, COMPOSED),
        ("a%20b.jpg", "a b.jpg"),
        ("a b.jpg", "a%20b.jpg"),
        ("caf%C3%A9.jpg", DECOMPOSED),
        ("a.JPG", "a.jpg"),
        ("a.jpg", "a.JPG"),
        ("a.jpeg", "a.jpg"),
        ("a.JPG", "a.jpeg"),
        ("a.jpg", "a.png"),
        ("a", "a.jpg"),
        ("frame.0001", "frame.0001.png"),
        ("IMG_1.JPG", "img_1.jpg"),
        (r"images\sub\Caf%C3%A9%201.JPEG", f"sub/{DECOMPOSED[:-4]} 1.jpg"),
    ],
)
def test_one_file_in_another_spelling_is_found(tmp_path: Path, name: str, there: str) -> None:
    folder = tmp_path / "images"
    touch(folder, there, "other.jpg")
    finder = FileFinder(folder, tmp_path)
    assert finder.match([name])[name].resolve() == folder / there
    exact = (folder / name).is_file()
    assert bool(finder.respelled) is not exact and bool(finder.assumptions) is not exact


def test_bytes_that_are_not_utf8_are_read_as_latin1(tmp_path: Path) -> None:
    there = os.fsdecode(b"caf\xe9.jpg")
    touch(tmp_path, there)
    assert FileFinder(tmp_path).find("café.jpg") == tmp_path / there
    assert FileFinder(tmp_path).find(there) == tmp_path / there
    finder = FileFinder(tmp_path)
    finder.find("café.jpg")
    assert finder.assumptions == (
        f"1 file name is spelled otherwise in {tmp_path}: 'café.jpg' was taken to be 'caf\\\\udce9.jpg'",
    )


def test_names_that_look_alike_are_told_apart(tmp_path: Path) -> None:
    touch(tmp_path, DECOMPOSED)
    finder = FileFinder(tmp_path)
    finder.find(COMPOSED)
    assert finder.assumptions[0].endswith(f": {COMPOSED!r} was taken to be {DECOMPOSED!r} of another Unicode form")


def test_the_closest_spelling_wins(tmp_path: Path) -> None:
    touch(tmp_path, "a b.jpg", "a%20b.jpg", "b.JPG", "b.png", "x/c.jpg", "c.JPG")
    finder = FileFinder(tmp_path)
    assert finder.find("a%20b.jpg") == tmp_path / "a%20b.jpg"
    assert finder.find("b.jpg") == tmp_path / "b.JPG"
    assert finder.find("c.jpg") == tmp_path / "x/c.jpg"


def test_the_path_below_the_root_comes_before_a_shorter_one(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.jpg", "other/a.jpg")
    assert FileFinder(tmp_path / "images", tmp_path).find(r"other\a.jpg") == tmp_path / "other" / "a.jpg"
    assert FileFinder(tmp_path / "images").find(r"other\a.jpg") == tmp_path / "images" / "a.jpg"


def test_no_file_is_guessed(tmp_path: Path) -> None:
    touch(tmp_path, "x/a.jpg", "y/a.jpg", "b.JPG", "b.Jpg", "val/c.jpg", "._d.jpg", ".ipynb_checkpoints/d.jpg")
    finder = FileFinder(tmp_path)
    assert finder.match(["a.jpg", "b.jpg", "train/c.jpg", "d.jpg", "e\0.jpg"]) == {
        name: tmp_path / name for name in ("a.jpg", "b.jpg", "train/c.jpg", "d.jpg", "e\0.jpg")
    }
    assert set(finder.unclear) == {"a.jpg", "b.jpg"} and not finder.respelled
    assert finder.assumptions == (
        f"2 file names are not matched to a file of another spelling in {tmp_path}: 'a.jpg', since "
        f"{tmp_path}/x/a.jpg and {tmp_path}/y/a.jpg fit equally well",
    )


def test_a_file_belongs_to_one_name(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg")
    finder = FileFinder(tmp_path)
    found = finder.match(["train/a.jpg", "a.jpg", "x/b.jpg", "y/b.jpg"])
    assert found == {name: tmp_path / name for name in ("train/a.jpg", "a.jpg", "x/b.jpg", "y/b.jpg")}
    assert set(finder.unclear) == {"train/a.jpg", "x/b.jpg", "y/b.jpg"}


def test_names_without_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "a.JPG", "b.png", "b.jpg", "b.txt", f"{DECOMPOSED}")
    finder = FileFinder(tmp_path, by_stem=True)
    assert finder.match(["a", "b", COMPOSED[:-4], "c"]) == {
        "a": tmp_path / "a.JPG",
        "b": tmp_path / "b.jpg",
        COMPOSED[:-4]: tmp_path / DECOMPOSED,
        "c": tmp_path / "c.jpg",
    }
    assert finder.doubled == {"b": "b.jpg is used, not b.png"} and list(finder.respelled) == [COMPOSED[:-4]]
