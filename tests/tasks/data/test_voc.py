from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle_tools

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.data.folders import find_devkit
from ltrp_bench.tasks.data.voc import VocObjects

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
    source = VocObjects(devkit(tmp_path))
    assert source.ids == ("a", "b", "c") and len(source.categories) == 20 and source.categories[0] == "aeroplane"
    truth = source.truth(0, masks=True)
    person, dog = truth.objects
    assert (truth.height, truth.width) == (20, 30)
    assert (person.category, person.box, person.area, person.crowd) == ("person", (2, 1, 10, 5), 50.0, False)
    assert (dog.category, dog.box, dog.area, dog.crowd) == ("dog", (20, 0.5, 10, 19.5), 195.0, True)
    mask = rle_tools.decode(person.rle)
    assert mask[1:6, 2:12].all() and mask.sum() == 50
    assert source.truth(2).objects == [] and source.truth(0).objects[0].rle is None
    assert source.pixels(0).shape == (20, 30, 3)


def test_what_is_difficult_only_is_neither_present_nor_absent(tmp_path: Path) -> None:
    source = VocObjects(devkit(tmp_path))
    assert [source.labels(i) for i in range(3)] == [{"person"}, set(), set()]
    assert [source.ignored(i) for i in range(3)] == [{"dog"}, {"dog"}, set()]
    (tmp_path / "Annotations" / "b.xml").write_text(annotation(HARD_DOG, HARD_DOG.replace(">1</diff", ">0</diff")))
    assert VocObjects(tmp_path).labels(1) == {"dog"} and VocObjects(tmp_path).ignored(1) == set()


@pytest.mark.parametrize("below", [".", "VOC2012", "VOC2007", "VOCdevkit/VOC2012", "VOCdevkit/VOC2007"])
def test_the_year_is_found_and_its_lists(tmp_path: Path, below: str) -> None:
    devkit(
        tmp_path / below,
        {"val": "c\na\n", "train": "b\n", "dog_val": "c -1\na  0\n", "train_val": "a 1\n", "twice": "a\na\n"},
    )
    assert VocObjects(tmp_path).ids == ("a", "c") and VocObjects(tmp_path, "train").ids == ("b",)
    assert VocObjects(tmp_path, limit=1).ids == ("a",)
    for subset in ("test", "dog_val"):
        with pytest.raises(UsageError, match=rf"no list of images .*{subset}\.txt: there are train, twice, val$"):
            VocObjects(tmp_path, subset)
    with pytest.raises(InputError, match=r"twice\.txt lists an image twice"):
        VocObjects(tmp_path, "twice")


def test_two_years_must_be_told_apart(tmp_path: Path) -> None:
    for year in ("VOC2007", "VOC2012"):
        devkit(tmp_path / "VOCdevkit" / year)
    with pytest.raises(UsageError, match=r"VOC2012 and .*VOC2007: name one of them with --data"):
        VocObjects(tmp_path)
    assert find_devkit(tmp_path / "VOCdevkit" / "VOC2007", ("JPEGImages",)).name == "VOC2007"


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
        ("", r"is not valid XML"),
        (annotation(head=BOMB, size="&y;"), r"declares a document type"),
        (annotation(head=LEAK, size="&x;"), r"declares a document type"),
        (replaced("person", "head"), r"object 1 is of class 'head', which is none of VOC's 20 \(aeroplane,"),
        (replaced(">12<", ">33<"), r"object 1 \(person\) has the box xmin=3, .* outside its image of 30x20"),
        (replaced(">12<", ">2<"), r"object 1 \(person\) has the box .* which is empty or outside"),
        (replaced(">12<", ">wide<"), r"<bndbox/xmax> of object 1 must be a number, got 'wide'"),
        (replaced(">12<", ">nan<"), r"<bndbox/xmax> of object 1 must be a number, got 'nan'"),
        (replaced(">0</diff", ">maybe</diff"), r"<difficult> of object 1 must be a number, got 'maybe'"),
        (annotation(size=""), r"<size/width> of the image must be a number, got ''"),
        (annotation(size=SIZE.replace("20", "0")), r"says its image has 30x0 pixels"),
    ],
)
def test_bad_annotations_are_one_line(tmp_path: Path, text: str, message: str) -> None:
    for encoding in ("utf-8", "utf-16"):
        (devkit(tmp_path) / "Annotations" / "b.xml").write_bytes(text.encode(encoding))
        with pytest.raises(InputError, match=rf"annotation .*b\.xml.*{message}") as caught:
            VocObjects(tmp_path)
        assert "\n" not in str(caught.value)


def no_annotation(root: Path) -> None:
    devkit(root, {"val": "a\nz\n"})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, r"no VOC devkit in .*: looked for .*JPEGImages.*VOCdevkit/; get VOCtrainval"),
        (lambda root: [devkit(root)] + [p.unlink() for p in (root / "Annotations").iterdir()], r"no annotations"),
        (no_annotation, r"val\.txt lists 1 images without an annotation, e\.g\. z"),
        (lambda root: devkit(root, {"val": "\n"}), r"val\.txt lists no images"),
    ],
)
def test_bad_folders_are_one_line(tmp_path: Path, make: Callable[[Path], object], message: str) -> None:
    make(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        VocObjects(tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="--data DIR"):
        VocObjects(None)


def test_bad_images_are_named_when_their_turn_comes(tmp_path: Path) -> None:
    source = VocObjects(devkit(tmp_path))
    path = tmp_path / "JPEGImages" / "a.jpg"
    Image.new("RGB", (20, 30)).save(path)
    with pytest.raises(InputError, match=r"a\.jpg has 20x30 pixels, its annotation says 30x20"):
        source.pixels(0)
    path.write_bytes(b"no image")
    with pytest.raises(InputError, match=r"a\.jpg is corrupt"):
        source.pixels(0)
    path.unlink()
    with pytest.raises(InputError, match=r"a\.jpg is missing"):
        source.pixels(0)


def test_revision_follows_annotations_and_images(tmp_path: Path) -> None:
    first = VocObjects(devkit(tmp_path)).revision
    assert VocObjects(tmp_path).revision == first != VocObjects(tmp_path, limit=2).revision
    (tmp_path / "Annotations" / "c.xml").write_text(annotation(PERSON))
    second = VocObjects(tmp_path).revision
    (tmp_path / "JPEGImages" / "c.jpg").unlink()
    assert len({first, second, VocObjects(tmp_path).revision}) == 3


def test_the_genuine_devkit(shared_dir: Path) -> None:
    source = VocObjects(shared_dir / "data" / "voc2012")
    assert len(source) == 93 and sum(len(source.truth(i).objects) for i in range(93)) == 263
    assert source.truth(0).objects[0].box == (25, 188, 19, 50) and source.pixels(0).shape == (281, 500, 3)


def test_genuine_boxes_reach_to_the_borders_of_their_images(shared_dir: Path) -> None:
    """Corners read a pixel off would end beside the border, and never at it."""
    source = VocObjects(shared_dir / "data" / "voc2012")
    left = right = top = bottom = 0
    for i in range(len(source)):
        truth = source.truth(i)
        for item in truth.objects:
            x, y, w, h = item.box
            assert x >= 0 and y >= 0 and x + w <= truth.width and y + h <= truth.height
            left, right = left + (x == 0), right + (x + w == truth.width)
            top, bottom = top + (y == 0), bottom + (y + h == truth.height)
    assert min(left, right, top, bottom) > 5, (left, right, top, bottom)
