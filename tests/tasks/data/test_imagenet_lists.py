"""Maps of a flat ImageNet-1K folder; test_imagenet.py reads whole folders with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.data.base import DataNotes
from ltrp_bench.tasks.data.imagenet_lists import MapNotes, find_map, read_map, read_meta

NOTES = MapNotes(notes=DataNotes(), strict=True)
WNIDS = ("n01440764", "n01443537", "n01484850")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.JPEG n01443537\nb.JPEG n01440764\n", {"a": 1, "b": 0}),
        ("val/a.JPEG 2\n\nval\\b.png 0\n", {"a": 2, "b": 0}),
        ("ILSVRC2012_val_00000001 1\n", {"ILSVRC2012_val_00000001": 1}),
        ("v1.5 1\n", {"v1.5": 1}),
        ("filename,label\na b.JPEG,2.0\nb.JPEG;1;\n", {"a b": 2, "b": 1}),
        ("a.JPEG 0\na.png 1\n", {"a": 0, "a.JPEG": 0, "a.png": 1}),
        ('"a.JPEG","2"\n"b.JPEG","n01443537"\n', {"a": 2, "b": 1}),
        ("IMAGEID;PredictionString\na;n01484850 1 2 3 4\n", {"a": 2}),
        ("ImageId, PredictionString\na,n01484850 1 2 3 4\n", {"a": 2}),
    ],
)
def test_formats_are_recognized_by_the_first_line(tmp_path: Path, text: str, expected: dict[str, int]) -> None:
    path = tmp_path / "map.txt"
    path.write_text(text)
    assert read_map(path, WNIDS, NOTES) == expected


def test_a_given_map_comes_before_the_usual_names(tmp_path: Path) -> None:
    folder = tmp_path / "val"
    folder.mkdir()
    (folder / "val.txt").touch()
    (tmp_path / "map.txt").touch()
    assert find_map(tmp_path, folder, None) == folder / "val.txt"
    (tmp_path / "val.txt").touch()
    assert find_map(tmp_path, folder, None) == tmp_path / "val.txt"
    assert find_map(tmp_path, folder, tmp_path / "map.txt") == tmp_path / "map.txt"
    with pytest.raises(InputError, match=r"^no file .*/other\.txt with the classes of the images in .*/val$"):
        find_map(tmp_path, folder, tmp_path / "other.txt")


def test_a_list_may_have_blanks_in_names_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "val.txt"
    path.write_bytes(b"\xef\xbb\xbfmy image 1.JPEG 1\r\nx\\b.JPG  0\r\n")
    assert read_map(path, ["n00000001", "n00000002"], NOTES) == {"my image 1": 1, "b": 0}


def test_another_file_than_meta_mat_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "meta.mat"
    path.write_bytes(b"x")
    with pytest.raises(InputError, match=r"meta\.mat is not the development kit's meta\.mat") as error:
        read_meta(path)
    assert "\n" not in str(error.value)


def test_lines_without_a_class_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "val.txt"
    path.write_text("a.JPEG n01443537\nb.JPEG what\nc\n")
    notes = MapNotes(notes=DataNotes())
    assert read_map(path, WNIDS, notes) == {"a": 1}
    assert [one.line for one in notes.notes.omissions([], {})] == [
        f"2 of 3 lines left out: they name no class of ImageNet-1K ({path}, line 2: 'what' is neither a wnid of "
        "ImageNet-1K nor an index of 0 to 999)"
    ]
    with pytest.raises(InputError, match=r"line 2: 'what' is neither .* \(--strict\)$"):
        read_map(path, WNIDS, NOTES)
