"""Augmentation depends on its generator alone, and moves scores with their image."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data.auto_augment import RandAugment

from ltrp_bench.harness.training.augmentation import GEOMETRIC, FlipsAndTurns, PhotoAugmentation, seeded
from ltrp_bench.selectors.errors import UsageError

MEAN = (0.485, 0.456, 0.406)


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
    """The only bright patch of a dark image has the only high score, wherever it is moved."""
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


def test_color_operations_leave_scores_unchanged() -> None:
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


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(UsageError, match="give a RandAugment in timm's notation"):
        PhotoAugmentation(32, MEAN, "augmix-m3")


def test_generators_inside_and_outside() -> None:
    random.seed(1)
    expected = random.random()
    random.seed(1)
    with seeded(5):
        inside = (random.random(), float(np.random.rand()), float(torch.rand(())))
    assert random.random() == expected
    with seeded(5):
        assert inside == (random.random(), float(np.random.rand()), float(torch.rand(())))


def test_the_strongest_posterizing_leaves_an_image() -> None:
    # timm asks Pillow for 0 bits at the end of its scale.
    augment = PhotoAugmentation(32, (0.5, 0.5, 0.5), "rand-m10-n8-inc1", crop=False)
    pixels = np.random.default_rng(0).integers(0, 255, (40, 48, 3), np.uint8)
    assert all(augment(pixels, np.random.default_rng(i))[0].shape == (32, 32, 3) for i in range(40))
