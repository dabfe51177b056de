"""VOC's XML and folders as other programs write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.data.voc import VocDataset


def xml(name: str = "cat", *, box: str = "3 2 12 6", image: str = "a.jpg", size: str = "30 20", times: int = 1) -> str:
    corners = zip(("xmin", "ymin", "xmax", "ymax"), box.split(), strict=True)
    inside = "".join(f"<{tag}>{value}</{tag}>" for tag, value in corners)
    width, height = size.split()
    return (
        f"<annotation><filename>{image}</filename><size><width>{width}</width><height>{height}</height></size>"
        + f"<object><name>{name}</name><bndbox>{inside}</bndbox></object>" * times
        + "</annotation>"
    )


def devkit(root: Path, *texts: str | bytes, images: str = "JPEGImages", annotations: str = "Annotations") -> Path:
    """A devkit whose images are a, b, … with these annotations."""
    for stem, text in zip("abc", texts, strict=False):
        for folder in (images, annotations):
            (root / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 30, 3), 9, np.uint8)).save(root / images / f"{stem}.jpg")
        raw = text.encode() if isinstance(text, str) else text
        (root / annotations / f"{stem}.xml").write_bytes(raw)
    return root


def boxes(dataset: VocDataset, index: int = 0) -> list[tuple[str, tuple[float, ...]]]:
    return [(item.category, item.box) for item in dataset.truth(index).objects]


def lines(dataset: VocDataset) -> list[str]:
    return [one.line for one in dataset.omissions()]


CAT = [("cat", (2, 1, 10, 5))]


@pytest.mark.parametrize(
    "raw",
    [
        xml().encode("utf-16"),
        xml().encode("utf-8-sig"),
        b"\n\n<?xml version='1.0'?>" + xml().encode(),
        ("<?xml version='1.0' encoding='gbk'?>" + xml(image="中.jpg")).encode("gbk"),
        xml(image="café.jpg").encode("latin-1"),
        ("<?xml version='1.0' encoding='utf-8'?>" + xml(image="café.jpg")).encode("cp1252"),
        xml().replace("<annotation>", "<annotation xmlns='http://example.org'>").encode(),
        xml().replace("annotation>", "Annotation>").encode(),
        xml().replace("<object>", "<objects><object>").replace("</object>", "</object></objects>").encode(),
        xml().replace("object>", "Object>").encode(),
    ],
)
def test_encodings_and_roots(tmp_path: Path, raw: bytes) -> None:
    dataset = VocDataset(devkit(tmp_path, raw))
    assert boxes(dataset) == CAT and lines(dataset) == [] and dataset.assumptions == ()


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ("", "is empty"),
        ("<annotation><size>", "is not valid XML: no element found: line 1, column 18"),
        ("<html/>", "is not valid XML: it begins with <html>, not with <annotation>"),
    ],
)
def test_one_damaged_file_leaves_its_image_out(tmp_path: Path, raw: str, why: str) -> None:
    root = devkit(tmp_path, raw, xml())
    dataset = VocDataset(root)
    assert dataset.ids == ("b",) and boxes(dataset) == CAT
    first = f"annotation {root}/Annotations/a.xml {why}"
    assert lines(dataset) == [f"1 of 2 images left out: their annotations cannot be read ({first})"]
    with pytest.raises(InputError, match=r"a\.xml is .* \(--strict\)$"):
        VocDataset(root, strict=True)
    (root / "Annotations" / "b.xml").write_text(raw)
    with pytest.raises(InputError, match=r"^none of the 2 annotations can be used: annotation .*a\.xml is "):
        VocDataset(root)


@pytest.mark.parametrize(
    ("written", "own"), [("airplane", "aeroplane"), ("Potted Plant", "pottedplant"), ("tv_monitor", "tvmonitor")]
)
def test_names_of_classes(tmp_path: Path, written: str, own: str) -> None:
    assert boxes(VocDataset(devkit(tmp_path, xml(written)))) == [(own, CAT[0][1])]


def test_an_image_without_size_that_cannot_be_read_stops_no_other(tmp_path: Path) -> None:
    root = devkit(tmp_path, xml(size="0 0"), xml())
    (root / "JPEGImages" / "a.jpg").write_bytes(b"\0\1")
    dataset = VocDataset(root)
    assert boxes(dataset) == [] and boxes(dataset, 1) == CAT
    with pytest.raises(InputError, match=r"a\.jpg is corrupt"):
        dataset.pixels(0)


def test_boxes_that_begin_at_zero(tmp_path: Path) -> None:
    root = devkit(tmp_path, xml(box="0 2 12 6"))
    dataset = VocDataset(root)
    assert boxes(dataset) == [("cat", (-1, 1, 13, 5))]
    assert dataset.assumptions[0].startswith("boxes (1) begin at pixel 0, but VOC counts from 1")
    shifted = VocDataset(root, zero_based=True)
    assert boxes(shifted) == [("cat", (0, 2, 12, 4))] and shifted.assumptions == ()
    assert shifted.revision != dataset.revision


def test_corners_as_shares_of_the_image_are_left_out(tmp_path: Path) -> None:
    dataset = VocDataset(devkit(tmp_path, xml(box="0.1 0.1 0.5 0.9"), xml()))
    assert boxes(dataset) == [] and boxes(dataset, 1) == CAT
    assert "corners below 1, [0.1, 0.1, 0.5, 0.9]: shares of the image?" in lines(dataset)[0]


def test_objects_that_occur_twice_are_counted(tmp_path: Path) -> None:
    dataset = VocDataset(devkit(tmp_path, xml(times=2)))
    assert boxes(dataset) == CAT * 2
    assert lines(dataset)[0].startswith("1 of 2 objects annotated twice, and counted twice")


def test_the_image_that_the_annotation_names(tmp_path: Path) -> None:
    root = devkit(tmp_path, xml(image="photo.jpg"))
    (root / "JPEGImages" / "a.jpg").rename(root / "JPEGImages" / "photo.jpg")
    dataset = VocDataset(root)
    assert dataset.pixels(0).shape == (20, 30, 3) and lines(dataset) == []
    assert dataset.assumptions == ("1 images are those that their <filename> names: a is photo.jpg",)


def test_images_without_annotation_are_counted(tmp_path: Path) -> None:
    root = devkit(tmp_path, xml(), xml())
    (root / "Annotations" / "b.xml").unlink()
    assert lines(VocDataset(root)) == ["1 of 2 images left out: they have no annotation (first b)"]


@pytest.mark.parametrize(
    ("images", "annotations", "said"),
    [
        ("jpegimages", "annotations", False),
        ("VOC2008/JPEGImages", "VOC2008/Annotations", False),
        ("JPEGImages/sub", "Annotations/sub", False),
        ("Images", "annotations/xmls", True),
        ("Valid", "Valid", True),
    ],
)
def test_other_folders(tmp_path: Path, images: str, annotations: str, said: bool) -> None:
    dataset = VocDataset(devkit(tmp_path, xml(), images=images, annotations=annotations))
    assert boxes(dataset) == CAT and dataset.pixels(0).shape == (20, 30, 3)
    assert len(dataset.assumptions) == said


def test_named_folders_and_subsets(tmp_path: Path) -> None:
    root = devkit(tmp_path, xml(), images="photos", annotations="marks")
    with pytest.raises(InputError, match=r"named by --task-option annotations=DIR and --task-option images=DIR$"):
        VocDataset(root)
    assert boxes(VocDataset(root, images="photos", annotations="marks")) == CAT
    other = devkit(tmp_path / "robo", xml(), images="train", annotations="train")
    with pytest.raises(InputError, match=r"no subset 'val' in .*: there are train; choose by --task-option subset="):
        VocDataset(other)


def test_lists_beside_main(tmp_path: Path) -> None:
    root = devkit(tmp_path, xml(), xml())
    (root / "ImageSets").mkdir()
    (root / "ImageSets" / "val.txt").write_text("b\n")
    assert VocDataset(root).ids == ("b",)
    with pytest.raises(UsageError, match="there are val"):
        VocDataset(root, "train")
