from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.data.imagenet import ImageFolderDataset, ImageNetDataset, find_labelled

TENCH, GOLDFISH = "n01440764", "n01443537"
FIRST, SECOND = "ILSVRC2012_val_00000001", "ILSVRC2012_val_00000002"


def save(path: Path, value: int = 9, mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (6, 4), value if mode == "L" else (value,) * len(mode)).save(path, format="JPEG", quality=100)
    return path


def flat(root: Path, folder: str = "val") -> Path:
    save(root / folder / f"{FIRST}.JPEG", 10)
    save(root / folder / f"{SECOND}.JPEG", 200)
    return root


@pytest.mark.parametrize("below", ["val", "."])
def test_class_folders_named_by_wnid(tmp_path: Path, below: str) -> None:
    save(tmp_path / below / GOLDFISH / f"{FIRST}.JPEG", 10)
    save(tmp_path / below / TENCH / "deep" / "mine.jpg", 20, "L")
    (tmp_path / below / "notes").mkdir()
    dataset = find_labelled(tmp_path)
    assert isinstance(dataset, ImageNetDataset) and len(dataset.categories) == 1000 and dataset.wnids[0] == TENCH
    # An official file goes by its own name, so that its id is the same in every layout.
    assert dataset.ids == (FIRST, f"{TENCH}/deep/mine")
    assert [dataset.label(i) for i in range(2)] == [1, 0] and dataset.categories[1] == "goldfish"
    assert dataset.pixels(1).shape == (4, 6, 3) and dataset.pixels(1).dtype == np.uint8
    assert abs(int(dataset.pixels(0).mean()) - 10) < 2 and dataset.index(FIRST) == 0


MAPS: dict[str, Callable[[Path], object]] = {
    "wnids": lambda root: (root / "val.txt").write_text(f"{FIRST}.JPEG {GOLDFISH}\n{SECOND}.JPEG {TENCH}\n"),
    "indices": lambda root: (root / "val_map.txt").write_text(f"val/{FIRST}.JPEG 1\n\nval/{SECOND}.JPEG 0\n"),
    "kaggle": lambda root: (root / "LOC_val_solution.csv").write_text(
        f"ImageId,PredictionString\n{SECOND},{TENCH} 85 1 499 272 {TENCH} 1 2 3 4 \n{FIRST},{GOLDFISH} 1 2 3 4 \n"
    ),
    "kit": lambda root: kit(root / "ILSVRC2012_devkit_t12" / "data"),
}


def kit(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "ILSVRC2012_validation_ground_truth.txt").write_text("490\n7\n")
    kind = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O")]
    rows = [(490, GOLDFISH, "goldfish", 0), (7, TENCH, "tench", 0), (1001, "n00001740", "entity", 2)]
    savemat(folder / "meta.mat", {"synsets": np.array(rows, dtype=kind).reshape(-1, 1)})


@pytest.mark.parametrize("kind", MAPS)
def test_a_flat_folder_and_its_map(tmp_path: Path, kind: str) -> None:
    MAPS[kind](flat(tmp_path))
    dataset = find_labelled(tmp_path)
    assert dataset.ids == (FIRST, SECOND) and [dataset.label(i) for i in range(2)] == [1, 0]
    save(tmp_path / "sorted" / GOLDFISH / f"{FIRST}.JPEG", 10)
    save(tmp_path / "sorted" / TENCH / f"{SECOND}.JPEG", 200)
    assert find_labelled(tmp_path / "sorted").revision == dataset.revision
    assert find_labelled(tmp_path, limit=1).revision != dataset.revision


def test_kaggles_folders_and_a_map_by_name(tmp_path: Path) -> None:
    flat(tmp_path, "ILSVRC/Data/CLS-LOC/val")
    MAPS["kaggle"](tmp_path)
    assert [find_labelled(tmp_path).label(i) for i in range(2)] == [1, 0]
    other = tmp_path / "other.txt"
    other.write_text(f"{FIRST} {TENCH}\n{SECOND} {TENCH}\nILSVRC2012_val_00000003 5\n")
    assert [find_labelled(tmp_path, labels=other).label(i) for i in range(2)] == [0, 0]


def test_other_class_folders(tmp_path: Path) -> None:
    for name in ("zebra", "Ant", "bee"):
        save(tmp_path / "val" / name / "1.png")
    dataset = find_labelled(tmp_path)
    assert isinstance(dataset, ImageFolderDataset) and dataset.categories == ("Ant", "bee", "zebra")
    assert dataset.ids == ("Ant/1", "bee/1", "zebra/1") and [dataset.label(i) for i in range(3)] == [0, 1, 2]
    before = dataset.revision
    (tmp_path / "val" / "bee" / "1.png").write_bytes(b"no image")
    changed = find_labelled(tmp_path)
    assert changed.revision != before
    with pytest.raises(InputError, match=r"image .*bee/1\.png is corrupt"):
        changed.pixels(1)
    (tmp_path / "val" / "bee" / "1.png").unlink()
    with pytest.raises(InputError, match=r"image .*1\.png is missing"):
        changed.pixels(1)
    with pytest.raises(InputError, match=r"class folder .*bee holds no images"):
        find_labelled(tmp_path)


