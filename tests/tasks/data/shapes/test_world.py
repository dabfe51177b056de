"""`shapes`: the same bytes on every machine, exact ground truth, and local contrast is not enough to find objects."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest
import torch

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.topk import top_k
from ltrp_bench.tasks.data.shapes.world import CATEGORIES, PATCH, SIZE, VIEWS, ShapesWorld, seen_categories

GRID = SIZE // PATCH


def digest(world: ShapesWorld, indices: range) -> str:
    state = hashlib.sha256()
    for i in indices:
        image = world.image(i)
        state.update(image.image.tobytes() + image.masks.tobytes() + image.labels.tobytes())
    return state.hexdigest()[:16]


def test_the_same_bytes_in_another_process_and_any_order() -> None:
    here = digest(ShapesWorld(5), range(20, 24))
    ShapesWorld(5).image(3)
    assert digest(ShapesWorld(5), range(20, 24)) == here
    code = (
        f"import sys; sys.path.insert(0, {str(__import__('pathlib').Path(__file__).parent)!r});"
        "from test_world import digest, ShapesWorld; print(digest(ShapesWorld(5), range(20, 24)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == here


def test_seed_view_and_index_all_matter() -> None:
    assert len({digest(ShapesWorld(s, v), range(i, i + 1)) for s in (0, 1) for v in VIEWS for i in (0, 1)}) == 16


@pytest.mark.parametrize("view", VIEWS)
def test_ground_truth_is_exact(view: str) -> None:
    for index in range(60):
        p = ShapesWorld(9, view).image(index)
        n = len(p.labels)
        assert p.image.shape == (SIZE, SIZE, 3) and p.image.dtype == np.uint8
        assert 1 <= n <= 4 and p.masks.shape == (n, SIZE, SIZE) and p.boxes.shape == (n, 4)
        assert (p.masks.sum(0) <= 1).all(), "visible masks must not overlap"
        assert (p.masks.sum((1, 2)) >= 20).all()
        semantic = (p.masks * (p.labels[:, None, None] + 1)).sum(0)
        assert (semantic == p.semantic).all()
        for mask, (x, y, w, h) in zip(p.masks, p.boxes.astype(int), strict=True):
            assert mask[y : y + h, x : x + w].sum() == mask.sum()
            assert mask[y].any() and mask[y + h - 1].any() and mask[:, x].any() and mask[:, x + w - 1].any()


def test_folds_swap_the_halves_and_share_every_outline_and_texture() -> None:
    first, second = seen_categories(0), seen_categories(1)
    assert first | second == set(CATEGORIES) and not first & second and len(first) == len(second) == 8
    for part in (0, 1):
        assert {c.split()[part] for c in first} == {c.split()[part] for c in second}
        assert len({c.split()[part] for c in first}) == 8
    with pytest.raises(UsageError, match="folds 0 and 1"):
        seen_categories(2)


@pytest.mark.parametrize("fold", [0, 1])
def test_single_label_view_has_exactly_one_seen_object(fold: int) -> None:
    world, seen = ShapesWorld(3, f"single-label/{fold}"), seen_categories(fold)
    others = 0
    for index in range(80):
        labels = [CATEGORIES[k] for k in world.image(index).labels]
        named = [c for c in labels if c in seen]
        assert len(named) == 1 and CATEGORIES[world.label(index)] == named[0]
        others += len(labels) - 1
    assert others > 80  # unseen objects stand there too, unlabelled


# Means of blocks of 24 x 24 pixels of image 11 of world 7, as they were before "single-object" was added.
OLDER_VIEWS = {
    "scenes": ([12], [86.8, 94.33, 98.67, 90.85, 92.23, 92.37, 108.01, 104.27, 103.98, 71.97, 92.22, 117.08]),
    "single-label/0": (
        [0, 12],
        [211.8, 130.49, 182.36, 171.62, 217.77, 145.98, 144.42, 131.14, 122.66, 130.29, 117.45, 129.07],
    ),
    "single-label/1": (
        [10],
        [69.99, 65.59, 85.63, 73.02, 103.37, 104.71, 185.61, 149.31, 153.23, 157.13, 194.17, 124.34],
    ),
}


@pytest.mark.parametrize("view", OLDER_VIEWS)
def test_older_views_keep_their_images_when_one_is_added(view: str) -> None:
    image = ShapesWorld(7, view).image(11)
    labels, blocks = OLDER_VIEWS[view]
    assert image.labels.tolist() == labels
    found = image.image.reshape(4, 24, 4, 24, 3).mean((1, 3, 4)).ravel()
    np.testing.assert_allclose(found[: len(blocks)], blocks, atol=0.02)


def test_single_object_view_has_one_object_of_any_category() -> None:
    world = ShapesWorld(3, "single-object")
    images = [world.image(i) for i in range(160)]
    assert all(len(p.labels) == 1 for p in images)
    assert [world.label(i) for i in range(20)] == [int(p.labels[0]) for p in images[:20]]
    counts = np.bincount([int(p.labels[0]) for p in images], minlength=16)
    assert len(counts) == 16 and counts.min() >= 2 and counts.max() <= 25


def test_unknown_view_and_label_of_scenes_are_usage_errors() -> None:
    with pytest.raises(UsageError, match="no view"):
        ShapesWorld(0, "panorama")
    with pytest.raises(UsageError, match="no single label"):
        ShapesWorld(0).label(0)


def pooled(maps: np.ndarray) -> np.ndarray:
    return maps.reshape(*maps.shape[:-2], GRID, PATCH, GRID, PATCH).mean((-1, -3))


def edge_energy(image: np.ndarray) -> np.ndarray:
    dy, dx = np.gradient(image.mean(-1))
    return pooled(dy**2 + dx**2)


def local_variance(image: np.ndarray) -> np.ndarray:
    planes = image.transpose(2, 0, 1)
    return (pooled(planes**2) - pooled(planes) ** 2).mean(0)


def test_local_contrast_is_not_enough_to_find_objects() -> None:
    """Coverage at r = 0.25: variance and edge energy <= 0.45 (nor their opposites), oracle >= 0.95, halves alike."""
    world, seen = ShapesWorld(2000), seen_categories(0)
    y, x = np.mgrid[0:GRID, 0:GRID] + 0.5 - GRID / 2
    covered: dict[str, dict[bool, list[float]]] = {}
    for index in range(2500):
        p = world.image(index)
        image = p.image / 255
        maps = {
            "variance": local_variance(image),
            "edge": edge_energy(image),
            "oracle": pooled(p.masks.any(0).astype(float)),
            "center": -(y**2 + x**2),
        }
        maps |= {"-variance": -maps["variance"], "-edge": -maps["edge"]}
        patches = pooled(p.masks.astype(float))
        kept = top_k(torch.from_numpy(np.stack(list(maps.values()))), 0.25, [str(index)] * len(maps)).mask().numpy()
        for name, mask in zip(maps, kept, strict=True):
            groups = covered.setdefault(name, {True: [], False: []})
            for area, label in zip(patches, p.labels, strict=True):
                groups[CATEGORIES[label] in seen].append(float((area * mask).sum() / area.sum()))
    share = {name: (np.mean(g[True]), np.mean(g[False])) for name, g in covered.items()}
    for name in ("variance", "edge", "-variance", "-edge"):
        assert max(share[name]) <= 0.45, share
    assert min(share["oracle"]) >= 0.95, share
    for name in ("variance", "center"):
        assert abs(share[name][0] - share[name][1]) <= 0.03, share
