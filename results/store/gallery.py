"""Gallery of the report: a few small images of each task, and the order in which selectors keep their patches.

    gallery/<task_id>/pictures.json      ids and sizes of the images
    gallery/<task_id>/NN.webp            a small copy of each
    gallery/<task_id>/<selector_id>-<seed>.npz   ids, grids and ranks of the images of the first chunk

Ids are the first 8 hex digits of identities, as in the leaderboard. The gallery is not part of any result.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from ltrp_bench.results.schema.damage import damaged, read_npz
from ltrp_bench.results.schema.record import ResultsError, canonical_json
from ltrp_bench.results.store.run_store import RunStore

FOLDER: Final = "gallery"


@dataclass(frozen=True)
class Thumbnail:
    """A small copy of an image.

    Attributes:
        image_id: id of the image.
        width, height: size in pixels of the image that the task uses.
        webp: the small copy, as a WebP file.
    """

    image_id: str
    width: int
    height: int
    webp: bytes


@dataclass(frozen=True)
class Gallery:
    """Gallery of one task.

    Attributes:
        images: small copies of images.
        ranks: (selector id, seed) -> image id -> [gh, gw] rank of each patch; 0 is kept first.
    """

    images: Sequence[Thumbnail]
    ranks: Mapping[tuple[str, int], Mapping[str, np.ndarray]]


def images_path(store: RunStore, task_id: str) -> Path:
    """File with the list of a task's images; written after the images."""
    return store.root / FOLDER / task_id / "pictures.json"


def ranks_path(store: RunStore, task_id: str, selector_id: str, seed: int) -> Path:
    """File of the ranks of one selector and seed."""
    return store.root / FOLDER / task_id / f"{selector_id}-{seed}.npz"


def write_images(store: RunStore, task_id: str, images: Sequence[Thumbnail]) -> None:
    """Store the images of a task."""
    path = images_path(store, task_id)
    for number, image in enumerate(images):
        store.write(path.with_name(f"{number:02d}.webp"), image.webp)
    listed = [{"image_id": p.image_id, "width": p.width, "height": p.height} for p in images]
    store.write(path, (canonical_json(listed) + "\n").encode())


def write_ranks(store: RunStore, task_id: str, selector_id: str, seed: int, ranks: Mapping[str, np.ndarray]) -> None:
    """Store the ranks of a selector, image id -> [gh, gw] integers."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        allow_pickle=False,
        ids=np.frombuffer(canonical_json(list(ranks)).encode(), np.uint8),
        grids=np.array([one.shape for one in ranks.values()], np.int32).reshape(len(ranks), 2),
        ranks=np.concatenate([one.ravel() for one in ranks.values()] or [np.zeros(0)]).astype(np.int32),
    )
    store.write(ranks_path(store, task_id, selector_id, seed), buffer.getvalue())


def read_gallery(store: RunStore, task_id: str) -> Gallery:
    """Read the gallery of a task; empty if nothing is stored.

    Raises:
        ResultsError: a file is damaged.
    """
    path = images_path(store, task_id)
    images = []
    if path.exists():
        with damaged(lambda error: _damaged(path, error)):
            listed = json.loads(path.read_text(encoding="utf-8"))
            for number, one in enumerate(listed):
                data = path.with_name(f"{number:02d}.webp").read_bytes()
                images.append(Thumbnail(str(one["image_id"]), int(one["width"]), int(one["height"]), data))
    ranks = {}
    for file in sorted(path.parent.glob("*-*.npz")):
        selector_id, _, seed = file.stem.rpartition("-")
        if seed.isdecimal():
            ranks[selector_id, int(seed)] = _read_ranks(file)
    return Gallery(images, ranks)


def _read_ranks(path: Path) -> dict[str, np.ndarray]:
    with damaged(lambda error: _damaged(path, error)):
        file = read_npz(path)
        ids, grids, flat = json.loads(file["ids"].tobytes()), file["grids"], file["ranks"]
        sizes = [int(gh) * int(gw) for gh, gw in grids]
        if len(ids) != len(sizes) or sum(sizes) != len(flat):
            raise ValueError("sizes")
        parts = np.split(flat, np.cumsum(sizes)[:-1]) if sizes else []
        return {str(i): part.reshape(tuple(grid)) for i, part, grid in zip(ids, parts, grids, strict=True)}


def _damaged(path: Path, error: Exception) -> ResultsError:
    return ResultsError(
        f"{path} is damaged ({type(error).__name__}); delete {path.parent}: the next run of its task creates it again"
    )


def agreement(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray], keep_ratio: float) -> float:
    """Mean IoU of the patches that two selectors keep, over the images that both have; NaN if there are none.

    Args:
        one, other: image id -> [gh, gw] ranks.
        keep_ratio: share r of the L patches; k = max(1, round(r L)) are kept.
    """
    shares = []
    for image, ranks in one.items():
        if image in other and other[image].shape == ranks.shape:
            k = max(1, round(keep_ratio * ranks.size))
            a, b = ranks < k, other[image] < k
            shares.append((a & b).sum() / (a | b).sum())
    return float(np.mean(shares)) if shares else math.nan