def test_folder_two_is_label_two(tmp_path: Path) -> None:
    for i in range(12):
        save(tmp_path / "val" / str(i) / f"pic{i}.png", i)
    dataset = find_labelled(tmp_path, imagenet_indices=True)
    assert dataset.categories == tuple(str(i) for i in range(12)) and len(dataset.assumptions) == 1
    assert {dataset.ids[i]: dataset.label(i) for i in range(12)} == {f"{i}/pic{i}": i for i in range(12)}
    listed = tmp_path / "classes.txt"
    listed.write_text("\n".join(str(i) for i in (99, *range(11, -1, -1))))
    dataset = find_labelled(tmp_path, classes=listed)
    assert dataset.label(dataset.index("2/pic2")) == 10 and len(dataset.categories) == 13


def test_the_folders_of_imagenet_v2_are_indices(tmp_path: Path) -> None:
    for i in range(1000):
        (tmp_path / str(i)).mkdir()
        (tmp_path / str(i) / "a.jpeg").touch()
    dataset = find_labelled(tmp_path, imagenet_indices=True)
    assert dataset.categories[2] == "great white shark" and dataset.label(dataset.index("2/a")) == 2
    assert dataset.label(dataset.index("112/a")) == 112 and "ImageNet-V2" in dataset.assumptions[0]
    own = find_labelled(tmp_path)
    assert own.categories[2] == "2" and own.label(own.index("2/a")) == 2


def test_hidden_copies_are_no_images_and_links_are_followed(tmp_path: Path) -> None:
    for name in ("cat/1.jpg", "cat/._1.jpg", "cat/.ipynb_checkpoints/1-checkpoint.jpg", "__MACOSX/cat/2.jpg"):
        save(tmp_path / "val" / name)
    save(tmp_path / "elsewhere" / "deep" / "2.jpg")
    (tmp_path / "val" / "dog").symlink_to(tmp_path / "elsewhere")
    dataset = find_labelled(tmp_path)
    assert dataset.ids == ("cat/1", "dog/deep/2") and dataset.categories == ("cat", "dog")


def test_equal_stems_are_two_images(tmp_path: Path) -> None:
    for name in ("cat/1.jpg", "cat/1.png", "cat/2.jpg"):
        save(tmp_path / name)
    assert find_labelled(tmp_path).ids == ("cat/1.jpg", "cat/1.png", "cat/2")


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    save(tmp_path / "cat" / os.fsdecode(b"caf\xe9.jpg"))
    dataset = find_labelled(tmp_path)
    assert dataset.ids == ("cat/caf\\udce9",) and dataset.pixels(0).shape == (4, 6, 3)


def test_a_map_in_another_spelling(tmp_path: Path) -> None:
    save(tmp_path / "val" / "cafe\u0301.JPEG")
    save(tmp_path / "val" / "B.JPEG")
    (tmp_path / "val.txt").write_text("caf\u00e9.JPEG 1\nb.jpg 2\nc.jpg 3\n")
    dataset = find_labelled(tmp_path)
    assert [dataset.label(i) for i in range(2)] == [2, 1] and dataset.ids == ("B", "cafe\u0301")
    assert dataset.assumptions[0].startswith("2 file names are spelled otherwise in ")


