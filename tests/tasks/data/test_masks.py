from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import build_coco80
import build_masks
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle_tools

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.data.mask_folders import find_stuff, find_voc
from ltrp_bench.tasks.data.masks import MaskRegionDataset, read_mask
from ltrp_bench.tasks.splits.split import SPLITS, load_split

MASK = np.array([[0, 1, 1, 7], [0, 0, 1, 7], [7, 0, 0, 7]], np.uint8)
CLASSES = "0: unlabeled\n1: cat\n7: sky\n9: sea\n"


def save(array: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def image(mask: np.ndarray) -> np.ndarray:
    return np.repeat((mask * 20)[..., None], 3, axis=2).astype(np.uint8)


def own_layout(root: Path, classes: str = CLASSES) -> Path:
    for name, mask in (("b", MASK), ("a", np.full((3, 4), 9, np.uint8))):
        save(mask, root / "masks" / f"{name}.png")
        save(image(mask), root / "images" / f"{name}.png")
    (root / "classes.txt").write_text(classes)
    return root


def test_a_region_is_all_pixels_of_a_class(tmp_path: Path) -> None:
    dataset = MaskRegionDataset(find_stuff(own_layout(tmp_path)))
    assert dataset.ids == ("a", "b") and dataset.categories == ("cat", "sky", "sea") and dataset.domain == "photos"
    truth = dataset.truth(dataset.index("b"), masks=True)
    assert (truth.height, truth.width) == (3, 4)
    cat, sky = truth.objects
    assert (cat.category, cat.box, cat.area) == ("cat", (1.0, 0.0, 2.0, 2.0), 3.0)
    assert (sky.category, sky.box, sky.area) == ("sky", (0.0, 0.0, 4.0, 3.0), 4.0)  # two pieces, one region
    np.testing.assert_array_equal(rle_tools.decode(sky.rle), MASK == 7)
    np.testing.assert_array_equal(dataset.pixels(1), image(MASK))
    assert all(item.rle is None for item in dataset.truth(1).objects)


def test_zero_is_nobodys_unless_it_is_listed(tmp_path: Path) -> None:
    unlisted = find_stuff(own_layout(tmp_path / "one", CLASSES.removeprefix("0: unlabeled\n")))
    assert unlisted.ignored_values == {0} and MaskRegionDataset(unlisted).truth(1).objects[0].category == "cat"
    listed = MaskRegionDataset(find_stuff(own_layout(tmp_path / "two", CLASSES.replace("unlabeled", "floor"))))
    assert [item.category for item in listed.truth(1).objects] == ["floor", "cat", "sky"]


@pytest.mark.parametrize("images", ["val2017", "images/val2017"])
@pytest.mark.parametrize("maps", ["stuffthingmaps", "stuffthingmaps_trainval2017", "annotations"])
def test_coco_stuffs_values_are_its_ids_less_one(tmp_path: Path, images: str, maps: str) -> None:
    values = np.array([[0, 181], [155, 255]], np.uint8)
    save(values, tmp_path / maps / "val2017" / "000000000139.png")
    save(values, tmp_path / maps / "val2017" / "000000000139_labelTrainIds.png")  # a converter's, beside them
    save(image(values), tmp_path / images / "000000000139.jpg")
    folder = find_stuff(tmp_path)
    dataset = MaskRegionDataset(folder)
    assert dataset.ids == ("000000000139",) and len(dataset.categories) == 171 and folder.split.endswith("171")
    assert [item.category for item in dataset.truth(0).objects] == ["person", "shelf", "wood"]
    with pytest.raises(InputError, match="train2017"):
        find_stuff(tmp_path, "train2017")


def test_palette_and_sixteen_bits_are_read_as_values(tmp_path: Path) -> None:
    palette = Image.fromarray(MASK, mode="P")
    palette.putpalette([255 - i // 3 for i in range(768)])
    palette.save(tmp_path / "p.png")
    Image.fromarray(MASK.astype(np.uint16) * 300).save(tmp_path / "w.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "p.png"), MASK)
    np.testing.assert_array_equal(read_mask(tmp_path / "w.png"), MASK.astype(int) * 300)


def bad_size(root: Path) -> None:
    save(np.ones((4, 3), np.uint8), root / "masks" / "b.png")


def unknown_value(root: Path) -> None:
    save(MASK + 3, root / "masks" / "b.png")


def truncated(root: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 2, (300, 400)).astype(np.uint8)
    save(image(noise), root / "images" / "b.png")
    save(noise, root / "masks" / "b.png")
    whole = (root / "masks" / "b.png").read_bytes()
    (root / "masks" / "b.png").write_bytes(whole[: len(whole) // 2])


def colours(root: Path) -> None:
    save(image(MASK), root / "masks" / "b.png")


def no_image(root: Path) -> None:
    (root / "images" / "b.png").unlink()


def broken_image(root: Path) -> None:
    (root / "images" / "b.png").write_bytes(b"no image")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (bad_size, r"image .*b\.png has 4x3 pixels, its mask .*b\.png has 3x4"),
        (unknown_value, r"mask .*b\.png holds 3, 4, 10, which classes\.txt does not list"),
        (truncated, r"mask .*b\.png is corrupt"),
        (colours, r"mask .*b\.png is an image of mode RGB"),
        (no_image, r"mask .*b\.png has no image: looked for b with \.jpg.* in .*images"),
        (broken_image, r"image .*b\.png is corrupt"),
    ],
)
def test_a_bad_file_is_one_line_and_spares_the_others(
    tmp_path: Path, harm: Callable[[Path], None], message: str
) -> None:
    harm(own_layout(tmp_path))
    dataset = MaskRegionDataset(find_stuff(tmp_path))
    dataset.pixels(0), dataset.truth(0)
    with pytest.raises(InputError, match=message) as caught:
        dataset.pixels(1), dataset.truth(1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 cat\n", "line 1: must be 'id: name'"),
        ("1: cat\n\nx: dog\n", "line 3"),
        ("1: cat\n1: dog\n", "line 2.*twice"),
        ("1: cat\n2: cat\n", "line 2.*twice"),
        ("0: unlabeled\n", "lists no classes"),
    ],
)
def test_a_bad_list_of_classes_says_where(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_stuff(own_layout(tmp_path, text))


def test_what_is_missing_and_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--data DIR"):
        find_stuff(None)
    with pytest.raises(InputError, match="no folder"):
        find_stuff(tmp_path / "nowhere")
    with pytest.raises(InputError) as caught:
        find_stuff(tmp_path)
    for part in ("masks", "classes.txt", "stuffthingmaps/val2017", "annotations/val2017", "github.com/nightrome"):
        assert part in str(caught.value)
    with pytest.raises(InputError, match=r"JPEGImages.*SegmentationClass.*VOCdevkit.*VOCtrainval"):
        find_voc(tmp_path)


def test_images_without_masks_and_masks_of_nothing(tmp_path: Path) -> None:
    root = own_layout(tmp_path)
    save(image(MASK), root / "images" / "c.png")
    with pytest.raises(InputError, match=r"1 images in .*images have no mask, first c: looked for .*c\.png"):
        find_stuff(root)
    for file in (*root.glob("masks/*"), *root.glob("images/*")):
        file.unlink()
    with pytest.raises(InputError, match="no masks"):
        find_stuff(root)
    own_layout(tmp_path)
    save(image(MASK), root / "images" / "b.jpg")
    with pytest.raises(InputError, match=r"two images of one name: b\.jpg and b\.png"):
        find_stuff(root).stems and MaskRegionDataset(find_stuff(root))


def test_revision_follows_masks_classes_and_images(tmp_path: Path) -> None:
    root = own_layout(tmp_path)

    def revision(limit: int | None = None) -> str:
        return MaskRegionDataset(find_stuff(root), limit=limit).revision

    whole, first = revision(), revision(1)
    assert whole != first and whole == revision()
    save(MASK.T.copy().T[::-1], root / "masks" / "b.png")
    assert revision() != whole and revision(1) == first
    save(MASK, root / "masks" / "b.png")
    (root / "classes.txt").write_text(CLASSES.replace("cat", "dog"))
    assert revision() != whole
    with pytest.raises(UsageError, match="limit"):
        revision(0)


def voc(root: Path, lists: dict[str, str] | None = None) -> Path:
    mask = np.array([[0, 1, 20], [255, 1, 1]], np.uint8)
    for name in ("x", "y"):
        save(mask, root / "SegmentationClass" / f"{name}.png")
        save(image(mask), root / "JPEGImages" / f"{name}.jpg")
    save(image(mask), root / "JPEGImages" / "boxes_only.jpg")
    for subset, text in (lists or {}).items():
        path = root / "ImageSets" / "Segmentation" / f"{subset}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize("below", [".", "VOC2012", "VOCdevkit/VOC2012"])
def test_a_voc_devkit_whole_and_by_its_lists(tmp_path: Path, below: str) -> None:
    voc(tmp_path / below)
    dataset = MaskRegionDataset(find_voc(tmp_path))
    assert dataset.ids == ("x", "y")
    assert [(o.category, o.area) for o in dataset.truth(0).objects] == [("aeroplane", 3.0), ("tvmonitor", 1.0)]
    voc(tmp_path / below, {"val": "y\n", "train": "x\nz\n"})
    assert find_voc(tmp_path).stems == ("y",)
    with pytest.raises(InputError, match=r"train\.txt lists 1 images without a mask .* z"):
        find_voc(tmp_path, "train")
    with pytest.raises(UsageError, match="there are train, val"):
        find_voc(tmp_path, "test")


def test_genuine_folders(shared_dir: Path) -> None:
    stuff = MaskRegionDataset(find_stuff(shared_dir / "data" / "coco_stuff"))
    assert len(stuff) == 100 and len(stuff.categories) == 129
    names = {category: i for i, category in stuff.folder.names.items()}
    with build_masks.PANOPTIC.open(newline="") as file:
        ids = {row["category"]: int(row["coco_id"]) for row in csv.DictReader(file)}
    assert names.items() <= ids.items()
    devkit = MaskRegionDataset(find_voc(shared_dir / "data" / "voc2012"))
    assert len(devkit) == 93 and len(devkit.categories) == 20
    for dataset in (stuff, devkit):
        truth = dataset.truth(3, masks=True)
        assert dataset.pixels(3).shape == (truth.height, truth.width, 3)
        together = sum(rle_tools.decode(item.rle).astype(int) for item in truth.objects)
        assert together.max() == 1 and together.sum() == sum(item.area for item in truth.objects)


def test_vocs_masks_show_what_its_boxes_say(shared_dir: Path) -> None:
    import xml.etree.ElementTree as ET

    devkit = shared_dir / "data" / "voc2012"
    dataset = MaskRegionDataset(find_voc(devkit))
    for i, stem in enumerate(dataset.ids):
        boxed = {node.text for node in ET.parse(devkit / "Annotations" / f"{stem}.xml").iterfind("object/name")}
        assert {item.category for item in dataset.truth(i).objects} <= boxed, stem


def test_the_split_files_are_what_their_script_makes() -> None:
    if not build_coco80.WORDNET.is_file():
        pytest.skip(f"{build_coco80.WORDNET} is not here: apt-get install wordnet-base")
    for path, text in build_masks.build().items():
        assert path.read_text() == text, path.name


@pytest.mark.parametrize(("name", "number"), [("cocostuff", 133), ("cocostuff171", 171), ("voc20", 20)])
def test_every_class_has_a_state_and_a_reason(name: str, number: int) -> None:
    with (SPLITS / f"imagenet1k_{name}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == number == len(load_split(f"imagenet1k_{name}").states)
    known = set(build_coco80.imagenet_wnids())
    for row in rows:
        assert row["reason"] and set(row["wnids"].split()) <= known
        assert bool(row["wnids"]) == (row["state"] != "unseen"), row["category"]


def test_things_keep_their_state_and_stuff_is_settled() -> None:
    things = load_split("imagenet1k_coco80").states
    panoptic, stuff = (load_split(f"imagenet1k_{name}").states for name in ("cocostuff", "cocostuff171"))
    assert all(panoptic[name] == stuff[name] == state for name, state in things.items())
    assert {panoptic[c] for c in ("sky-other-merged", "tree-merged", "road", "river", "snow", "banner")} == {"unseen"}
    assert {panoptic[c] for c in ("pillow", "towel", "fruit", "fence-merged", "building-other-merged")} == {"seen"}
    assert {panoptic[c] for c in ("door-stuff", "curtain", "tent", "sea", "bridge", "house")} == {"narrow"}
    assert stuff["napkin"] == "unseen" and stuff["mat"] == "seen"
    voc20 = load_split("imagenet1k_voc20").states
    assert {name for name, state in voc20.items() if state == "narrow"} == {"person", "horse", "sheep"}
    assert voc20["cow"] == voc20["tvmonitor"] == "seen" and "unseen" not in voc20.values()
