"""Augmentation: of the position alone, and scores that move as their images do."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data.auto_augment import RandAugment

from ltrp_bench.harness.training.augmentation import GEOMETRIC, FlipsAndTurns, PhotoAugmentation, seeded
from ltrp_bench.harness.training.data.labelled import TaughtStream, label_set_files, labelled_files, shapes_taught
from ltrp_bench.harness.training.patch_policy import patch_policy
from ltrp_bench.harness.training.score_maps import whole_scores
from ltrp_bench.selectors.errors import InputError, UsageError

MEAN = (0.485, 0.456, 0.406)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three classes of two images each."""
    rng = np.random.default_rng(0)
    for i in range(6):
        place = tmp_path / "data" / "train" / "abc"[i // 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (40 + i, 52, 3), dtype=np.uint8)).save(place / f"{i}.png")
    return tmp_path / "data"


@pytest.mark.parametrize("crop", [True, False])
def test_photos_keep_to_their_generator(crop: bool) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (70, 50, 3), dtype=np.uint8)
    augment = PhotoAugmentation(48, MEAN, crop=crop)
    before = (random.getstate(), np.random.get_state()[1].tolist(), torch.random.get_rng_state().tolist())  # type: ignore[index, union-attr]
    first = [augment(pixels, np.random.default_rng([3, i]))[0] for i in range(4)]
    again = [augment(pixels, np.random.default_rng([3, i]))[0] for i in reversed(range(4))]
    after = (random.getstate(), np.random.get_state()[1].tolist(), torch.random.get_rng_state().tolist())  # type: ignore[index, union-attr]
    assert before == after
    assert all(x.shape == (48, 48, 3) and x.dtype == np.uint8 for x in first)
    assert all((x == y).all() for x, y in zip(first, reversed(again), strict=True))
    assert not (first[0] == first[1]).all()


def test_squashed_images_are_whole() -> None:
    """Without RandAugment only the mirror is left."""
    pixels = np.random.default_rng(1).integers(0, 255, (70, 50, 3), dtype=np.uint8)
    whole = np.asarray(Image.fromarray(pixels).resize((48, 48), Image.Resampling.BICUBIC))
    augment = PhotoAugmentation(48, MEAN, "none", crop=False)
    seen = {augment(pixels, np.random.default_rng(i))[0].tobytes() for i in range(8)}
    assert seen == {whole.tobytes(), np.ascontiguousarray(whole[:, ::-1]).tobytes()}


def only_geometry(augment: PhotoAugmentation) -> None:
    for pipeline in (augment._pixels, augment._scores):
        for step in pipeline.transforms:
            if isinstance(step, RandAugment):
                step.ops = [op for op in step.ops if op.name in GEOMETRIC]


@pytest.mark.parametrize("policy", ["none", "rand-m9-mstd0.5-inc1"])
def test_scores_move_with_the_image(policy: str) -> None:
    """One bright patch of a dark image, and it alone has a high score: wherever it goes, both say so."""
    pixels, scores = np.zeros((64, 64, 3), np.uint8), np.zeros((8, 8), np.float32)
    pixels[16:32, 40:56], scores[2:4, 5:7] = 255, 1
    augment = PhotoAugmentation(64, (0.0, 0.0, 0.0), policy)
    only_geometry(augment)
    close = 0
    for i in range(40):
        image, moved = augment(pixels, np.random.default_rng(i), scores)
        assert moved is not None and moved.shape == (8, 8)
        share = image[..., 0].reshape(8, 8, 8, 8).mean((1, 3))
        if share.max() < 128:
            continue  # cropped away
        assert moved.ravel()[share.argmax()] >= 0.9 * moved.max()
        close += 1
    assert close > 15


def test_colours_leave_scores_alone() -> None:
    augment = PhotoAugmentation(64, MEAN, "rand-m9-n4", crop=False)
    for pipeline in (augment._pixels, augment._scores):
        for step in pipeline.transforms:
            if isinstance(step, RandAugment):
                step.ops = [op for op in step.ops if op.name not in GEOMETRIC]
    scores = np.arange(64, dtype=np.float32).reshape(8, 8)
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    for i in range(6):
        _, moved = augment(pixels, np.random.default_rng(i), scores)
        assert moved is not None
        order = np.argsort(moved if moved[0, 0] < moved[0, -1] else moved[:, ::-1], axis=None, kind="stable")
        assert order.tolist() == list(range(64))


