from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle_tools

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.data.folders import find_devkit
from ltrp_bench.tasks.data.voc import VocDataset

PERSON = (
    "<object><name>person</name><difficult>0</difficult>"
    "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
    "<bndbox><xmin>3</xmin><ymin>2</ymin><xmax>12</xmax><ymax>6</ymax></bndbox></object>"
)
HARD_DOG = (
    "<object><bndbox><xmax>30</xmax><xmin>21</xmin><ymax>20</ymax><ymin>1.5</ymin></bndbox>"
    "<name>dog</name><difficult>1</difficult></object>"
)
SIZE = "<size><width>30</width><height>20</height><depth>3</depth></size>"


def annotation(*objects: str, size: str = SIZE, head: str = "") -> str:
    return f"{head}<annotation><filename>x.jpg</filename>{size}{''.join(objects)}</annotation>"


def devkit(root: Path, lists: dict[str, str] | None = None) -> Path:
    for stem, text in (("a", annotation(PERSON, HARD_DOG)), ("b", annotation(HARD_DOG)), ("c", annotation())):
        for folder in ("JPEGImages", "Annotations"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 30, 3), 9, np.uint8)).save(root / "JPEGImages" / f"{stem}.jpg")
        (root / "Annotations" / f"{stem}.xml").write_text(text)
    for name, text in (lists or {}).items():
        (root / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
        (root / "ImageSets" / "Main" / f"{name}.txt").write_text(text)
    return root


def test_corners_become_edges(tmp_path: Path) -> None:
    dataset = VocDataset(devkit(tmp_path))
    assert dataset.ids == ("a", "b", "c") and len(dataset.categories) == 20 and dataset.categories[0] == "aeroplane"
    truth = dataset.truth(0, masks=True)
    person, dog = truth.objects
    assert (truth.height, truth.width) == (20, 30)
    assert (person.category, person.box, person.area, person.crowd) == ("person", (2, 1, 10, 5), 50.0, False)
    assert (dog.category, dog.box, dog.area, dog.crowd) == ("dog", (20, 0.5, 10, 19.5), 195.0, True)
    mask = rle_tools.decode(person.rle)
    assert mask[1:6, 2:12].all() and mask.sum() == 50
    assert dataset.truth(2).objects == [] and dataset.truth(0).objects[0].rle is None
    assert dataset.pixels(0).shape == (20, 30, 3)


def test_what_is_difficult_only_is_neither_present_nor_absent(tmp_path: Path) -> None:
    dataset = VocDataset(devkit(tmp_path))
    assert [dataset.labels(i) for i in range(3)] == [{"person"}, set(), set()]
    assert [dataset.ignored(i) for i in range(3)] == [{"dog"}, {"dog"}, set()]
    (tmp_path / "Annotations" / "b.xml").write_text(annotation(HARD_DOG, HARD_DOG.replace(">1</diff", ">0</diff")))
    assert VocDataset(tmp_path).labels(1) == {"dog"} and VocDataset(tmp_path).ignored(1) == set()


@pytest.mark.parametrize("below", [".", "VOC2012", "VOC2007", "VOCdevkit/VOC2012", "VOCdevkit/VOC2007"])
def test_the_year_is_found_and_its_lists(tmp_path: Path, below: str) -> None:
    devkit(
        tmp_path / below,
        {"val": "c\na\n", "train": "b\n", "dog_val": "c -1\na  0\n", "train_val": "a 1\n", "twice": "a\na\n"},
    )
    assert VocDataset(tmp_path).ids == ("a", "c") and VocDataset(tmp_path, "train").ids == ("b",)
    assert VocDataset(tmp_path, limit=1).ids == ("a",)
    with pytest.raises(UsageError, match=r"no subset 'test' in .*Main: there are train, twice, val$"):
        VocDataset(tmp_path, "test")
    with pytest.raises(UsageError, match=r"dog_val\.txt marks its images with 1, 0 or -1"):
        VocDataset(tmp_path, "dog_val")
    assert VocDataset(tmp_path, "twice").ids == ("a",)
    with pytest.raises(InputError, match=r"twice\.txt lists a twice \(--strict\)"):
        VocDataset(tmp_path, "twice", strict=True)


def test_two_years_are_ambiguous(tmp_path: Path) -> None:
    for year in ("VOC2007", "VOC2012"):
        devkit(tmp_path / "VOCdevkit" / year)
    with pytest.raises(UsageError, match=r"VOC2012 and .*VOC2007: name one of them with --data"):
        VocDataset(tmp_path)
    assert find_devkit(tmp_path / "VOCdevkit" / "VOC2007", [("JPEGImages",)]).name == "VOC2007"


BOMB = '<!DOCTYPE a [<!ENTITY x "xxxxxxxxxx"><!ENTITY y "&x;&x;&x;&x;&x;&x;">]>'
LEAK = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]>'


