"""Small data sets on disk, for the tests of their readers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

MASK = np.array([[0, 1, 1, 7], [0, 0, 1, 7], [7, 0, 0, 7]], np.uint8)


CLASSES = "0: unlabeled\n1: cat\n7: sky\n9: sea\n"


def save_png(array: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def colored(mask: np.ndarray) -> np.ndarray:
    return np.repeat((mask * 20)[..., None], 3, axis=2).astype(np.uint8)


def mask_folder(root: Path, classes: str = CLASSES) -> Path:
    for name, mask in (("b", MASK), ("a", np.full((3, 4), 9, np.uint8))):
        save_png(mask, root / "masks" / f"{name}.png")
        save_png(colored(mask), root / "images" / f"{name}.png")
    (root / "classes.txt").write_text(classes)
    return root


CONCEPTS = ["airport", "animal", *(f"concept{i}" for i in range(2, 81))]


# The images of the test list and what they show.
SHOWN = {"beta\\2.jpg": {"animal"}, "alpha\\1.jpg": {"airport", "concept80"}, "alpha\\3.jpg": set()}


def nuswide_folder(root: Path, ground_truth: str = "Groundtruth", flat: bool = False, part: str = "Test") -> Path:
    for folder in ("ImageList", "ConceptsList", f"{ground_truth}/TrainTestLabels"):
        (root / folder).mkdir(parents=True)
    (root / "ConceptsList" / "Concepts81.txt").write_text("\r\n".join(CONCEPTS) + "\r\n")
    (root / "ImageList" / f"{part}Imagelist.txt").write_text("\r\n".join(SHOWN) + "\r\n")
    for concept in CONCEPTS:
        lines = "".join(f"{int(concept in shown)}\n" for shown in SHOWN.values())
        (root / ground_truth / "TrainTestLabels" / f"Labels_{concept}_{part}.txt").write_text(lines)
    for i, name in enumerate(SHOWN):
        folder, _, file = name.partition("\\")
        path = root / "images" / file if flat else root / "Flickr" / folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 4), (10 * i,) * 3).save(path, quality=100)
    return root


def ade20k_folder(root: Path) -> Path:
    """Two training images of ADE20K, whose upper halves are not labeled."""
    rng = np.random.default_rng(0)
    for kind in ("images", "annotations"):
        (root / kind / "training").mkdir(parents=True)
    for i, (h, w) in enumerate([(40, 60), (70, 50)]):
        Image.fromarray(rng.integers(0, 255, (h, w, 3), np.uint8)).save(root / "images" / "training" / f"{i}.jpg")
        mask = np.full((h, w), 3, np.uint8)
        mask[: h // 2] = 0
        Image.fromarray(mask).save(root / "annotations" / "training" / f"{i}.png")
    return root
