"""Export of `shapes` as files, in COCO's format and as class-index masks (`data export shapes`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as rle_tools

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.data.shapes.world import CATEGORIES, SIZE, WORLD_SEEDS, ShapesWorld, seen_categories


def coco_json(world: ShapesWorld, count: int, fold: int) -> dict[str, Any]:
    """COCO "instances" dictionary of the first `count` images; ids of images, annotations and categories start at 1."""
    seen = seen_categories(fold)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in range(count):
        image = world.image(index)
        images.append({"id": index + 1, "file_name": file_name(index), "height": SIZE, "width": SIZE})
        for box, mask, label in zip(image.boxes, image.masks, image.labels, strict=True):
            rle = rle_tools.encode(np.asfortranarray(mask.astype(np.uint8)))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": index + 1,
                    "category_id": int(label) + 1,
                    "bbox": [float(v) for v in box],
                    "area": float(mask.sum()),
                    "iscrowd": 0,
                    "segmentation": {"size": [SIZE, SIZE], "counts": rle["counts"].decode("ascii")},
                }
            )
    categories = [
        {"id": i + 1, "name": name, "supercategory": "seen" if name in seen else "unseen"}
        for i, name in enumerate(CATEGORIES)
    ]
    return {"images": images, "annotations": annotations, "categories": categories}


def file_name(index: int) -> str:
    """File name of image `index` in images/ and masks/."""
    return f"{index + 1:012d}.png"


def export(out: Path, fold: int = 0, count: int = 100, split: str = "test") -> None:
    """Writes images/*.png, masks/*.png (0 = background, 1 + category), instances.json, classes.txt and seen.txt.

    `--task coco-det --data OUT --task-option split=shapes/FOLD` evaluates on the folder. Existing files of the same
    names are replaced.

    Args:
        out: the folder.
        fold: fold whose seen categories are listed in seen.txt, 0 or 1.
        count: number of images.
        split: "train", "val" or "test".

    Raises:
        UsageError: unknown split or fold. InputError: the folder cannot be written.
    """
    if split not in WORLD_SEEDS:
        raise UsageError(f"shapes has no split {split!r}; splits are {', '.join(WORLD_SEEDS)}")
    world, seen = ShapesWorld(WORLD_SEEDS[split]), seen_categories(fold)
    try:
        for folder in ("images", "masks"):
            (out / folder).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            image = world.image(index)
            _save_png(image.image, out / "images" / file_name(index))
            _save_png(image.semantic, out / "masks" / file_name(index))
        _save_text(json.dumps(coco_json(world, count, fold)), out / "instances.json")
        _save_text("".join(f"{i + 1}\t{name}\n" for i, name in enumerate(CATEGORIES)), out / "classes.txt")
        _save_text("".join(f"{name}\n" for name in CATEGORIES if name in seen), out / "seen.txt")
    except OSError as error:
        raise InputError(f"cannot write shapes to {out}: {error.strerror or error}") from error


def _save_png(pixels: np.ndarray, path: Path) -> None:
    part = path.with_suffix(".tmp")
    Image.fromarray(pixels).save(part, format="PNG")
    part.replace(path)


def _save_text(text: str, path: Path) -> None:
    part = path.with_name(path.name + ".tmp")
    part.write_text(text)
    part.replace(path)
