from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.data.folders import AnnotatedImages, absent, data_folder, either, find_devkit


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_data_folder(tmp_path: Path) -> None:
    assert data_folder(str(tmp_path), "images") == tmp_path
    with pytest.raises(UsageError, match=r"^this task reads images: give the folder with --data DIR$"):
        data_folder(None, "images")
    with pytest.raises(InputError, match=r"^no folder .*/nowhere: --data must name a folder with images$"):
        data_folder(tmp_path / "nowhere", "images")


def test_find_devkit_prefers_the_given_folder(tmp_path: Path) -> None:
    for top in (".", "VOC2012", "VOCdevkit/VOC2007"):
        (tmp_path / top / "JPEGImages").mkdir(parents=True)
    assert find_devkit(tmp_path, [("JPEGImages",)]) == tmp_path
    (tmp_path / "JPEGImages").rmdir()
    with pytest.raises(UsageError, match=r"VOC2012 and .*VOCdevkit/VOC2007: name one of them with --data"):
        find_devkit(tmp_path, [("JPEGImages",)])
    assert find_devkit(tmp_path, [("JPEGImages",)], years=("VOC2007",)) == tmp_path / "VOCdevkit" / "VOC2007"
    with pytest.raises(
        InputError, match=r"looked for .*/Masks, there and in VOC2010/ and below VOCdevkit/; ask mmseg$"
    ):
        find_devkit(tmp_path, [("JPEGImages", "Masks")], years=("VOC2010",), how_to_get="ask mmseg")


def annotated(root: Path) -> AnnotatedImages:
    return AnnotatedImages(
        annotations=root / "Masks",
        suffixes=(".png",),
        kind=("a mask", "masks"),
        lists=root / "Lists",
        how_to_get="get it",
    )


def test_without_lists_all_annotated_images_are_taken(tmp_path: Path) -> None:
    touch(tmp_path / "Masks" / "a.png", tmp_path / "Masks" / "b.png", tmp_path / "Masks" / "c.txt")
    assert sorted(annotated(tmp_path).stems("val")) == ["a", "b"]
    (tmp_path / "Masks" / "a.png").unlink()
    (tmp_path / "Masks" / "b.png").unlink()
    with pytest.raises(InputError, match=r"^no masks \(\*\.png\) in .*/Masks; get it$"):
        annotated(tmp_path).stems("val")


def test_lists_name_the_images_of_a_subset(tmp_path: Path) -> None:
    touch(tmp_path / "Masks" / "a.png", tmp_path / "Masks" / "b.png")
    texts = {
        "val": "b\n\na\n",
        "cat_val": "a 1\nb -1\n",
        "none": "\n",
        "twice": "a\na\n",
        "bare": "a\nz\ny\n",
        "empty": "z\ny\n",
    }
    for name, text in texts.items():
        touch(tmp_path / "Lists" / f"{name}.txt")
        (tmp_path / "Lists" / f"{name}.txt").write_text(text)
    images = annotated(tmp_path)
    assert images.stems("val") == ["b", "a"]
    with pytest.raises(UsageError, match=r"^no subset 'test' in .*/Lists: there are bare, empty, none, twice, val$"):
        images.stems("test")
    with pytest.raises(UsageError, match=r"/Lists/cat_val\.txt marks its images with 1, 0 or -1, as lists of a single"):
        images.stems("cat_val")
    for name, message in (
        ("none", "lists no images"),
        ("empty", r"lists 2 images without a mask in .*/Masks, e\.g\. z; get it"),
    ):
        with pytest.raises(InputError, match=rf"/{name}\.txt {message}$"):
            images.stems(name)
    for name, line in (
        ("twice", "1 of 2 images listed twice (.*/twice.txt lists a twice)"),
        ("bare", "2 of 3 images left out: they have no mask (.*/bare.txt lists z, which has no file in .*/Masks)"),
    ):
        images = annotated(tmp_path)
        assert images.stems(name) == ["a"]
        assert re.fullmatch(line.replace("(", r"\(").replace(")", r"\)"), images.notes.omissions([], {})[0].line)
        with pytest.raises(InputError, match=rf"/{name}\.txt lists .* \(--strict\)$"):
            replace(annotated(tmp_path), strict=True).stems(name)


def test_the_only_list_is_used_whatever_its_name(tmp_path: Path) -> None:
    touch(tmp_path / "Masks" / "a.png", tmp_path / "Masks" / "b.png", tmp_path / "Lists" / "default.txt")
    (tmp_path / "Lists" / "default.txt").write_text("b\n")
    images = annotated(tmp_path)
    assert images.stems("val") == ["b"] and "default.txt, the only list" in images.notes.assumptions[0]
    (tmp_path / "Lists" / "default.txt").rename(tmp_path / "Lists" / "TRAIN.txt")
    assert annotated(tmp_path).stems("train") == ["b"]
    with pytest.raises(UsageError, match="there are TRAIN"):
        annotated(tmp_path).stems("val")


def test_paths_in_messages(tmp_path: Path) -> None:
    first, second = tmp_path / "x", tmp_path / "y"
    assert absent([tmp_path, first, second]) == f"{first}, {second}"
    assert either([first, second]) == f"{first} or {second}"