def test_exif_is_ignored_as_torchvision_does(tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "a" / "1.jpg"
    path.parent.mkdir()
    Image.fromarray(np.arange(72, dtype=np.uint8).reshape(4, 6, 3)).save(path, exif=exif)
    reference, _ = ImageFolder(tmp_path)[0]
    np.testing.assert_array_equal(ImageFolderDataset(tmp_path).pixels(0), np.asarray(reference))


def write_map(text: str) -> Callable[[Path], object]:
    return lambda root: (flat(root) / "val.txt").write_text(text)


def kit_without_meta(root: Path) -> None:
    MAPS["kit"](flat(root))
    (root / "ILSVRC2012_devkit_t12" / "data" / "meta.mat").unlink()


def kit_with_noise(root: Path) -> None:
    MAPS["kit"](flat(root))
    (root / "ILSVRC2012_devkit_t12" / "data" / "meta.mat").write_bytes(b"noise" * 100)


def two_classes(root: Path) -> None:
    save(root / TENCH / f"{FIRST}.JPEG")
    save(root / GOLDFISH / f"{FIRST}.JPEG")


def stray(root: Path) -> None:
    save(root / TENCH / "1.jpg")
    save(root / "n99999999" / "1.jpg")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (flat, r"no file maps them to classes: looked for val\.txt.*labels=FILE"),
        (write_map(f"{FIRST}.JPEG n00000001\n"), r"val\.txt, line 1: 'n00000001' is neither a wnid .* of 0 to 999$"),
        (write_map(f"{FIRST}.JPEG 1000\n"), r"line 1: '1000' is neither .*; do they count from 1\?"),
        (write_map(f"{FIRST}.JPEG\n"), r"line 1: must be 'FILE WNID'"),
        (write_map(f"{FIRST} 1\n{FIRST} 2\n"), r"line 2: .* occurs twice, with two classes"),
        (write_map("z 1\n"), rf"2 images in .*val are not in .*val\.txt, e\.g\. {FIRST}\.JPEG"),
        (write_map(""), r"val\.txt lists no images"),
        (kit_without_meta, r"ILSVRC's own ids, which only meta\.mat of ILSVRC2012_devkit_t12"),
        (kit_with_noise, r"meta\.mat is not the development kit's meta\.mat"),
        (two_classes, r"two images of one name: .*n01440764.* and .*n01443537"),
        (stray, r"n99999999 is no class of ImageNet-1K"),
        (lambda root: (root / TENCH).mkdir(), r"no images in the class folders"),
        (lambda root: None, r"no images in .*image-net\.org"),
    ],
)
def test_errors_are_one_line(tmp_path: Path, make: Callable[[Path], object], message: str) -> None:
    make(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        find_labelled(tmp_path)
    assert "\n" not in str(caught.value)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--data DIR"):
        find_labelled(None)
    with pytest.raises(InputError, match="no folder .*nowhere"):
        find_labelled(tmp_path / "nowhere")


def test_the_genuine_five_hundred(shared_dir: Path) -> None:
    dataset = find_labelled(shared_dir / "data" / "imagenet")
    assert isinstance(dataset, ImageNetDataset) and len(dataset) == 500
    assert len({dataset.label(i) for i in range(500)}) == 500
    for i in (0, 250, 499):
        assert dataset.ids[i].startswith(dataset.wnids[dataset.label(i)]) and dataset.pixels(i).ndim == 3


@pytest.mark.parametrize("name", ["validation", "Val", "VALID"])
def test_other_names_of_the_subset(tmp_path: Path, name: str) -> None:
    for label in ("cat", "dog"):
        save(tmp_path / name / label / "1.jpg")
        save(tmp_path / "train" / label / "1.jpg")
    dataset = find_labelled(tmp_path)
    assert dataset.categories == ("cat", "dog") and dataset.ids == ("cat/1", "dog/1")
    assert dataset.assumptions == (f"images are read from {tmp_path / name}",)
    (tmp_path / name).rename(tmp_path / "test")
    with pytest.raises(UsageError, match=r"no subset 'val' in .*: there are test, train; choose by --task-option"):
        find_labelled(tmp_path)


def test_no_image_is_lost_without_a_word(tmp_path: Path) -> None:
    for name in ("cat/1.jpg", "dog/1.jpg", "caf\u00e9/1.jpg", "cafe\u0301/2.jpg", "dog /3.jpg", "stray.jpg"):
        save(tmp_path / "val" / name)
    (tmp_path / "val" / "cat" / "2.heic").touch()
    dataset = find_labelled(tmp_path)
    assert dataset.categories == ("caf\u00e9", "cat", "dog") and len(dataset) == 5
    assert [dataset.label(dataset.index(image)) for image in ("caf\u00e9/1", "cafe\u0301/2", "dog/1", "dog /3")] == [
        0,
        0,
        2,
        2,
    ]
    assert [line.partition(" in ")[0] for line in dataset.assumptions] == ["2 class folders"] * 2
    assert [one.line.partition(" (")[0] for one in dataset.omissions()] == [
        "1 of 7 images left out: .heic is not read, convert them",
        "1 of 7 images left out: they are in no class folder",
    ]


def test_images_of_a_flat_folder_that_differ_in_their_suffix_only(tmp_path: Path) -> None:
    for name in ("a.JPEG", "a.png", "b.JPEG", "c.JPEG"):
        save(tmp_path / "val" / name)
    (tmp_path / "val.txt").write_text("a.JPEG 0\na.png 1\nb.JPEG 2\n")
    dataset = find_labelled(tmp_path)
    assert dataset.ids == ("a.JPEG", "a.png", "b") and [dataset.label(i) for i in range(3)] == [0, 1, 2]
    assert dataset.omissions()[0].line.startswith("1 of 4 images left out: the list does not have them")
    with pytest.raises(InputError, match=r"val\.txt does not list c\.JPEG \(--strict\)"):
        find_labelled(tmp_path, strict=True)
