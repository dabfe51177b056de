"""Segmentation tasks: dropped patches leave no trace, classes are matched by name, metrics by brute force."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ltrp_bench.selectors.checkpoints import save_safetensors
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.base import Downsample, Keep, Sample
from ltrp_bench.tasks.catalog import ade20k_seg, cocostuff_seg, shapes_seg, voc_seg
from ltrp_bench.tasks.data.semantic import BACKGROUND
from ltrp_bench.tasks.data.shapes.world import CATEGORIES, ShapesWorld
from ltrp_bench.tasks.models.openmmlab import setup as openmmlab
from ltrp_bench.tasks.models.segmentors.classes import matched
from ltrp_bench.tasks.models.segmentors.plain_vit import build_segmentor, head_config, on_grid
from ltrp_bench.tasks.models.vit.token_dropping import missing_tokens
from ltrp_bench.tasks.segmentation import CALLED_SEEN, SegmentationTask
from ltrp_bench.tasks.untrained import SHAPES_SEGMENTOR

SMALL: dict[str, Any] = {
    "image_size": 48,
    "patch_size": 16,
    "embed_dim": 24,
    "depth": 2,
    "heads": 3,
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
}
HEADS: tuple[dict[str, Any], ...] = (
    {"head": "linear", "cells": 2, "missing": "zero"},
    {"head": "mask-transformer", "dim": 24, "depth": 1, "heads": 3, "cells": 2, "missing": "token"},
)


def small(classes: int = 5, head: dict[str, Any] = HEADS[0], **more: Any) -> Any:
    torch.manual_seed(0)
    net = build_segmentor({**SMALL, "classes": [f"c{i}" for i in range(classes)], "segmentor": head, **more})
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return net.eval().requires_grad_(False)


@pytest.mark.parametrize("head", HEADS, ids=["linear", "mask-transformer"])
@pytest.mark.parametrize("stem", ["patch", "conv"])
def test_dropped_pixels_change_nothing(head: dict[str, Any], stem: str) -> None:
    net = small(head=head, stem=stem)
    images = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    kept = torch.tensor([[0, 4, 5], [2, 3, 8]])
    other = images.clone()
    for image, indices in enumerate(kept.tolist()):
        for patch in set(range(9)) - set(indices):
            row, column = divmod(patch, 3)
            other[image, :, row * 16 : row * 16 + 16, column * 16 : column * 16 + 16] = 7.0
    logits = net(images, kept)
    assert logits.shape == (2, 5, 6, 6)
    assert torch.equal(logits, net(other, kept))
    torch.testing.assert_close(net(images[1:], kept[1:]), logits[1:], rtol=1e-4, atol=1e-5)
    everything = torch.arange(9).repeat(2, 1)
    torch.testing.assert_close(net(images, everything), net(images), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(logits, net(images))


def test_cells_lie_where_they_belong() -> None:
    # Patch (0, 1) of a 1 x 2 grid: its four cells are 4, 5 / 6, 7.
    logits = torch.arange(8.0).view(1, 2, 4, 1)
    assert on_grid(logits, (1, 2))[0, 0].tolist() == [[0, 1, 4, 5], [2, 3, 6, 7]]


def test_a_token_stands_for_what_is_missing_and_knows_its_place() -> None:
    net = small(head=HEADS[1])
    images, kept = torch.randn(1, 3, 48, 48), torch.tensor([[0]])
    places = net.encoder.pos_embed[0, 1:]
    torch.testing.assert_close(missing_tokens(net.encoder, net.mask_token, (3, 3)), net.mask_token + places)
    before = net(images, kept)
    net.mask_token.data += 1
    assert not torch.allclose(net(images, kept), before)
    torch.testing.assert_close(missing_tokens(net.encoder, net.mask_token, (3, 3))[4], net.mask_token + places[4])
    assert missing_tokens(net.encoder, net.mask_token, (2, 5)).shape == (10, 24)


def test_heads_of_files_without_metadata() -> None:
    state = small(head={**HEADS[1], "cells": 1}).state_dict()
    assert head_config(state, "it") == {"head": "mask-transformer", "dim": 24, "depth": 1, "heads": 1, "cells": 1}
    assert head_config(small(head={"head": "linear"}).state_dict(), "it") == {"head": "linear"}
    with pytest.raises(InputError, match="neither Segmenter's linear head"):
        head_config({}, "it")


def test_segmenters_own_wrapping(tmp_path: Path) -> None:
    net = small(classes=17, head={"head": "linear"}, image_size=96, patch_size=8, embed_dim=192, depth=1)
    file = tmp_path / "checkpoint.pth"
    torch.save({"model": net.state_dict(), "epoch": 3}, file)
    task = shapes_seg(images=2, model_weights=file)
    sample = task.load(0)
    assert sample.image.shape == (96, 96, 3) and task.grid(sample) == (12, 12)
    assert task.predict([sample], [Keep(np.ones((12, 12), bool))])[0]
    with pytest.raises(InputError, match="5 outputs, the data set 17"):
        torch.save(
            {"model": small(head={"head": "linear"}, image_size=96, patch_size=8, embed_dim=192).state_dict()}, file
        )
        shapes_seg(images=2, model_weights=file)


class Knows:
    """Calls every pixel by its true class, but `confused` pairs."""

    reduction, patch, outputs, identity, classes = "fill", 8, 17, {"it": "knows"}, (BACKGROUND, *CATEGORIES)

    def __init__(self, confused: dict[int, int]) -> None:
        self.confused, self.world = confused, ShapesWorld(2000)

    def prepare(self, pixels: np.ndarray) -> Any:
        from ltrp_bench.tasks.models.segmentors.running import SegmentorImage

        return SegmentorImage(shown=pixels, content=pixels, size=(96, 96), results={})

    def grid(self, image: Any) -> tuple[int, int]:
        return 12, 12

    def predict(self, images: Any, reductions: Any) -> list[np.ndarray]:
        out = []
        for image in images:
            index = next(i for i in range(40) if np.array_equal(self.world.image(i).image, image.shown))
            truth = self.world.image(index).semantic.astype(np.int64)
            for true, called in self.confused.items():
                truth = np.where(self.world.image(index).semantic == true, called, truth)
            out.append(truth)
        return out


def measured(task: SegmentationTask) -> dict[tuple[str, str, str | None], float]:
    samples: list[Sample] = [task.load(i) for i in range(len(task))]
    rows = task.predict(samples, [Keep(np.ones((12, 12), bool))] * len(samples))
    records = {sample.image_id: row for sample, row in zip(samples, rows, strict=True)}
    return {(row.metric, row.group, row.category): row.value for row in task.compute_metrics(records)}


def test_metrics_of_groups_by_brute_force() -> None:
    # Two unseen categories are called by a seen one's name, one seen one background.
    shapes = shapes_seg(images=30, random_weights=0)
    confused = {9: 1, 10: 1, 2: 0}
    found = measured(SegmentationTask("shapes-seg", shapes.dataset, shapes.split, Knows(confused)))  # type: ignore[arg-type]
    world = ShapesWorld(2000)
    truth = np.stack([world.image(i).semantic for i in range(30)]).astype(int)
    called = truth.copy()
    for true, other in confused.items():
        called[truth == true] = other
    iou = [((truth == c) & (called == c)).sum() / ((truth == c) | (called == c)).sum() for c in range(17)]
    assert found["mIoU", "all", None] == pytest.approx(np.mean(iou))
    assert found["mIoU", "seen", None] == pytest.approx(np.mean(iou[1:9]))
    assert found["mIoU", "unseen", None] == pytest.approx(np.mean(iou[9:]))
    assert found["IoU", "seen", CATEGORIES[0]] == pytest.approx(iou[1]) and iou[1] < 1
    unseen = truth >= 9
    assert found["aAcc", "unseen", None] == pytest.approx((called == truth)[unseen].mean())
    assert found[CALLED_SEEN, "unseen", None] == pytest.approx((called[unseen] == 1).mean())
    assert found["mAcc", "seen", None] == pytest.approx(7 / 8)
    assert found["IoU", "all", BACKGROUND] == pytest.approx(iou[0])


def test_results_do_not_depend_on_the_batch() -> None:
    task = shapes_seg(images=5, random_weights=0)
    samples = [task.load(i) for i in range(5)]
    rng = np.random.default_rng(0)
    keeps: list[Any] = [Keep(rng.permutation(144).reshape(12, 12) < k) for k in (30, 50, 30, 144)]
    keeps.append(Downsample(0.25))
    together = task.predict(samples, keeps)
    assert together == [task.predict([s], [k])[0] for s, k in zip(samples, keeps, strict=True)]
    assert sum(row["pixels"] for row in together[0]) == 96 * 96
    with pytest.raises(InputError, match="the grid is"):
        task.predict(samples[:1], [Keep(np.ones((3, 3), bool))])


def test_the_oracle_sees_the_objects() -> None:
    task = shapes_seg(images=1, random_weights=0)
    worth = task.oracle_scores(task.load(0))
    semantic = ShapesWorld(2000).image(0).semantic > 0
    np.testing.assert_allclose(worth, semantic.reshape(12, 8, 12, 8).mean((1, 3)), atol=1e-6)


class Named:
    outputs = 3

    def __init__(self, *classes: str) -> None:
        self.classes = classes


def test_outputs_are_matched_by_name() -> None:
    own = ("sky-other", "potted plant", "bed")
    assert matched("t", Named("bed ", "skyother", "pottedplant; a plant"), own).tolist() == [2, 0, 1]  # type: ignore[arg-type]
    with pytest.raises(InputError, match="are not the data set's 3: bed, cat in one alone|bed in one alone"):
        matched("t", Named("cat", "sky-other", "potted plant"), own)  # type: ignore[arg-type]


def test_wrong_words_end_in_one_line() -> None:
    with pytest.raises(UsageError, match="reduction must be drop or fill"):
        shapes_seg(random_weights=0, reduction="cut")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="not both"):
        shapes_seg(random_weights=0, model_weights="x")
    with pytest.raises(InputError, match="weights not found"):
        shapes_seg(model_weights="missing.safetensors")


def write_voc(folder: Path) -> Path:
    for name in ("JPEGImages", "SegmentationClass"):
        (folder / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)).save(folder / "JPEGImages" / "a.jpg")
    mask = np.zeros((60, 80), np.uint8)
    mask[:20], mask[20:40, :30], mask[40:, 60:] = 15, 1, 255
    Image.fromarray(mask).save(folder / "SegmentationClass" / "a.png")
    return folder


def test_vocs_background_is_a_class_but_neither_seen_nor_unseen(tmp_path: Path) -> None:
    task = voc_seg(write_voc(tmp_path), random_weights=0)
    assert task.dataset.classes[:2] == (BACKGROUND, "aeroplane") and len(task.dataset.classes) == 21
    truth = task.dataset.semantic(0)
    assert (truth == -1).sum() == 20 * 20 and (truth == 15).sum() == 20 * 80
    sample = task.load(0)
    assert task.grid(sample) == (14, 14) and task.reduction == "drop"
    rows = task.predict([sample], [Keep(np.ones((14, 14), bool))])[0]
    assert sum(row["pixels"] for row in rows) == 60 * 80 - 400
    found = {(row.metric, row.group): row.n for row in task.compute_metrics({"a": rows}) if row.category is None}
    assert found["mIoU", "all"] == 4400 and found["mIoU", "seen"] + found["mIoU", "unseen"] == 20 * 80 + 20 * 30
    with pytest.raises(UsageError, match="mmseg's models cannot"):
        voc_seg(tmp_path, model="fcn_r50-d8_4xb4-20k_voc12aug-512x512", random_weights=0, reduction="drop")


def test_weights_made_here_come_back_as_they_were(tmp_path: Path) -> None:
    config = {**SHAPES_SEGMENTOR, "segmentor": HEADS[1] | {"dim": 32, "heads": 4}, "embed_dim": 32}
    torch.manual_seed(0)
    net = build_segmentor(config).eval()
    save_safetensors(tmp_path / "s.safetensors", net.state_dict(), {"kind": "segmentor", "config": config})
    task = shapes_seg(images=1, model_weights=tmp_path / "s.safetensors")
    images = torch.randn(1, 3, 96, 96)
    torch.testing.assert_close(task.runner.model.net(images), net(images))  # type: ignore[attr-defined]
    other = {**config, "classes": ["a", "b"]}
    save_safetensors(tmp_path / "o.safetensors", build_segmentor(other).state_dict(), {"config": other})
    with pytest.raises(InputError, match="wrong model for this data set"):
        shapes_seg(images=1, model_weights=tmp_path / "o.safetensors")


@pytest.mark.slow
def test_mmsegs_models_on_genuine_images(shared_dir: Path) -> None:
    task = ade20k_seg(
        shared_dir / "data" / "ade20k",
        model="segformer_mit-b0_8xb2-160k_ade20k-512x512",
        random_weights=0,
        patch=32,
        limit=2,
    )
    sample = task.load(0)
    height, width = sample.annotations.prepared.content.shape[:2]
    assert min(height, width) == 512 and task.grid(sample) == (-(-height // 32), -(-width // 32))
    whole = Keep(np.ones(task.grid(sample), bool))
    rows = task.predict([sample, sample], [whole, Downsample(0.25)])
    counted = int((task.dataset.semantic(0) >= 0).sum())
    assert [sum(row["pixels"] for row in part) for part in rows] == [counted, counted]
    # mmseg's own way from file to prediction.
    from mmseg.apis import inference_model

    model = task.runner.model  # type: ignore[attr-defined]
    model.model.cfg = model.config
    with openmmlab.scope("mmseg"):
        own = inference_model(model.model, np.ascontiguousarray(task.dataset.pixels(0)[..., ::-1])).pred_sem_seg.data[0]
    found = task.runner.predict([sample.annotations.prepared], [whole])[0]
    assert (found == own.numpy()).mean() > 0.9999


@pytest.mark.slow
def test_the_genuine_stuff(shared_dir: Path) -> None:
    task = cocostuff_seg(shared_dir / "data" / "coco_stuff", random_weights=0, limit=2)
    assert len(task.dataset.classes) == 129 and len(task.split.states) == 133  # those that its classes.txt lists
    sample = task.load(0)
    assert task.oracle_scores(sample).shape == (14, 14) and task.oracle_scores(sample).max() == 1