def replaced(old: str, new: str) -> str:
    text = annotation(PERSON)
    assert old in text
    return text.replace(old, new)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (annotation(PERSON)[:-9], r"is not valid XML: unclosed token"),
        ("", r"(is not valid XML|is empty)"),
        ("<html></html>", r"is not valid XML: it begins with <html>, not with <annotation>"),
        (replaced("<bndbox>", "<box>").replace("</bndbox>", "</box>"), r"object 1 \(person\) has no <bndbox>"),
        (annotation(head=BOMB, size="&y;"), r"declares a document type"),
        (annotation(head=LEAK, size="&x;"), r"declares a document type"),
        (replaced("person", "head"), r"object 1 is of class 'head', which is none of VOC's 20 \(aeroplane,"),
        (replaced(">12<", ">33<"), r"object 1 \(person\) has the box xmin=3, .* outside its image of 30x20"),
        (replaced(">12<", ">2<"), r"object 1 \(person\) has the box .* which is empty or outside"),
        (replaced(">12<", ">wide<"), r"object 1 \(person\) has a bndbox with a corner that must be .*, got 'wide'"),
        (replaced(">12<", ">nan<"), r"object 1 \(person\) has a bndbox with a corner that must be .*, got 'nan'"),
        (
            replaced(">0</diff", ">maybe</diff"),
            r"object 1 \(person\) has a <difficult> that must be 0 or 1, got 'maybe'",
        ),
    ],
)
def test_bad_annotations_are_one_line(tmp_path: Path, text: str, message: str) -> None:
    for encoding in ("utf-8", "utf-16"):
        (devkit(tmp_path) / "Annotations" / "b.xml").write_bytes(text.encode(encoding))
        with pytest.raises(InputError, match=rf"annotation .*b\.xml.*{message}") as caught:
            VocDataset(tmp_path, strict=True)
        assert "\n" not in str(caught.value)