def test_turns_move_scores_as_pixels() -> None:
    scores = np.arange(144, dtype=np.float32).reshape(12, 12)
    pixels = np.repeat(np.kron(scores, np.ones((8, 8))).astype(np.uint8)[..., None], 3, 2)
    seen = set()
    for i in range(30):
        image, moved = FlipsAndTurns()(pixels, np.random.default_rng(i), scores)
        assert moved is not None and (image[::8, ::8, 0] == moved).all()
        seen.add(moved.tobytes())
    assert len(seen) == 8


def test_generators_inside_and_outside() -> None:
    random.seed(1)
    expected = random.random()
    random.seed(1)
    with seeded(5):
        inside = (random.random(), float(np.random.rand()), float(torch.rand(())))
    assert random.random() == expected
    with seeded(5):
        assert inside == (random.random(), float(np.random.rand()), float(torch.rand(())))


def test_a_stream_depends_on_position_alone(folder: Path) -> None:
    for taught, augment in (
        (labelled_files(folder), PhotoAugmentation(32, MEAN)),
        (shapes_taught(5, "single-object"), FlipsAndTurns()),
        (shapes_taught(5, "scenes"), FlipsAndTurns()),
    ):
        forth, back = (TaughtStream(taught, augment, 20, 3) for _ in range(2))
        seen = {i: back[i] for i in reversed(range(8))}
        for i in range(8):
            image, target = forth[i]
            assert torch.equal(image, seen[i][0]) and torch.equal(target, seen[i][1])
            assert image.dtype == torch.uint8 and target.dtype in (torch.int64, torch.int8)


def test_labels_of_the_built_in_world() -> None:
    from ltrp_bench.tasks.data.shapes.world import ShapesWorld

    world = ShapesWorld(1, "scenes")
    single, scenes = shapes_taught(9, "single-object"), shapes_taught(9, "scenes")
    assert single.sample(4)[1] == ShapesWorld(1, "single-object").label(4)
    assert set(np.flatnonzero(scenes.sample(4)[1])) == set(world.image(4).labels.tolist())


def test_folders_that_hold_no_training_images(folder: Path, tmp_path: Path) -> None:
    assert labelled_files(folder).categories == ("a", "b", "c")
    with pytest.raises(InputError, match="no folder train/ in"):
        labelled_files(folder / "train")
    with pytest.raises(InputError, match="no folder .*nowhere"):
        labelled_files(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="coco, voc, nuswide"):
        label_set_files(folder, "pascal")
    with pytest.raises(UsageError, match="write timm's words"):
        PhotoAugmentation(32, MEAN, "augmix-m3")


def test_genuine_coco(shared_dir: Path) -> None:
    taught = label_set_files(shared_dir / "data" / "coco")
    pixels, target = taught.sample(0)
    assert len(taught.categories) == 80 == len(target) and pixels.ndim == 3 and 0 < target.sum() < 20


def test_whole_scores_are_asked_once_and_go_on(folder: Path, tmp_path: Path) -> None:
    taught, keep = labelled_files(folder), patch_policy("0.5", "variance")
    assert keep.selector is not None
    found = whole_scores(taught, keep.selector, 64, (4, 4), tmp_path / "scores", batch=2)
    assert found.shape == (6, 4, 4) and np.isfinite(found).all() and (found.std((1, 2)) > 0).all()
    (file,) = (tmp_path / "scores").iterdir()
    # Left in the midst of it: the first four are taken as they are, the rest is asked anew.
    part, expected = file.with_suffix(".part"), np.array(found)
    marked = expected.copy()
    marked[:4], marked[4:] = 7, 0
    with part.open("wb") as out:
        np.save(out, marked)
    file.with_suffix(".done").write_text("4")
    file.unlink()
    again = whole_scores(taught, keep.selector, 64, (4, 4), tmp_path / "scores", batch=2)
    assert (again[:4] == 7).all() and np.array_equal(again[4:], expected[4:])
    assert [path.suffix for path in (tmp_path / "scores").iterdir()] == [".npy"]


def test_the_strongest_posterizing_leaves_a_image() -> None:
    # timm asks Pillow for 0 bits at the end of its scale.
    augment = PhotoAugmentation(32, (0.5, 0.5, 0.5), "rand-m10-n8-inc1", crop=False)
    pixels = np.random.default_rng(0).integers(0, 255, (40, 48, 3), np.uint8)
    assert all(augment(pixels, np.random.default_rng(i))[0].shape == (32, 32, 3) for i in range(40))