def no_annotation(root: Path) -> None:
    devkit(root, {"val": "y\nz\n"})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, r"no VOC devkit in .*: looked for .*JPEGImages.*VOCdevkit/; get VOCtrainval"),
        (lambda root: [devkit(root)] + [p.unlink() for p in (root / "Annotations").iterdir()], r"no annotations"),
        (no_annotation, r"val\.txt lists 2 images without an annotation in .*Annotations, e\.g\. y"),
        (lambda root: devkit(root, {"val": "\n"}), r"val\.txt lists no images"),
    ],
)
def test_bad_folders_are_one_line(tmp_path: Path, make: Callable[[Path], object], message: str) -> None:
    make(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        VocDataset(tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="--data DIR"):
        VocDataset(None)


def test_bad_images_are_reported_when_they_are_read(tmp_path: Path) -> None:
    dataset = VocDataset(devkit(tmp_path))
    path = tmp_path / "JPEGImages" / "a.jpg"
    Image.new("RGB", (20, 30)).save(path)
    with pytest.raises(InputError, match=r"a\.jpg has 20x30 pixels, its annotation says 30x20"):
        dataset.pixels(0)
    path.write_bytes(b"no image")
    with pytest.raises(InputError, match=r"a\.jpg is corrupt"):
        dataset.pixels(0)
    path.unlink()
    with pytest.raises(InputError, match=r"a\.jpg is missing"):
        dataset.pixels(0)


def test_revision_follows_annotations_and_images(tmp_path: Path) -> None:
    first = VocDataset(devkit(tmp_path)).revision
    assert VocDataset(tmp_path).revision == first != VocDataset(tmp_path, limit=2).revision
    (tmp_path / "Annotations" / "c.xml").write_text(annotation(PERSON))
    second = VocDataset(tmp_path).revision
    (tmp_path / "JPEGImages" / "c.jpg").unlink()
    assert len({first, second, VocDataset(tmp_path).revision}) == 3


def test_the_genuine_devkit(shared_dir: Path) -> None:
    dataset = VocDataset(shared_dir / "data" / "voc2012")
    assert len(dataset) == 93 and sum(len(dataset.truth(i).objects) for i in range(93)) == 263
    assert dataset.truth(0).objects[0].box == (25, 188, 19, 50) and dataset.pixels(0).shape == (281, 500, 3)


def test_genuine_boxes_reach_to_the_borders_of_their_images(shared_dir: Path) -> None:
    """Corners read a pixel off would end beside the border, and never at it."""
    dataset = VocDataset(shared_dir / "data" / "voc2012")
    left = right = top = bottom = 0
    for i in range(len(dataset)):
        truth = dataset.truth(i)
        for item in truth.objects:
            x, y, w, h = item.box
            assert x >= 0 and y >= 0 and x + w <= truth.width and y + h <= truth.height
            left, right = left + (x == 0), right + (x + w == truth.width)
            top, bottom = top + (y == 0), bottom + (y + h == truth.height)
    assert min(left, right, top, bottom) > 5, (left, right, top, bottom)


@pytest.mark.parametrize("size", ["", SIZE.replace("30", "0").replace("20", "0"), SIZE.replace("20", "")])
def test_a_size_that_is_missing_comes_from_the_file(tmp_path: Path, size: str) -> None:
    (devkit(tmp_path) / "Annotations" / "a.xml").write_text(annotation(PERSON, size=size))
    dataset = VocDataset(tmp_path)
    assert (dataset.truth(0).width, dataset.truth(0).height) == (30, 20) and dataset.pixels(0).shape == (20, 30, 3)
    assert [one.line for one in dataset.omissions()] == [
        "1 of 3 images without a size: that of the file is taken (first a)"
    ]


@pytest.mark.parametrize("text", ["", "Unspecified", "0", "false", " 0 ", "0.0"])
def test_no_difficult_objects(tmp_path: Path, text: str) -> None:
    written = annotation(PERSON.replace("<difficult>0", f"<difficult>{text}"))
    (devkit(tmp_path) / "Annotations" / "a.xml").write_text(written)
    assert VocDataset(tmp_path).labels(0) == {"person"} and VocDataset(tmp_path).omissions() == []


def test_case_of_class_names_does_not_count(tmp_path: Path) -> None:
    (devkit(tmp_path) / "Annotations" / "a.xml").write_text(annotation(PERSON.replace("person", " Person ")))
    assert VocDataset(tmp_path).labels(0) == {"person"}


@pytest.mark.parametrize(
    ("old", "new", "boxes", "line"),
    [
        (">12<", ">33<", [(2, 1, 28, 5), (20, 0.5, 10, 19.5)], "1 of 3 objects clipped to their images (annotation"),
        (">12<", ">2<", [(20, 0.5, 10, 19.5)], "1 of 3 objects left out: their annotations cannot be used (annotation"),
        ("person", "boat house", [(20, 0.5, 10, 19.5)], "object 1 is of class 'boat house', which is none of VOC's 20"),
        (">12<", ">1,5<", [(20, 0.5, 10, 19.5)], "got '1,5' (decimals are written with a point))"),
    ],
)
def test_one_object_is_clipped_or_left_out(tmp_path: Path, old: str, new: str, boxes: object, line: str) -> None:
    written = annotation(PERSON.replace(old, new), HARD_DOG)
    (devkit(tmp_path) / "Annotations" / "a.xml").write_text(written)
    dataset = VocDataset(tmp_path)
    assert [item.box for item in dataset.truth(0).objects] == boxes
    assert len(dataset.omissions()) == 1 and line in dataset.omissions()[0].line
    for stem in "bc":
        (tmp_path / "Annotations" / f"{stem}.xml").write_text(annotation())
    (tmp_path / "Annotations" / "a.xml").write_text(annotation(PERSON.replace(">12<", ">2<")))
    with pytest.raises(InputError, match=r"none of the 1 objects can be used: annotation .*a\.xml: object 1"):
        VocDataset(tmp_path)


@pytest.mark.parametrize(
    ("images", "annotations"),
    [("images", "Annotations"), ("data", "labels"), (".", "."), ("valid", "valid"), ("val/images", "val/annotations")],
)
def test_layouts_of_other_exporters(tmp_path: Path, images: str, annotations: str) -> None:
    made = devkit(tmp_path / "made")
    for source, target in (("JPEGImages", images), ("Annotations", annotations)):
        (tmp_path / "set" / target).mkdir(parents=True, exist_ok=True)
        for file in (made / source).iterdir():
            file.rename(tmp_path / "set" / target / file.name)
    dataset = VocDataset(tmp_path / "set")
    assert dataset.ids == ("a", "b", "c") and dataset.pixels(0).shape == (20, 30, 3)
    assert "annotations are read from" in dataset.assumptions[0] and len(dataset.assumptions) == 1
